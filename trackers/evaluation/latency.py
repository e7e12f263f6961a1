"""Scores that count latency: a frame is judged by the newest answer that was ready when it was due.

The pairing is that of streaming perception (sAP) as TCTrack++ and PVT++ use it. Frame i comes at i / fps. The tracker
takes the newest frame whenever it is free, so slow trackers skip frames. With a permitted latency eta (in frames),
frame i is judged by the last answer finished at (i + eta) / fps; the first box is ready at once. PVT++'s mAUC and mDP
are success and precision averaged over eta = 0, 0.02 ... 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.boxfiles import Boxes, read_numbers
from onlinetada.trackers.evaluation.decoding import read_frame
from onlinetada.trackers.evaluation.geometry import Values
from onlinetada.trackers.evaluation.modes import check_start
from onlinetada.trackers.evaluation.protocols import Protocol
from onlinetada.trackers.evaluation.scores import score_tracker, total
from onlinetada.trackers.evaluation.sequences import Sequence
from onlinetada.trackers.result import Tracker

ETAS = np.arange(51) * 0.02
_HEADER = "frame,finished_s,x,y,w,h"
_EPSILON_S = 1e-9  # an answer at the very moment counts as ready


@dataclass(frozen=True)
class Clock:
    """Where the times of updates come from.

    Attributes:
        recorded: results of a tracker whose ``times/SEQ_time.txt`` (seconds, by frame) are replayed, so that a run is
            the same every time; None: the tracker's own time is measured.
        scale: recorded times are multiplied by it: how much slower another device is.
    """

    recorded: Path | None = None
    scale: float = 1.0

    def times_of(self, sequence: Sequence) -> Values | None:
        """Seconds of ``init`` and of an update on each frame (N,); None: measure."""
        if self.recorded is None:
            return None
        file = self.recorded / "times" / f"{sequence.name}_time.txt"
        if not file.is_file():
            raise InputError(f"{file}: no recorded times of this sequence")
        times = read_numbers(file)
        if len(times) != len(sequence):
            raise InputError(f"{file}: {len(times)} times, the sequence has {len(sequence)} frames")
        return times * self.scale


@dataclass(frozen=True)
class LiveRecord:
    """What a tracker answered, and when.

    Attributes:
        frames: (U,) the frame that each answer is of, the first one 0.
        finished_s: (U,) when it was ready, on the clock on which frame i comes at i / fps.
        boxes: (U, 4) 0-based or published, as the caller keeps them.
    """

    frames: npt.NDArray[np.int64]
    finished_s: Values
    boxes: Boxes


@dataclass(frozen=True)
class Realtime:
    """Run with frames that do not wait: ``realtime/SEQ.csv``.

    The clock advances by the time the tracker takes; decoding and waiting for frames take none of it.

    Attributes:
        fps: of the frames; None: the sequence's own.
        clock: where update times come from.
    """

    fps: float | None = None
    clock: Clock = field(default_factory=Clock)

    def settings(self) -> dict[str, object]:
        """What results depend on."""
        recorded = None if self.clock.recorded is None else self.clock.recorded.name
        return {"fps": self.fps, "recorded_times": recorded, "time_scale": self.clock.scale}

    def is_done(self, folder: Path, sequence: Sequence) -> bool:
        """There is a record."""
        return record_file(folder, sequence).is_file()

    def run(self, tracker: Tracker, sequence: Sequence) -> dict[str, str]:
        """Run on the clock."""
        times = self.clock.times_of(sequence)
        record = run_live(tracker, sequence, fps=self.fps or sequence.fps, times_s=times)
        rows = zip(record.frames, record.finished_s, sequence.published(record.boxes), strict=True)
        lines = [_HEADER, *(f"{f},{t:.6f}," + ",".join(f"{v:.4f}" for v in box) for f, t, box in rows)]
        return {f"realtime/{sequence.name}.csv": "\n".join(lines) + "\n"}


def run_live(tracker: Tracker, sequence: Sequence, *, fps: float, times_s: Values | None = None) -> LiveRecord:
    """Give the tracker the newest frame whenever it is free.

    Args:
        times_s: (N,) how long ``init`` and the update on each frame take; None: as long as they do.
    """
    check_start(sequence)
    frames, finished, boxes = [0], [0.0], [sequence.first_box()]
    image, start = read_frame(sequence.frames[0]).image, perf_counter()
    tracker.init(image, sequence.first_box(), timestamp_s=0.0)
    now = perf_counter() - start if times_s is None else float(times_s[0])
    while True:
        newest = max(math.floor(now * fps + 1e-6), frames[-1] + 1)
        if newest >= len(sequence):
            break
        now = max(now, newest / fps)
        image, start = read_frame(sequence.frames[newest]).image, perf_counter()
        result = tracker.update(image, timestamp_s=newest / fps)
        now += perf_counter() - start if times_s is None else float(times_s[newest])
        frames.append(newest)
        finished.append(now)
        boxes.append(result.box_xywh)
    return LiveRecord(np.array(frames), np.array(finished), np.array(boxes, dtype=np.float64))


def pair(record: LiveRecord, count: int, *, fps: float, eta: float = 0.0) -> npt.NDArray[np.int64]:
    """For each of ``count`` frames the index of the answer that it is judged by, (N,).

    Args:
        eta: permitted latency in frames, 0 or more; 1 lets an answer come until the next frame.
    """
    if eta < 0:
        raise InputError(f"permitted latency {eta}: give 0 or more frames")
    due = (np.arange(count) + eta) / fps + _EPSILON_S
    return np.asarray(np.searchsorted(record.finished_s, due, side="right") - 1).clip(0)


def record_file(folder: Path, sequence: Sequence) -> Path:
    """Where the record of a sequence is."""
    return folder / "realtime" / f"{sequence.name}.csv"


def read_record(path: Path) -> LiveRecord:
    """Read a record, boxes in published coordinates.

    Raises:
        InputError: it is not one.
    """
    lines = path.read_text().splitlines()
    try:
        if lines[0] != _HEADER:
            raise ValueError
        table = np.array([line.split(",") for line in lines[1:]], dtype=np.float64).reshape(-1, 6)
    except (ValueError, IndexError):
        raise InputError(f"{path}: not a record of a realtime run; its first line is {_HEADER}") from None
    if not len(table) or (np.diff(table[:, 1]) < 0).any():
        raise InputError(f"{path}: answers must be in the order of time, at least one")
    return LiveRecord(table[:, 0].astype(np.int64), table[:, 1], table[:, 2:])


def latency_score(protocol: Protocol, sequences: Several[Sequence], folder: Path) -> dict[str, Any]:
    """Success and precision at eta = 0, mAUC, mDP, both over all eta, and how many frames late answers are on average.

    Frames come at the rate that the run was made with, as its ``realtime/run.json`` has it.

    Raises:
        InputError: a record is broken or none is there.
    """
    records = {s.name: read_record(record_file(folder, s)) for s in sequences if record_file(folder, s).is_file()}
    if not records:
        raise InputError(f"{folder}: no records of realtime runs")
    there = [s for s in sequences if s.name in records]
    fps = _fps_of_run(folder)
    success, precision, behind = [], [], 0.0
    for eta in ETAS:
        answers = {s.name: pair(records[s.name], len(s), fps=fps or s.fps, eta=float(eta)) for s in there}
        results = {name: records[name].boxes[index] for name, index in answers.items()}
        score = total(protocol, list(score_tracker(protocol, there, results).values()))
        success.append(score.success)
        precision.append(score.precision)
        if eta == 0:
            late = [np.arange(len(i)) - records[n].frames[i] for n, i in answers.items()]
            behind = float(np.concatenate(late).mean())
    return {
        "sequences": len(there),
        "success": round(success[0], 6),
        "precision": round(precision[0], 6),
        "mAUC": round(float(np.mean(success)), 6),
        "mDP": round(float(np.mean(precision)), 6),
        "frames_behind": round(behind, 4),
        "eta": ETAS.round(2).tolist(),
        "success_over_eta": np.round(success, 6).tolist(),
        "precision_over_eta": np.round(precision, 6).tolist(),
    }


def trackers_with_records(folder: Path) -> tuple[str, ...]:
    """Names of the trackers under ``RESULTS/BENCHMARK`` that have been run in real time."""
    return tuple(sorted(f.name for f in folder.iterdir() if any((f / "realtime").glob("*.csv"))))


def _fps_of_run(folder: Path) -> float | None:
    file = folder / "realtime" / "run.json"
    fps = json.loads(file.read_text()).get("fps") if file.is_file() else None
    return None if fps is None else float(fps)
