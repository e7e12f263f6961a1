"""The targets of a run under numbers that stay, also when one is drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy.typing as npt

from onlinetada.trackers.io.frames import Frame
from onlinetada.trackers.result import Box, Image, Tracker, TrackResult


class Follower(Protocol):
    """Follows any number of targets in one stream, as ``MultiTracker`` does."""

    def add(
        self, image: Image, box_xywh: npt.ArrayLike, *, timestamp_s: float | None = None, color: str = "bgr"
    ) -> int: ...

    def remove(self, key: int, /) -> None: ...

    def result(self, key: int, /) -> TrackResult: ...

    def update(
        self, image: Image, *, timestamp_s: float | None = None, color: str = "bgr"
    ) -> dict[int, TrackResult]: ...


class SeparateTrackers:
    """Several targets with a tracker each, for trackers that know one target only.

    Args:
        build: makes a tracker.
    """

    def __init__(self, build: Callable[[], Tracker]) -> None:
        self._build = build
        self._trackers: dict[int, Tracker] = {}
        self._results: dict[int, TrackResult] = {}
        self._next_id = 0

    def add(
        self, image: Image, box_xywh: npt.ArrayLike, *, timestamp_s: float | None = None, color: str = "bgr"
    ) -> int:
        """Start a target and give its id."""
        tracker = self._build()
        result = tracker.init(image, box_xywh, timestamp_s=timestamp_s, color=color)
        key, self._next_id = self._next_id, self._next_id + 1
        self._trackers[key], self._results[key] = tracker, result
        return key

    def remove(self, key: int) -> None:
        """Stop following a target."""
        del self._trackers[key], self._results[key]

    def result(self, key: int) -> TrackResult:
        """A target as of its last frame."""
        return self._results[key]

    def update(self, image: Image, *, timestamp_s: float | None = None, color: str = "bgr") -> dict[int, TrackResult]:
        """Find all targets in the next frame: id -> result."""
        self._results = {k: t.update(image, timestamp_s=timestamp_s, color=color) for k, t in self._trackers.items()}
        return dict(self._results)


class Targets:
    """Targets 0, 1, 2 ... of a run.

    Args:
        follower: that finds them.
        frame: the first.
        boxes: on it, one a target; more may come later.

    Attributes:
        results: number -> what is known as of the last frame.
    """

    def __init__(self, follower: Follower, frame: Frame | None = None, boxes: Sequence[Box] = ()) -> None:
        self._follower = follower
        self._keys: dict[int, int] = {}
        self.results: dict[int, TrackResult] = {}
        if frame is not None:
            for number, box in enumerate(boxes):
                self.start(number, frame, box)

    def start(self, number: int, frame: Frame, box: Box) -> None:
        """Begin to follow a target under a number that is free."""
        key = self._follower.add(frame.image, box, timestamp_s=frame.timestamp_s)
        self._keys[number] = key
        self.results[number] = self._follower.result(key)

    def stop(self, number: int) -> None:
        """Follow a target no more."""
        self._follower.remove(self._keys.pop(number))
        del self.results[number]

    def update(self, frame: Frame) -> dict[int, TrackResult]:
        """Find all targets in the next frame."""
        found = self._follower.update(frame.image, timestamp_s=frame.timestamp_s)
        self.results = {number: found[key] for number, key in self._keys.items()}
        return self.results

    def restart(self, number: int, frame: Frame, box: Box) -> None:
        """Begin a target anew, on a frame that was already taken in."""
        key = self._follower.add(frame.image, box, timestamp_s=frame.timestamp_s)
        self._follower.remove(self._keys[number])
        self._keys[number] = key
        self.results[number] = self._follower.result(key)

    def first_lost(self) -> int:
        """The first target that is lost; without any, the first."""
        return next((n for n, r in self.results.items() if r.state == "lost"), next(iter(self.results)))
