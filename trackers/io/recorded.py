"""Sources that wait for their reader: video files, image files, Python iterators. They give every frame."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onlinetada.errors import InputError
from onlinetada.trackers.io.capture import Capture
from onlinetada.trackers.io.frames import Frame, Notify, next_stamp
from onlinetada.trackers.result import Image

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
DEFAULT_FPS = 30.0
_RETRIES = 8  # reads that may fail in a row before a video file counts as ended
_NAMED_SKIPS = 3  # unreadable images that are named one by one


def capture_frames(capture: Capture, name: str, fps: float, count: int | None, notify: Notify) -> Iterator[Frame]:
    """Every frame that an opened ``cv2.VideoCapture`` gives, stamped with the container's time."""
    import cv2

    index, last_s, failed = 0, None, 0
    while failed <= _RETRIES:
        ok, image = capture.read()
        if not ok or image is None:
            failed += 1 if count is not None and index < count else _RETRIES + 1
            continue
        failed = 0
        last_s = next_stamp(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, last_s, fps)
        yield Frame(image, index, last_s)
        index += 1
    if count is not None and index < count:
        notify(f"{name} ended after {index} of {count} frames; is the file cut off or broken?")


def image_frames(paths: Sequence[Path], name: str, fps: float, notify: Notify) -> Iterator[Frame]:
    """The images of the given files in the given order; unreadable ones are named and left out."""
    skipped = 0
    for index, path in enumerate(paths):
        image = _imread(path)
        if image is None:
            skipped += 1
            if skipped <= _NAMED_SKIPS:
                notify(f"{path} cannot be read as an image: left out")
            continue
        yield Frame(image, index, index / fps)
    if skipped > _NAMED_SKIPS:
        notify(f"{name}: {skipped} of {len(paths)} images could not be read and were left out")


def iterator_frames(items: Iterable[Any], fps: float) -> Iterator[Frame]:
    """Frames from a Python iterable of images, of image files, of (image, timestamp_s) pairs, or of ``Frame``.

    Raises:
        InputError: on reaching an item that is none of these.
    """
    if isinstance(items, np.ndarray) and (items.ndim < 3 or (items.ndim == 3 and items.shape[-1] <= 4)):
        raise InputError(f"an array of shape {items.shape} is one image: give (T, H, W, 3), or a list of images")
    for index, item in enumerate(items):
        if isinstance(item, Frame):
            yield item
        elif isinstance(item, (str, os.PathLike)):
            yield Frame(_read(Path(item)), index, index / fps)
        elif isinstance(item, np.ndarray):
            yield Frame(_image(item, index), index, index / fps)
        elif isinstance(item, tuple) and len(item) == 2:
            image, stamp_s = item
            yield Frame(_image(image, index), index, _seconds(stamp_s, index))
        else:
            raise InputError(_wrong_item(item, index))


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, or of its subfolder ``img`` as data sets have it, in natural order."""
    for place in (folder, folder / "img"):
        if place.is_dir():
            paths = [p for p in place.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
            if paths:
                return sorted(paths, key=natural_order)
    return []


def natural_order(path: Path) -> list[tuple[bool, int, str]]:
    """Sort key that puts img2 before img10."""
    parts = re.split(r"(\d+)", str(path))
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def _imread(path: Path) -> Image | None:
    import cv2

    try:
        image: Image | None = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # an image larger than OpenCV allows, for one
        return None
    return image


def _read(path: Path) -> Image:
    image = _imread(path)
    if image is None:
        raise InputError(f"{path} cannot be read as an image")
    return image


def _image(item: Any, index: int) -> Image:
    if not isinstance(item, np.ndarray) or item.ndim not in (2, 3) or item.size == 0:
        raise InputError(_wrong_item(item, index))
    return item


def _seconds(stamp: Any, index: int) -> float:
    if isinstance(stamp, (int, float, np.integer, np.floating)) and math.isfinite(stamp):
        return float(stamp)
    raise InputError(f"item {index} of the frames has timestamp {stamp!r}: give seconds as a finite number")


def _wrong_item(item: Any, index: int) -> str:
    what = f"an array of shape {item.shape}" if isinstance(item, np.ndarray) else f"a {type(item).__name__}"
    return f"item {index} of the frames is {what}: give images as arrays (H, W, 3), or (image, timestamp_s) pairs"
