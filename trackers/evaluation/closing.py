"""What a run ends with: its score, and GOT-10k's archive to submit."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Sequence as Several
from pathlib import Path

from onlinetada.trackers.evaluation.benchmarks import Benchmark
from onlinetada.trackers.evaluation.boxfiles import write_atomic
from onlinetada.trackers.evaluation.latency import Realtime, latency_score
from onlinetada.trackers.evaluation.modes import Mode
from onlinetada.trackers.evaluation.protocols import find_protocol
from onlinetada.trackers.evaluation.reinit import Supervised, vot_score
from onlinetada.trackers.evaluation.results import decode_ms, load_results, speed_fps
from onlinetada.trackers.evaluation.scores import rounded, score_tracker, sequence_values, total
from onlinetada.trackers.evaluation.sequences import Sequence


def close_run(benchmark: Benchmark, protocol: str, mode: Mode, sequences: Several[Sequence], folder: Path) -> None:
    """Score what there is, print it, and write it to a JSON file that names the protocol."""
    done = [s for s in sequences if mode.is_done(folder, s)]
    if not done:
        return
    if any(s.withheld for s in done):
        archive = write_submission(folder, done)
        print(f"the ground truth is withheld; submit {archive}")
        return
    if isinstance(mode, Supervised):
        figures = vot_score(done, folder)
        kind = "vot"
    elif isinstance(mode, Realtime):
        figures = latency_score(find_protocol(protocol), done, folder)
        kind = f"realtime_{protocol}"
    else:
        figures = _one_pass(protocol, done, folder)
        kind = protocol
        fps, decode = (f(folder.parent, folder.name, done) for f in (speed_fps, decode_ms))
        print(f"speed {fps:.1f} fps; decoding, apart from it and ahead of it, {decode:.1f} ms a frame", file=sys.stderr)
    text = json.dumps({"protocol": kind, "benchmark": benchmark.name, **figures}, indent=1) + "\n"
    write_atomic(folder / f"scores_{kind}.json", text)
    shown = {k: v for k, v in figures.items() if isinstance(v, int | float)}
    values = ", ".join(f"{name} {_short(value)}" for name, value in shown.items())
    print(f"{benchmark.name} {folder.name}, protocol {kind}: {values}")
    if len(done) < len(sequences):
        print(f"these are {len(done)} of {len(sequences)} sequences", file=sys.stderr)


def write_submission(folder: Path, sequences: Several[Sequence]) -> Path:
    """GOT-10k's archive: ``SEQ/SEQ_001.txt`` and ``SEQ/SEQ_time.txt``."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for s in sequences:
            archive.writestr(f"{s.name}/{s.name}_001.txt", (folder / f"{s.name}.txt").read_text())
            archive.writestr(f"{s.name}/{s.name}_time.txt", (folder / "times" / f"{s.name}_time.txt").read_text())
    path = folder.parent / f"{folder.name}.zip"
    write_atomic(path, content.getvalue())
    return path


def _one_pass(name: str, sequences: Several[Sequence], folder: Path) -> dict[str, object]:
    protocol = find_protocol(name)
    results = load_results(folder.parent, folder.name, sequences)
    scores = score_tracker(protocol, sequences, results)
    score = total(protocol, list(scores.values()))
    figures = {"sequences": score.sequences}
    by_sequence = {n: {k: rounded(v) for k, v in sequence_values(protocol, s).items()} for n, s in scores.items()}
    names = ("success", "precision", "norm_precision", "sr50", "sr75")
    return {**figures, **{k: rounded(getattr(score, k)) for k in names}, "by_sequence": by_sequence}


def _short(value: float) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
