"""What a tracker answers, and what anything that calls itself a tracker must offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels; x, y is the top left corner, 0-based, sub-pixel."""

Image = npt.NDArray[Any]
"""(H, W, 3) uint8, BGR unless said otherwise."""

TrackState = Literal["tracking", "uncertain", "lost"]


@dataclass(frozen=True)
class TrackResult:
    """One target on one frame.

    Attributes:
        frame_index: 0 for the frame given to ``init``, then one more for every ``update``.
        timestamp_s: capture time of the frame in seconds, on the source's clock.
        box_xywh: the target's box, always finite. While ``state`` is "lost" it is the last box that was trusted.
        score: confidence between 0 and 1 that the box is on the target.
        state: "tracking", "uncertain" or "lost".
        latency_ms: time from the call of ``update`` to its answer.
    """

    frame_index: int
    timestamp_s: float
    box_xywh: Box
    score: float
    state: TrackState
    latency_ms: float


@runtime_checkable
class Tracker(Protocol):
    """One target in one stream. ``init`` may be called again at any time."""

    name: str

    def init(
        self, image: Image, box_xywh: Box | npt.ArrayLike, *, timestamp_s: float | None = None, color: str = "bgr"
    ) -> TrackResult:
        """Start on ``image`` with the target's box; the answer describes frame 0."""

    def update(self, image: Image, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        """Find the target in the next frame. Without ``timestamp_s``, frames are taken as 1/30 s apart."""


def as_box(values: npt.ArrayLike) -> Box:
    """Four numbers of any array type as a plain tuple of floats."""
    x, y, w, h = (float(v) for v in np.asarray(values, dtype=np.float64).reshape(-1))
    return x, y, w, h
