"""Square crops around a point, as networks see them. Outside of the picture is the first frame's mean colour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from onlinetada.trackers.images import is_flat
from onlinetada.trackers.result import Image

Floats = npt.NDArray[np.float64]

_SHRINK = 0.6  # below this scale linear interpolation would skip pixels, so areas are averaged first
_LARGEST_SIDE = 4096  # a padded square of more pixels is not built: memory must not follow the size of a box


@dataclass(frozen=True)
class Region:
    """A square of a picture.

    Attributes:
        centre: (2,) x, y in pixels.
        side: its side in pixels of the picture.
        scale: pixels of the crop per pixel of the picture, as the decoding of boxes takes it.
    """

    centre: Floats
    side: float
    scale: float


def crop_square(
    image: Image, region: Region, size: int, fill: Floats, kind: Literal["integer", "subpixel"]
) -> tuple[Image, bool]:
    """A region as a (size, size, 3) uint8 picture.

    Args:
        image: (H, W, 3) uint8.
        region: what to cut out.
        size: side of the crop in pixels.
        fill: (3,) colour outside of the picture.
        kind: "integer" as published: whole pixels, padded first, then resized; "subpixel": the exact square, averaged
            over areas when it shrinks much.

    Returns:
        The crop, and whether it shows nothing (`is_flat`).
    """
    if kind == "integer" and region.side <= _LARGEST_SIDE:
        return _integer_crop(image, region, size, fill)
    return _subpixel_crop(image, region, size, fill)


def _integer_crop(image: Image, region: Region, size: int, fill: Floats) -> tuple[Image, bool]:
    side = max(1, int(region.side))
    left, top = (math.floor(c - (side + 1) / 2 + 0.5) for c in region.centre)
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
    visible = image[y0 : max(y0, y1), x0 : max(x0, x1)]
    if visible.shape[:2] == (side, side):
        patch = visible
    else:
        patch = np.empty((side, side, 3), np.uint8)
        patch[:] = fill.astype(np.uint8)
        patch[y0 - top : y0 - top + visible.shape[0], x0 - left : x0 - left + visible.shape[1]] = visible
    flat = is_flat(visible)
    return (patch if side == size else cv2.resize(patch, (size, size))), flat


def _subpixel_crop(image: Image, region: Region, size: int, fill: Floats) -> tuple[Image, bool]:
    scale = size / region.side
    left, top = (region.centre - region.side / 2).tolist()
    height, width = image.shape[:2]
    x0, y0 = max(0, math.floor(left) - 1), max(0, math.floor(top) - 1)
    x1, y1 = min(width, math.ceil(left + region.side) + 1), min(height, math.ceil(top + region.side) + 1)
    if x1 <= x0 or y1 <= y0:
        return np.broadcast_to(fill.astype(np.uint8), (size, size, 3)).copy(), True
    part = image[y0:y1, x0:x1]
    flat = is_flat(part)
    shrunk_x = shrunk_y = 1.0
    if scale < _SHRINK:
        w, h = (max(1, round(n * scale)) for n in (x1 - x0, y1 - y0))
        shrunk_x, shrunk_y = w / (x1 - x0), h / (y1 - y0)
        part = cv2.resize(part, (w, h), interpolation=cv2.INTER_AREA)
    # pixel i of a picture covers i..i+1, so its centre is i + 0.5 on both sides of the map
    zoom_x, zoom_y = scale / shrunk_x, scale / shrunk_y
    warp = np.array(
        [
            [zoom_x, 0, (x0 - left) * scale + 0.5 * zoom_x - 0.5],
            [0, zoom_y, (y0 - top) * scale + 0.5 * zoom_y - 0.5],
        ]
    )
    border = tuple(float(v) for v in fill)
    return cv2.warpAffine(
        part, warp, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border
    ), flat
