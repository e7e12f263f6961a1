"""Frames, and the one type that every source of frames is."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from onlinetada.trackers.result import Image

Notify = Callable[[str], None]
"""Takes one line that a user should read: a skipped frame, a lost connection."""

_log = logging.getLogger("onlinetada.io")


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        image: (H, W, 3) uint8 BGR; what a Python iterator gives is passed on as it is.
        index: number of the frame in its source, from 0. It has gaps where frames were dropped or unreadable.
        timestamp_s: capture time in seconds. Files count from their own start; live sources give Unix time, stamped
            when the frame came in, on a clock that never jumps back.
    """

    image: Image
    index: int
    timestamp_s: float


class Source:
    """Frames to iterate over once, in order. A context manager: leaving it frees camera, connection and threads.

    Attributes:
        name: what to call it in messages; passwords are masked.
        live: whether it drops what the reader is too slow for.
        fps: nominal frames per second, where it is known.
        frame_count: how many frames it will have, where it is known; containers are known to lie.
    """

    def __init__(
        self,
        frames: Iterator[Frame],
        *,
        name: str,
        live: bool = False,
        fps: float | None = None,
        frame_count: int | None = None,
        dropped: Callable[[], int] = lambda: 0,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name, self.live, self.fps, self.frame_count = name, live, fps, frame_count
        self._frames, self._dropped, self._on_close = frames, dropped, on_close

    @property
    def dropped(self) -> int:
        """How many frames a live source has thrown away because newer ones had come."""
        return self._dropped()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free what the source holds. May be called twice."""
        on_close, self._on_close = self._on_close, lambda: None
        on_close()


def log_notice(line: str) -> None:
    """Where notices go when nobody asked for them: the logger ``onlinetada.io``, as warnings."""
    _log.warning("%s", line)


def of_one_size(frames: Iterator[Frame], notify: Notify) -> Iterator[Frame]:
    """Scale every frame to the size of the first, so that boxes keep their meaning when a source changes its own."""
    wanted: tuple[int, int] | None = None
    seen = wanted
    for frame in frames:
        size = (frame.image.shape[1], frame.image.shape[0])
        wanted = wanted or size
        if size != (seen or wanted):
            notify(f"frame {frame.index} is {size[0]}x{size[1]}" + _scaled(size, wanted))
        seen = size
        yield frame if size == wanted else scaled(frame, wanted)


def scaled(frame: Frame, size: tuple[int, int]) -> Frame:
    """The same frame at another (width, height)."""
    import cv2

    shrinks = frame.image.shape[0] * frame.image.shape[1] > size[0] * size[1]
    image = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return Frame(image, frame.index, frame.timestamp_s)


def _scaled(size: tuple[int, int], wanted: tuple[int, int]) -> str:
    if size == wanted:
        return " again, as the first was"
    return f", the first was {wanted[0]}x{wanted[1]}: scaled to that from here on"


def next_stamp(stamp_s: float, last_s: float | None, fps: float) -> float:
    """A timestamp that is finite and later than the last one: the given one where it is, else one frame later."""
    if last_s is None:
        return stamp_s if math.isfinite(stamp_s) else 0.0
    return stamp_s if math.isfinite(stamp_s) and stamp_s > last_s else last_s + 1 / fps
