"""One target in one stream, the two verbs everybody knows."""

from __future__ import annotations

import numpy.typing as npt

from onlinetada.errors import InputError
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.loss import LossEvent
from onlinetada.trackers.result import Image, TrackResult


class SingleTracker:
    """Follows one target. ``init`` may be called again at any time; the same frames give the same answers.

    Args:
        engine: that runs the network; it is this tracker's own.
        name: of the model.
    """

    def __init__(self, engine: Engine, *, name: str) -> None:
        self.engine = engine
        self.name = name
        self._key: int | None = None

    def init(
        self, image: Image, box_xywh: npt.ArrayLike, *, timestamp_s: float | None = None, color: str = "bgr"
    ) -> TrackResult:
        """Start on ``image``, see ``Tracker.init``. On bad input the tracker goes on with the target it had."""
        key = self.engine.add(image, box_xywh, timestamp_s=timestamp_s, color=color)
        if self._key is not None:
            self.engine.remove(self._key)
        self._key = key
        return self.engine.result(key)

    def update(self, image: Image, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        """Find the target in the next frame, see ``Tracker.update``."""
        key = self._started()
        return self.engine.update({key: image}, timestamp_s=timestamp_s, color=color)[key]

    @property
    def events(self) -> tuple[LossEvent, ...]:
        """What happened to the target since ``init``: uncertain, certain, lost, recovered."""
        return self.engine.events(self._started())

    def _started(self) -> int:
        if self._key is None:
            raise InputError(f"tracker {self.name!r} has no target: call init(image, box) first")
        return self._key
