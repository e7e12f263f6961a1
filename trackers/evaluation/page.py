"""The report as one HTML file that needs nothing else: data, thumbnails and code are inside it."""

from __future__ import annotations

import base64
import importlib.resources
import json
from pathlib import Path

import numpy as np

from onlinetada.trackers.evaluation.boxfiles import write_atomic
from onlinetada.trackers.evaluation.plots import COLORS
from onlinetada.trackers.evaluation.reporting import Report, TrackerReport
from onlinetada.trackers.evaluation.scores import rounded
from onlinetada.trackers.evaluation.sequences import Sequence
from onlinetada.trackers.evaluation.thumbnails import thumbnails_of

_ABSENT = 255  # in the packed overlaps: the target is not there, or the frame is not counted
_MISS = 0
_SCALE = 250


def write_page(report: Report, path: Path, *, thumbnails: int = 3) -> None:
    """Write the page.

    Args:
        thumbnails: pictures a sequence, of the frames where the trackers differ most; made where images are known.
    """
    template = importlib.resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    data = json.dumps(_data(report, thumbnails), separators=(",", ":"))
    # "</" would end the script element; JSON allows the escaped form
    write_atomic(path, template.replace("/*DATA*/null", data.replace("</", "<\\/")))


def _data(report: Report, thumbnails: int) -> dict[str, object]:
    return {
        "benchmark": report.benchmark.name,
        "protocol": report.protocol.name,
        "count": len(report.sequences),
        "normIsArea": report.protocol.norm_precision == "area",
        "trackers": [_tracker(i, t) for i, t in enumerate(report.trackers)],
        "attributes": sorted({a for s in report.sequences for a in s.attributes}),
        "pairs": [
            [p.a, p.b, p.sequences, *(_short(v) for v in (p.mean, p.interval.low, p.interval.high, p.wins))]
            for p in report.pairs
        ],
        "latency": [{"name": n, **v} for n, v in report.latency.items()],
        "sequences": [_sequence(report, s, thumbnails) for s in report.sequences],
    }


def _tracker(index: int, tracker: TrackerReport) -> dict[str, object]:
    total = tracker.total
    return {
        "name": tracker.name,
        "color": COLORS[index % len(COLORS)],
        "dash": index // len(COLORS),
        "sequences": total.sequences,
        "missing": len(tracker.missing),
        "success": _short(total.success),
        "low": _short(tracker.interval.low),
        "high": _short(tracker.interval.high),
        "precision": _short(total.precision),
        "norm": _short(total.norm_precision),
        "fps": _short(tracker.fps),
        "curves": [
            [_short(v) for v in curve]
            for curve in (total.success_curve, total.precision_curve, total.norm_precision_curve)
        ],
        "attributes": {a: _short(s.success) for a, s in tracker.attributes.items()},
    }


def _sequence(report: Report, sequence: Sequence, thumbnails: int) -> dict[str, object]:
    packed, values = {}, {}
    for tracker in report.trackers:
        if sequence.name in tracker.scores:
            packed[tracker.name] = base64.b64encode(_packed(tracker, sequence)).decode()
            values[tracker.name] = [_short(v) for v in tracker.values[sequence.name].values()]
    return {
        "name": sequence.name,
        "frames": len(sequence),
        "attributes": list(sequence.attributes),
        "overlaps": packed,
        "values": values,
        "pictures": thumbnails_of(report, sequence, thumbnails),
    }


def _packed(tracker: TrackerReport, sequence: Sequence) -> bytes:
    """Overlaps as one byte a frame: 0..250 is 0..1, 255 is absent."""
    errors = tracker.scores[sequence.name].errors
    packed = np.full(len(sequence), _ABSENT, dtype=np.uint8)
    overlap = np.nan_to_num(errors.overlap, nan=_MISS)
    packed[errors.frames] = np.where(overlap < 0, _ABSENT, np.round(np.clip(overlap, 0, 1) * _SCALE))
    return packed.tobytes()


def _short(value: float) -> float | None:
    return rounded(value, 5)
