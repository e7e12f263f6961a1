"""This package's trackers as trackers of the got10k toolkit, for its experiments and for code written for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from got10k.trackers import Tracker as Got10kBase

from onlinetada.trackers.result import Tracker


class Got10kTracker(Got10kBase):  # type: ignore[misc]
    """A got10k ``Tracker``: ``init(image, box)`` and ``update(image) -> box`` with PIL pictures in RGB.

    ``ExperimentUAV123(...).run(Got10kTracker(build_tracker()))``. The toolkit's clock runs while PIL decodes a JPEG, so
    the frame rates it reports are those of tracker and decoder together.

    Args:
        tracker: from ``build_tracker``.
        name: of the folder that the toolkit writes results to; the tracker's own without it.
    """

    def __init__(self, tracker: Tracker, *, name: str | None = None) -> None:
        super().__init__(name or tracker.name, is_deterministic=True)
        self._tracker = tracker

    def init(self, image: Any, box: npt.ArrayLike) -> None:
        """Start on a picture with x, y, w, h."""
        self._tracker.init(_rgb(image), box, color="rgb")

    def update(self, image: Any) -> npt.NDArray[np.float64]:
        """The target's box x, y, w, h on the next picture; while it is lost, the last that was trusted."""
        return np.array(self._tracker.update(_rgb(image), color="rgb").box_xywh)


def _rgb(image: Any) -> npt.NDArray[np.uint8]:
    if isinstance(image, np.ndarray):
        return image
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
