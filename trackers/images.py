"""Pictures and boxes as users give them, made what the trackers need, or refused in one line."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from onlinetada.errors import InputError
from onlinetada.trackers.result import Box, Image

FLAT_DEVIATION = 1.0  # grey levels; sensor noise of a covered lens after 8-bit quantisation stays below


def as_bgr(image: Any, color: str = "bgr") -> Image:
    """A picture as (H, W, 3) uint8 BGR.

    Args:
        image: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8 or uint16. An alpha channel is dropped, 16 bits are
            divided by 256 (stretch thermal or raw data to the full range beforehand).
        color: channel order, "bgr" or "rgb", also of four channels.

    Raises:
        InputError: no array, no pixels, another type, another number of channels, an unknown ``color``.
    """
    if color not in ("bgr", "rgb"):
        raise InputError(f"color must be 'bgr' or 'rgb', it is {color!r}")
    if not isinstance(image, np.ndarray):
        raise InputError(f"the image must be a numpy array (H, W, 3), it is {type(image).__name__}: use numpy.asarray")
    if image.ndim not in (2, 3) or image.size == 0:
        raise InputError(f"the image must be (H, W, 3) with at least one pixel, it has shape {image.shape}")
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.dtype != np.uint8:
        raise InputError(f"the image must be uint8 (or uint16), it is {image.dtype}: scale to 0..255 and convert")
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 1:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2BGR))
    if channels not in (3, 4):
        raise InputError(f"the image must have 1, 3 or 4 channels, it has {channels} (shape {image.shape})")
    if color == "bgr" and channels == 3:
        return np.asarray(image)
    order = [0, 1, 2] if color == "bgr" else [2, 1, 0]
    return np.ascontiguousarray(image[:, :, order])


def checked_box(values: npt.ArrayLike, image: Image) -> Box:
    """The box to start from: it may lie over the border, be a pixel or huge, but some of it must be in the image.

    Raises:
        InputError: not four finite numbers, a size that is not positive, or a box entirely outside the image.
    """
    try:
        numbers = np.asarray(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise InputError(f"the box must be four numbers x, y, w, h; it is {values!r}") from None
    if numbers.size != 4 or not np.isfinite(numbers).all():
        raise InputError(f"the box must be four finite numbers x, y, w, h; it is {numbers.tolist()}")
    x, y, w, h = numbers.tolist()
    height, width = image.shape[:2]
    if w <= 0 or h <= 0:
        raise InputError(f"the box must have a positive width and height; it is {x:g},{y:g},{w:g},{h:g}")
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise InputError(f"the box {x:g},{y:g},{w:g},{h:g} lies entirely outside the {width}x{height} image")
    return x, y, w, h


def is_flat(part: Image) -> bool:
    """Whether a part of a picture shows nothing: no pixels, or one colour as of a black frame or a covered lens."""
    if part.size == 0:
        return True
    sample = part[:: max(1, part.shape[0] // 64), :: max(1, part.shape[1] // 64)]
    _, deviation = cv2.meanStdDev(np.ascontiguousarray(sample))
    return bool((deviation < FLAT_DEVIATION).all())
