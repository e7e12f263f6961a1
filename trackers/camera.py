"""How far the camera has moved from one picture to the next, from two thumbnails of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from onlinetada.trackers.result import Image

Floats = npt.NDArray[np.float64]
Thumbnail = npt.NDArray[np.float32]

_WIDTH = 96
_LEAST_HEIGHT, _MOST_HEIGHT = 16, 192
_LEAST_RESPONSE = 0.05  # of the peak, 0..1; what does not move as a whole has less


def thumbnail(picture: Image) -> Thumbnail:
    """The green of a picture (H, W, 3), 96 pixels wide.

    Whole rows and columns are skipped first: to average over all pixels takes ten times as long.
    """
    height, width = picture.shape[:2]
    step = max(1, width // (2 * _WIDTH))
    rows = min(max(round(height * _WIDTH / width), _LEAST_HEIGHT), _MOST_HEIGHT)
    small = cv2.resize(picture[::step, ::step, 1], (_WIDTH, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)


def camera_shift(before: Thumbnail, after: Thumbnail, picture: Image) -> Floats | None:
    """By how much the scene has moved between two pictures of the same size, by phase correlation.

    Args:
        before: thumbnail of the earlier picture.
        after: of the later one.
        picture: the later one.

    Returns:
        (2,) x, y in pixels of the picture; None where the pictures have no movement in common, or other shapes.
    """
    if before.shape != after.shape:
        return None
    height, width = after.shape
    (x, y), response = cv2.phaseCorrelate(before, after, _fading(width, height))
    if not response > _LEAST_RESPONSE:  # also where it is no number
        return None
    return np.array([x * picture.shape[1] / width, y * picture.shape[0] / height])


def scene_shifts(
    before: Sequence[Thumbnail | None], pictures: Sequence[Image]
) -> tuple[list[Thumbnail], list[Floats | None]]:
    """Thumbnails of pictures, and the shifts since earlier ones; what several targets share is worked out once.

    Args:
        before: a thumbnail for each target, or None.
        pictures: the present picture of each target.
    """
    small: dict[int, Thumbnail] = {}
    known: dict[tuple[int, int], Floats | None] = {}
    after, shifts = [], []
    for earlier, picture in zip(before, pictures, strict=True):
        if id(picture) not in small:
            small[id(picture)] = thumbnail(picture)
        later = small[id(picture)]
        pair = id(earlier), id(later)
        if pair not in known:
            known[pair] = None if earlier is None else camera_shift(earlier, later, picture)
        after.append(later)
        shifts.append(known[pair])
    return after, shifts


@functools.lru_cache(maxsize=8)
def _fading(width: int, height: int) -> Thumbnail:
    """A window that is 0 on the borders, or else what leaves the picture counts as much as what stays."""
    return np.asarray(cv2.createHanningWindow((width, height), cv2.CV_32F), dtype=np.float32)
