"""Ways to run a tracker over a sequence, and the files that each leaves."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.boxfiles import Boxes, format_boxes, read_boxes
from onlinetada.trackers.evaluation.decoding import read_ahead
from onlinetada.trackers.evaluation.geometry import Values
from onlinetada.trackers.evaluation.sequences import Sequence
from onlinetada.trackers.result import Tracker


class Mode(Protocol):
    """One way to run. ``run`` gives the files to write, relative to the tracker's folder, the deciding one last."""

    def is_done(self, folder: Path, sequence: Sequence) -> bool:
        """Whether the sequence needs no running any more."""

    def run(self, tracker: Tracker, sequence: Sequence) -> dict[str, str]:
        """Run the sequence."""


@dataclass(frozen=True)
class Pass:
    """A tracker's one pass over a sequence.

    Attributes:
        boxes: (N, 4) 0-based, the first one given.
        track_s: (N,) seconds of ``init`` and of every ``update``.
        decode_s: (N,) seconds of reading the frames, which is not part of ``track_s``.
    """

    boxes: Boxes
    track_s: Values
    decode_s: Values


@dataclass(frozen=True)
class OnePass:
    """Start on the first frame, update on all others: ``SEQ.txt``, with times beside it."""

    def is_done(self, folder: Path, sequence: Sequence) -> bool:
        """There is a result of the right length; what was left broken is run again."""
        file = folder / f"{sequence.name}.txt"
        if not file.is_file():
            return False
        try:
            read_boxes(file, rows=len(sequence))
        except InputError:
            return False
        return True

    def run(self, tracker: Tracker, sequence: Sequence) -> dict[str, str]:
        """Track the sequence."""
        return one_pass_files(sequence, track(tracker, sequence))


def track(tracker: Tracker, sequence: Sequence) -> Pass:
    """Run a tracker over a sequence. Frames are decoded ahead; their time is counted apart."""
    check_start(sequence)
    count = len(sequence)
    boxes, track_s, decode_s = np.zeros((count, 4)), np.zeros(count), np.zeros(count)
    boxes[0] = sequence.first_box()
    with contextlib.closing(read_ahead(sequence.frames)) as frames:
        for index, frame in enumerate(frames):
            stamp, start = index / sequence.fps, perf_counter()
            if index == 0:
                tracker.init(frame.image, sequence.first_box(), timestamp_s=stamp)
            else:
                boxes[index] = tracker.update(frame.image, timestamp_s=stamp).box_xywh
            track_s[index], decode_s[index] = perf_counter() - start, frame.decode_s
    return Pass(boxes, track_s, decode_s)


def one_pass_files(sequence: Sequence, done: Pass) -> dict[str, str]:
    """The result in published coordinates, seconds a frame of tracking, and of decoding."""
    return {
        f"times/{sequence.name}_time.txt": "".join(f"{s:.8f}\n" for s in done.track_s),
        f"times/{sequence.name}_decode.txt": "".join(f"{s:.8f}\n" for s in done.decode_s),
        f"{sequence.name}.txt": format_boxes(sequence.published(done.boxes)),
    }


def check_start(sequence: Sequence) -> None:
    """Refuse a sequence that no tracker can be started on."""
    if len(sequence.frames) != len(sequence):
        raise InputError(f"{sequence.name}: its images are not known")
    box = np.array(sequence.first_box())
    if not (np.isfinite(box).all() and (box[2:] > 0).all()):
        raise InputError(f"{sequence.name}: there is no target in the first frame, so no tracker can be started")
