"""Several targets in one stream: one batched forward, one row of state each."""

from __future__ import annotations

from pathlib import Path

import numpy.typing as npt
import torch

from onlinetada.trackers.assemble import build_engine
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.loss import LossEvent
from onlinetada.trackers.models.tctrack import Quirks
from onlinetada.trackers.result import Image, TrackResult


class MultiTracker:
    """Follows any number of targets, which come and go while it runs.

    Each target gets the answers that a tracker of its own would give, within the rounding of a batched forward.

    Args: as ``build_tracker``.

    Example:
        >>> tracker = MultiTracker()  # doctest: +SKIP
        >>> car = tracker.add(frame, (300, 200, 60, 40))  # doctest: +SKIP
        >>> tracker.update(next_frame)[car].box_xywh  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str = "default",
        *,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        quirks: Quirks = "none",
        penalty_k: float | None = None,
        window_influence: float | None = None,
        size_lr: float | None = None,
        runtime: str = "auto",
        dtype: str = "float32",
    ) -> None:
        self.name = model
        self.engine: Engine = build_engine(
            model,
            weights=weights,
            device=device,
            quirks=quirks,
            penalty_k=penalty_k,
            window_influence=window_influence,
            size_lr=size_lr,
            runtime=runtime,
            dtype=dtype,
        )

    @property
    def ids(self) -> list[int]:
        """The targets, oldest first."""
        return list(self.engine.targets)

    def add(
        self, image: Image, box_xywh: npt.ArrayLike, *, timestamp_s: float | None = None, color: str = "bgr"
    ) -> int:
        """Start a target on this frame, its frame 0, and give its id. An id is never used again."""
        return self.engine.add(image, box_xywh, timestamp_s=timestamp_s, color=color)

    def remove(self, key: int) -> None:
        """Stop following a target."""
        self.engine.remove(key)

    def update(self, image: Image, *, timestamp_s: float | None = None, color: str = "bgr") -> dict[int, TrackResult]:
        """Find all targets in the next frame: id -> result."""
        return self.engine.update({key: image for key in self.engine.targets}, timestamp_s=timestamp_s, color=color)

    def result(self, key: int) -> TrackResult:
        """A target as of its last frame; right after `add`, its frame 0."""
        return self.engine.result(key)

    def events(self, key: int) -> tuple[LossEvent, ...]:
        """What happened to a target: uncertain, certain, lost, recovered."""
        return self.engine.events(key)
