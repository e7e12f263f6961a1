"""Our trackers inside the got10k toolkit, run by its own loop on files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from onlinetada.trackers.result import TrackResult

got10k_adapter = pytest.importorskip("onlinetada.trackers.got10k_adapter")


class Reddest:
    """Finds the columns that are red, which it can only do with the right channel order."""

    name = "reddest"

    def init(self, image: Any, box_xywh: Any, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        self.index, self.size = 0, box_xywh[2:]
        return self._find(image, color)

    def update(self, image: Any, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        self.index += 1
        return self._find(image, color)

    def _find(self, image: Any, color: str) -> TrackResult:
        red = image[..., 0 if color == "rgb" else 2].astype(int) - image[..., 1]
        x = float(np.flatnonzero(red[10] > 100).min())
        return TrackResult(self.index, 0.0, (x, 5.0, *map(float, self.size)), 1.0, "tracking", 0.0)


def test_the_toolkits_loop_gets_boxes_of_rgb_files(tmp_path: Path) -> None:
    files = []
    for index in range(4):
        image = np.full((20, 60, 3), 40, np.uint8)
        image[:, 10 + 5 * index : 20 + 5 * index] = (0, 0, 255)  # red, as OpenCV writes it
        files.append(str(tmp_path / f"{index}.png"))
        cv2.imwrite(files[-1], image)
    tracker = got10k_adapter.Got10kTracker(Reddest())
    boxes, times = tracker.track(files, np.array([10.0, 5.0, 10.0, 8.0]))
    assert tracker.name == "reddest" and tracker.is_deterministic
    assert boxes[:, 0].tolist() == [10, 15, 20, 25] and (boxes[:, 2:] == [10, 8]).all() and (times > 0).all()


def test_pictures_of_other_modes_are_made_rgb() -> None:
    tracker = got10k_adapter.Got10kTracker(Reddest(), name="mine")
    image = np.zeros((20, 60, 4), np.uint8)
    image[:, 30:40] = (255, 0, 0, 255)
    for picture in (PilImage.fromarray(image, "RGBA"), image[..., :3]):
        tracker.init(picture, (30, 5, 10, 8))
        assert tracker.update(picture).tolist() == [30, 5, 10, 8]
    assert tracker.name == "mine"
