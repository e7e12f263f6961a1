"""VOT-style runs: a tracker that fails is started again, and both how well and how long it follows are scored.

A tracker fails where its box no longer overlaps the ground truth. Five frames later it is started anew. The files are
those of the VOT toolkit: one line a frame, 1 where it was started, 2 where it failed, 0 where it was not run, else its
box.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence as Several
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.boxfiles import format_boxes
from onlinetada.trackers.evaluation.decoding import read_ahead
from onlinetada.trackers.evaluation.geometry import overlap, rows_with_nan
from onlinetada.trackers.evaluation.modes import check_start
from onlinetada.trackers.evaluation.sequences import Sequence
from onlinetada.trackers.result import Tracker

NOT_RUN, STARTED, FAILED = "0", "1", "2"


@dataclass(frozen=True)
class Supervised:
    """Run with re-initialisation: ``baseline/SEQ/SEQ_001.txt``.

    Attributes:
        skip: frames from a failure to the next start.
    """

    skip: int = 5

    def is_done(self, folder: Path, sequence: Sequence) -> bool:
        """There is a file of the right length."""
        file = trajectory_file(folder, sequence)
        return file.is_file() and len(file.read_text().split()) == len(sequence)

    def run(self, tracker: Tracker, sequence: Sequence) -> dict[str, str]:
        """Run and start again after failures."""
        rows = run_supervised(tracker, sequence, skip=self.skip)
        return {f"baseline/{sequence.name}/{sequence.name}_001.txt": "\n".join(rows) + "\n"}


def run_supervised(tracker: Tracker, sequence: Sequence, *, skip: int = 5) -> list[str]:
    """The lines of the trajectory file, one a frame."""
    check_start(sequence)
    there = ~rows_with_nan(sequence.truth)
    rows: list[str] = []
    start_at, running = 0, False
    with contextlib.closing(read_ahead(sequence.frames)) as frames:
        for index, frame in enumerate(frames):
            stamp = index / sequence.fps
            if not running and index >= start_at and there[index]:
                tracker.init(frame.image, sequence.box_at(index), timestamp_s=stamp)
                rows.append(STARTED)
                running = True
            elif not running:
                rows.append(NOT_RUN)
            else:
                box = sequence.published([tracker.update(frame.image, timestamp_s=stamp).box_xywh])
                running = not there[index] or bool(overlap(box, sequence.truth[index : index + 1])[0] > 0)
                rows.append(format_boxes(box).strip() if running else FAILED)
                start_at = index + skip
    return rows


def trajectory_file(folder: Path, sequence: Sequence) -> Path:
    """Where the trajectory of a sequence is."""
    return folder / "baseline" / sequence.name / f"{sequence.name}_001.txt"


def vot_score(sequences: Several[Sequence], folder: Path, *, burn_in: int = 10) -> dict[str, object]:
    """Accuracy and robustness.

    Args:
        burn_in: frames from each start on that do not count for the accuracy, for they are flattering.

    Returns:
        accuracy: mean overlap of all counted frames; failures; robustness: failures a hundred frames.
    """
    overlaps: list[float] = []
    failures = frames = 0
    for sequence in sequences:
        rows = trajectory_file(folder, sequence).read_text().split()
        if len(rows) != len(sequence):
            raise InputError(f"{trajectory_file(folder, sequence)}: {len(rows)} lines, {len(sequence)} frames")
        failures += rows.count(FAILED)
        frames += len(rows)
        overlaps += _counted_overlaps(sequence, rows, burn_in)
    accuracy = float(np.mean(overlaps)) if overlaps else 0.0
    return {
        "sequences": len(sequences),
        "accuracy": round(accuracy, 6),
        "failures": failures,
        "robustness": round(100 * failures / max(frames, 1), 6),
    }


def _counted_overlaps(sequence: Sequence, rows: list[str], burn_in: int) -> list[float]:
    boxes = np.full((len(rows), 4), np.nan)
    counted_from = 0
    for index, row in enumerate(rows):
        if row == STARTED:
            counted_from = index + burn_in
        elif row not in (NOT_RUN, FAILED) and index >= counted_from:
            boxes[index] = [float(v) for v in row.split(",")]
    values = overlap(boxes, sequence.truth)
    return [float(v) for v in values[np.isfinite(values)]]
