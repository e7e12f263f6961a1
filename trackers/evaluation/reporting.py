"""Score any number of trackers on a benchmark and write what was found: CSV, JSON, plots, one HTML page."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from collections.abc import Sequence as Several
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.benchmarks import Benchmark
from onlinetada.trackers.evaluation.boxfiles import Boxes, write_atomic
from onlinetada.trackers.evaluation.latency import latency_score, trackers_with_records
from onlinetada.trackers.evaluation.protocols import PIXEL_THRESHOLDS, Protocol
from onlinetada.trackers.evaluation.results import decode_ms, list_trackers, load_results, results_folder, speed_fps
from onlinetada.trackers.evaluation.scores import (
    Score,
    SequenceScore,
    by_attribute,
    rounded,
    score_tracker,
    sequence_values,
    total,
)
from onlinetada.trackers.evaluation.sequences import Sequence
from onlinetada.trackers.evaluation.statistics import (
    Interval,
    PairedDifference,
    mean_interval,
    paired_difference,
    resample,
)


@dataclass(frozen=True)
class TrackerReport:
    """One tracker in a report.

    Attributes:
        boxes: by sequence, in published coordinates.
        scores: by sequence.
        values: by sequence: success, precision, norm_precision.
        interval: 95 % bootstrap interval of the success over sequences.
        fps: frames a second from its times files; NaN without any.
        decode_ms: mean time of reading a frame, not part of the fps; NaN where it is not known.
        missing: sequences of the benchmark without a result.
    """

    name: str
    boxes: dict[str, Boxes]
    scores: dict[str, SequenceScore]
    values: dict[str, dict[str, float]]
    total: Score
    interval: Interval
    attributes: dict[str, Score]
    fps: float
    decode_ms: float
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Trackers on a benchmark by one protocol, best success first; those that lack sequences come last.

    Attributes:
        pairs: every two trackers compared by sequence.
        latency: what ``latency_score`` says of the trackers that were run in real time, by name.
    """

    benchmark: Benchmark
    protocol: Protocol
    sequences: tuple[Sequence, ...]
    trackers: tuple[TrackerReport, ...]
    pairs: tuple[PairedDifference, ...]
    latency: dict[str, dict[str, Any]]


def make_report(
    benchmark: Benchmark,
    protocol: Protocol,
    sequences: tuple[Sequence, ...],
    results: Path,
    *,
    trackers: Several[str] = (),
) -> Report:
    """Score the trackers that have results under ``results``, all of them without ``trackers``.

    Raises:
        InputError: a result file is broken (file and line), or there is nothing to score.
    """
    if any(s.withheld for s in sequences):
        raise InputError(
            f"{benchmark.name}: the ground truth of the test split is withheld; "
            "`onlinetada eval` has written the zip file to upload to its server"
        )
    folder = results_folder(results, benchmark)
    rows = [_score_one(protocol, sequences, folder, name) for name in list_trackers(folder, trackers)]
    rows.sort(key=lambda r: (bool(r.missing), -r.total.success if math.isfinite(r.total.success) else 2.0, r.name))
    by_name = {r.name: {s: v["success"] for s, v in r.values.items()} for r in rows}
    # thousands of draws are for few trackers; pairs grow with the square of their number
    samples = 10000 if len(rows) <= 12 else 2000
    pairs = tuple(
        paired_difference(a.name, b.name, by_name[a.name], by_name[b.name], samples=samples)
        for i, a in enumerate(rows)
        for b in rows[i + 1 :]
    )
    live = [n for n in trackers_with_records(folder) if n in trackers or not trackers]
    latency = {name: latency_score(protocol, sequences, folder / name) for name in live}
    return Report(benchmark, protocol, sequences, tuple(rows), pairs, latency)


def write_tables(report: Report, out: Path) -> None:
    """summary.csv, summary.json, sequences.csv, attributes.csv, pairs.csv, and latency.csv after realtime runs."""
    write_atomic(out / "summary.csv", _csv(_SUMMARY, (_summary_row(report, t) for t in report.trackers)))
    sequence_rows = (
        [t.name, name, *(f"{v[k]:.6f}" for k in _METRICS)] for t in report.trackers for name, v in t.values.items()
    )
    write_atomic(out / "sequences.csv", _csv(["tracker", "sequence", *_METRICS], sequence_rows))
    attribute_rows = (
        [t.name, a, s.sequences, *(f"{getattr(s, k):.6f}" for k in _METRICS)]
        for t in report.trackers
        for a, s in t.attributes.items()
    )
    write_atomic(out / "attributes.csv", _csv(["tracker", "attribute", "sequences", *_METRICS], attribute_rows))
    pair_rows = (
        [p.a, p.b, p.sequences, f"{p.mean:.6f}", f"{p.interval.low:.6f}", f"{p.interval.high:.6f}", f"{p.wins:.4f}"]
        for p in report.pairs
    )
    header = ["tracker", "against", "sequences", "success_difference", "low", "high", "wins"]
    write_atomic(out / "pairs.csv", _csv(header, pair_rows))
    if report.latency:
        latency_rows = ([name, report.protocol.name, *(v[k] for k in _LATENCY)] for name, v in report.latency.items())
        write_atomic(out / "latency.csv", _csv(["tracker", "protocol", *_LATENCY], latency_rows))
    write_atomic(out / "summary.json", json.dumps(_as_json(report), indent=1))


def summary_table(report: Report) -> str:
    """The summary as text for a terminal."""
    width = max([len(t.name) for t in report.trackers] + [7])
    lines = [f"{'tracker':<{width}}  seqs  success  [95 % interval]  precision  norm.prec."]
    for t in report.trackers:
        s = t.total
        partial = f"  without {len(t.missing)} sequences" if t.missing else ""
        lines.append(
            f"{t.name:<{width}}  {s.sequences:4d}   {s.success:.4f}  [{t.interval.low:.3f}, {t.interval.high:.3f}]"
            f"     {s.precision:.4f}      {s.norm_precision:.4f}{partial}"
        )
    return "\n".join(lines)


_METRICS = ("success", "precision", "norm_precision")
_LATENCY = ("sequences", "success", "precision", "mAUC", "mDP", "frames_behind")
_SUMMARY = [
    "tracker",
    "protocol",
    "sequences",
    *_METRICS,
    "success_low",
    "success_high",
    "sr50",
    "sr75",
    "fps",
    "decode_ms",
    "missing_sequences",
]


def _score_one(protocol: Protocol, sequences: tuple[Sequence, ...], folder: Path, name: str) -> TrackerReport:
    boxes = load_results(folder, name, sequences)
    scores = score_tracker(protocol, sequences, boxes)
    values = {n: sequence_values(protocol, s) for n, s in scores.items()}
    success = np.array([v["success"] for v in values.values()])
    success = success[np.isfinite(success)]
    return TrackerReport(
        name=name,
        boxes=boxes,
        scores=scores,
        values=values,
        total=total(protocol, list(scores.values())),
        interval=mean_interval(success, resample(len(success))) if len(success) else Interval(math.nan, math.nan),
        attributes=by_attribute(protocol, sequences, scores),
        fps=speed_fps(folder, name, sequences),
        decode_ms=decode_ms(folder, name, sequences),
        missing=tuple(s.name for s in sequences if s.name not in scores),
    )


def _summary_row(report: Report, tracker: TrackerReport) -> list[object]:
    s = tracker.total
    figures = (s.success, s.precision, s.norm_precision, tracker.interval.low, tracker.interval.high, s.sr50, s.sr75)
    speeds = (f"{v:.2f}" if math.isfinite(v) else "" for v in (tracker.fps, tracker.decode_ms))
    return [
        tracker.name,
        report.protocol.name,
        s.sequences,
        *(f"{v:.6f}" for v in figures),
        *speeds,
        len(tracker.missing),
    ]


def _as_json(report: Report) -> dict[str, object]:
    return {
        "benchmark": report.benchmark.name,
        "protocol": report.protocol.name,
        "sequences": len(report.sequences),
        "thresholds": {
            "overlap": [round(i * 0.05, 2) for i in range(21)],
            "pixels": PIXEL_THRESHOLDS.tolist(),
            "target_sizes": [round(i / 100, 2) for i in range(51)],
        },
        "latency": report.latency,
        "trackers": {
            t.name: {
                "sequences": t.total.sequences,
                "missing": list(t.missing),
                **{k: rounded(getattr(t.total, k)) for k in (*_METRICS, "sr50", "sr75")},
                "success_interval_95": [rounded(t.interval.low), rounded(t.interval.high)],
                "fps": rounded(t.fps),
                "success_curve": t.total.success_curve.round(6).tolist(),
                "precision_curve": t.total.precision_curve.round(6).tolist(),
                "norm_precision_curve": t.total.norm_precision_curve.round(6).tolist(),
                "by_sequence": {n: {k: rounded(v) for k, v in row.items()} for n, row in t.values.items()},
            }
            for t in report.trackers
        },
    }


def _csv(header: Several[str], rows: Iterable[Several[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
