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


@dataclass(frozen=True)
class Source:
    """The part of a picture that a crop is made of.

    Pixel i of the crop lies at ``step * i + x`` (``y`` likewise) of the part.

    Attributes:
        pixels: (h, w, 3) uint8.
        step: pixels of the part a pixel of the crop.
        x, y: where the crop's first pixel lies in the part.
        flat: whether the part shows nothing.
        limit: least and largest coordinate that is looked at; None: no limit, outside of the part is the fill.
    """

    pixels: Image
    step: float
    x: float
    y: float
    flat: bool
    limit: tuple[float, float] | None = None


def _integer_crop(image: Image, region: Region, size: int, fill: Floats) -> tuple[Image, bool]:
    side, left, top = _whole_square(region)
    visible, x0, y0 = _visible(image, side, left, top)
    if visible.shape[:2] == (side, side):
        patch = visible
    else:
        patch = np.empty((side, side, 3), np.uint8)
        patch[:] = fill.astype(np.uint8)
        patch[y0 - top : y0 - top + visible.shape[0], x0 - left : x0 - left + visible.shape[1]] = visible
    flat = is_flat(visible)
    return (patch if side == size else cv2.resize(patch, (size, size))), flat


def _whole_square(region: Region) -> tuple[int, int, int]:
    """Side, left and top in whole pixels."""
    side = max(1, int(region.side))
    left, top = (math.floor(c - (side + 1) / 2 + 0.5) for c in region.centre)
    return side, left, top


def _visible(image: Image, side: int, left: int, top: int) -> tuple[Image, int, int]:
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
    return image[y0 : max(y0, y1), x0 : max(x0, x1)], x0, y0


def integer_source(image: Image, region: Region, size: int) -> Source | None:
    """What an "integer" crop is made of; None where none of it is in the picture."""
    if region.side > _LARGEST_SIDE:
        return None
    side, left, top = _whole_square(region)
    visible, x0, y0 = _visible(image, side, left, top)
    if visible.size == 0:
        return None
    step = side / size
    first = 0.5 * step - 0.5  # of the square's own pixels; cv2.resize repeats those on its border
    limits = {start - edge for start, edge in ((x0, left), (y0, top))}
    if limits != {0} or visible.shape[:2] != (side, side):
        return None  # partly outside: two different limits; the host does it
    return Source(visible, step, first, first, is_flat(visible), limit=(0.0, side - 1.0))


def subpixel_source(image: Image, region: Region, size: int) -> Source | None:
    """What a "subpixel" crop is made of; None where none of it is in the picture."""
    whole = _whole_part(image, region, size)
    if whole is not None:
        step = whole[0].shape[0] / size
        first = 0.5 * step - 0.5  # cv2.resize repeats the part's border
        return Source(whole[0], step, first, first, whole[1], limit=(0.0, whole[0].shape[0] - 1.0))
    scale = size / region.side
    left, top = (region.centre - region.side / 2).tolist()
    height, width = image.shape[:2]
    x0, y0 = max(0, math.floor(left) - 1), max(0, math.floor(top) - 1)
    x1, y1 = min(width, math.ceil(left + region.side) + 1), min(height, math.ceil(top + region.side) + 1)
    if x1 <= x0 or y1 <= y0:
        return None
    flat = is_flat(image[y0:y1, x0:x1])
    # linear interpolation alone would skip pixels; averaging blocks of 2 x 2, again and again, is fast
    halvings = _halvings(min(1 / scale, x1 - x0, y1 - y0))
    block = 2**halvings
    (x0, x1), (y0, y1) = _whole_blocks(x0, x1, width, block), _whole_blocks(y0, y1, height, block)
    part = image[y0:y1, x0:x1]
    for _ in range(halvings):
        part = cv2.resize(part, (part.shape[1] // 2, part.shape[0] // 2), interpolation=cv2.INTER_AREA)
    # pixel i of a picture covers i..i+1, so its centre is i + 0.5 on both sides of the map
    step = 1 / (scale * block)
    x, y = ((edge - start) / block + 0.5 * step - 0.5 for start, edge in ((x0, left), (y0, top)))
    return Source(part, step, x, y, flat)


def whole_region(region: Region, size: int) -> Region:
    """The nearest region that begins and ends between pixels: its crop is a resized part, three times as fast.

    What is found in a crop is placed by the region that it shows, so nothing is lost by looking half a pixel beside.

    Args:
        region: where to look.
        size: side of the crop in pixels.
    """
    block = 2 ** _halvings(region.side / size)
    side = max(block, round(region.side / block) * block)
    corner = np.round(region.centre - side / 2)
    return Region(corner + side / 2, float(side), region.scale * region.side / side)


def _halvings(shrink: float) -> int:
    """How often a picture is halved before the rest is interpolated, which then skips no pixels."""
    return max(0, int(shrink).bit_length() - 1)


def _whole_part(image: Image, region: Region, size: int) -> tuple[Image, bool] | None:
    """A region of whole pixels inside the picture, halved, and whether it shows nothing; None for other regions."""
    corner = region.centre - region.side / 2
    left, top, side = (int(v) for v in (*corner, region.side))
    block = 2 ** _halvings(region.side / size)
    if (corner != (left, top)).any() or side != region.side or side % block:
        return None
    if min(left, top) < 0 or left + side > image.shape[1] or top + side > image.shape[0]:
        return None
    part = image[top : top + side, left : left + side]
    flat = is_flat(part)
    while block > 1:
        part, block = cv2.resize(part, (part.shape[1] // 2,) * 2, interpolation=cv2.INTER_AREA), block // 2
    return part, flat


def _subpixel_crop(image: Image, region: Region, size: int, fill: Floats) -> tuple[Image, bool]:
    whole = _whole_part(image, region, size)
    if whole is not None:
        return cv2.resize(whole[0], (size, size), interpolation=cv2.INTER_LINEAR), whole[1]
    source = subpixel_source(image, region, size)
    if source is None:
        return np.broadcast_to(fill.astype(np.uint8), (size, size, 3)).copy(), True
    zoom = 1 / source.step
    warp = np.array([[zoom, 0, -source.x * zoom], [0, zoom, -source.y * zoom]])
    border = tuple(float(v) for v in fill)
    return cv2.warpAffine(
        source.pixels, warp, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border
    ), source.flat


def _whole_blocks(start: int, stop: int, extent: int, block: int) -> tuple[int, int]:
    """A span that begins and ends where blocks do: longer if the picture allows it, otherwise a little shorter."""
    missing = -(stop - start) % block
    if start >= missing:
        return start - missing, stop
    if stop + missing <= extent:
        return start, stop + missing
    return start, stop - (stop - start) % block
