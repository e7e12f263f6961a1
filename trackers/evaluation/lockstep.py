"""Several sequences through one batched network, a row each; a row that ends is given the next sequence."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.claims import Claims
from onlinetada.trackers.evaluation.decoding import DecodedFrame, read_ahead
from onlinetada.trackers.evaluation.modes import OnePass, Pass, check_start, one_pass_files
from onlinetada.trackers.evaluation.progress import Progress
from onlinetada.trackers.evaluation.running import Job, claim_next, write_files
from onlinetada.trackers.evaluation.sequences import Sequence
from onlinetada.trackers.result import Image, TrackResult

_POLL_S = 0.2


class BatchEngine(Protocol):
    """What of the engine is used."""

    def add(self, image: Image, box_xywh: npt.ArrayLike, *, timestamp_s: float | None = None) -> int:
        """Start a row."""

    def update(
        self, images: Mapping[int, Image], *, timestamp_s: float | Mapping[int, float] | None = None
    ) -> dict[int, TrackResult]:
        """Advance rows, each in its own image."""

    def remove(self, key: int) -> None:
        """End a row."""


class Row:
    """A sequence on its way."""

    def __init__(self, sequence: Sequence) -> None:
        check_start(sequence)
        self.sequence = sequence
        self.index = 0
        count = len(sequence)
        self.done = Pass(np.zeros((count, 4)), np.zeros(count), np.zeros(count))
        self.start_s = time.perf_counter()
        self._frames = read_ahead(sequence.frames)

    def begin(self, engine: BatchEngine) -> int:
        """Start it; gives the engine's id."""
        frame, start = self._next(), perf_counter()
        key = engine.add(frame.image, self.sequence.first_box(), timestamp_s=0.0)
        self._note(self.sequence.first_box(), frame, perf_counter() - start)
        return key

    def next_frame(self) -> DecodedFrame | None:
        """The frame to look at now; None at the end."""
        return self._next() if self.index < len(self.sequence) else None

    def note(self, result: TrackResult, frame: DecodedFrame, seconds: float) -> None:
        """Keep the answer."""
        self._note(result.box_xywh, frame, seconds)

    def close(self) -> None:
        """Stop reading."""
        self._frames.close()

    def _next(self) -> DecodedFrame:
        return next(self._frames)

    def _note(self, box: tuple[float, float, float, float], frame: DecodedFrame, seconds: float) -> None:
        i = self.index
        self.done.boxes[i], self.done.track_s[i], self.done.decode_s[i] = box, seconds, frame.decode_s
        self.index += 1


def run_in_lockstep(engine: BatchEngine, rows: dict[int, Row]) -> Iterator[tuple[int, Row, InputError | None]]:
    """One step of all rows. Yields those that ended, finished or broken; they are removed from ``rows``.

    A row's time is its share of the batch's, so that frames a second say what the whole run does.
    """
    frames: dict[int, DecodedFrame] = {}
    for key, row in list(rows.items()):
        error = None
        try:
            frame = row.next_frame()
        except InputError as broken:
            frame, error = None, broken
        if frame is None:
            engine.remove(key)
            row.close()
            yield key, rows.pop(key), error
        else:
            frames[key] = frame
    if not frames:
        return
    stamps = {key: rows[key].index / rows[key].sequence.fps for key in frames}
    start = perf_counter()
    results = engine.update({key: frame.image for key, frame in frames.items()}, timestamp_s=stamps)
    share = (perf_counter() - start) / len(frames)
    for key, frame in frames.items():
        rows[key].note(results[key], frame, share)


def work_in_lockstep(job: Job, waiting: list[Sequence], progress: Progress) -> None:
    """As ``running.work``, with up to ``job.batch`` sequences under way at a time."""
    if not isinstance(job.mode, OnePass):
        raise InputError("--batch goes with one-pass runs only")
    engine = _engine(job)
    rows: dict[int, Row] = {}
    with Claims(job.folder / ".claims") as claims:
        while waiting or rows:
            while len(rows) < job.batch and (sequence := claim_next(job, claims, waiting)) is not None:
                _begin(engine, rows, sequence, claims, progress)
            if not rows:
                time.sleep(_POLL_S)
            for _, row, error in run_in_lockstep(engine, rows):
                if error is None:
                    write_files(job.folder, one_pass_files(row.sequence, row.done))
                    progress.finished(row.sequence, perf_counter() - row.start_s)
                else:
                    progress.failed(row.sequence, error)
                claims.release(row.sequence.name)


def _begin(engine: BatchEngine, rows: dict[int, Row], sequence: Sequence, claims: Claims, progress: Progress) -> None:
    try:
        row = Row(sequence)
        rows[row.begin(engine)] = row
    except InputError as error:
        progress.failed(sequence, error)
        claims.release(sequence.name)


def _engine(job: Job) -> BatchEngine:
    make: Any = getattr(job.build, "engine", None)
    if make is None:
        raise InputError("--batch needs a network that runs several targets at once")
    engine: BatchEngine = make()
    return engine
