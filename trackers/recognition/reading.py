"""Chosen frames of a video file or of a folder of frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onlinetada.errors import InputError
from onlinetada.trackers.recognition.sampling import Indices

Pictures = NDArray[np.uint8]
_IMAGES = {".jpg", ".jpeg", ".png", ".bmp"}


class Video:
    """A video file or a folder of frames (in the order of their names).

    Raises:
        InputError: nothing there, or nothing that can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.images: list[Path] | None = None
        if path.is_dir():
            self.images = sorted(p for p in path.iterdir() if p.suffix.lower() in _IMAGES)
            if not self.images:
                raise InputError(f"{path}: no pictures in this folder")
        elif not path.exists():
            raise InputError(f"{path}: no such video")
        self.num_frames = len(self.images) if self.images is not None else _count(path)

    def read(self, indices: Indices) -> Pictures:
        """(T, H, W, 3) uint8 RGB; every frame is decoded once, whatever the order and repetition of the indices."""
        numbers = [min(int(i), self.num_frames - 1) for i in indices]
        wanted = sorted(set(numbers))
        found = self._read_images(wanted) if self.images is not None else _decode(self.path, wanted)
        return np.stack([found[i] for i in numbers])

    def _read_images(self, wanted: list[int]) -> dict[int, Pictures]:
        import cv2

        assert self.images is not None  # noqa: S101  the caller has looked
        found: dict[int, Pictures] = {}
        for i in wanted:
            picture = cv2.imread(str(self.images[i]), cv2.IMREAD_COLOR)
            if picture is None:
                raise InputError(f"{self.images[i]}: not a picture that can be read")
            found[i] = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        return found


def scaled(pictures: Pictures, short_side: int) -> Pictures:
    """All pictures with this short side, in pixels."""
    import cv2

    height, width = pictures.shape[1:3]
    factor = short_side / min(height, width)
    size = (max(short_side, round(width * factor)), max(short_side, round(height * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.stack([cv2.resize(p, size, interpolation=how) for p in pictures])


def cropped(pictures: Pictures, box: tuple[int, int, int, int], size: int) -> Pictures:
    """The same part (top, left, height, width) of all pictures, as squares of ``size`` pixels."""
    import cv2

    top, left, height, width = box
    part = pictures[:, top : top + height, left : left + width]
    if (height, width) == (size, size):
        return part
    how = cv2.INTER_AREA if min(height, width) > size else cv2.INTER_LINEAR
    return np.stack([cv2.resize(p, (size, size), interpolation=how) for p in part])


def _count(path: Path) -> int:
    """Frames of a file: what the container says, or, where it says nothing, by decoding."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    try:
        said = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if said > 0:
            return said
        count = 0
        while capture.grab():
            count += 1
    finally:
        capture.release()
    if count == 0:
        raise InputError(f"{path}: no video that can be read")
    return count


def _decode(path: Path, wanted: list[int]) -> dict[int, Pictures]:
    """Frames by number; where the file ends earlier than its container says, the last one stands for the rest."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    found: dict[int, Pictures] = {}
    last: Pictures | None = None
    try:
        for i in range(wanted[-1] + 1):
            if i not in wanted:
                if not capture.grab():
                    break
                continue
            good, picture = capture.read()
            if not good:
                break
            last = found[i] = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
    if last is None:
        raise InputError(f"{path}: no frame of this video can be read")
    for i in wanted:
        found.setdefault(i, last)
    return found
