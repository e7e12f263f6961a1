"""What every reader of a data set yields: a clip of frames, and where its targets are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from onlinetada.errors import InputError
from onlinetada.trackers.result import Box, Image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

FrameReader = Callable[[Sequence[int]], Iterator[tuple[int, Image]]]
"""Ascending frame numbers -> (number, BGR picture) one by one; what cannot be decoded is left out."""


@dataclass(frozen=True)
class Clip:
    """Frames of one video, or one still, with boxes.

    Attributes:
        name: unique within its data set.
        length: number of frames.
        read: reads chosen frames.
        tracks: target -> frame number -> box (x, y, w, h), frames without a target missing.
        read_mask: frame number and target -> (H, W) uint8, 255 on the target, where there are masks.
        files: the pictures, where the frames are files of their own.
    """

    name: str
    length: int
    read: FrameReader
    tracks: Mapping[str, Mapping[int, Box]] = field(default_factory=dict)
    read_mask: Callable[[int, str], Image | None] | None = None
    files: Sequence[Path] = ()


class Faults:
    """What is wrong with a data set. A reader goes on behind a clip that it cannot read, if faults are collected.

    Attributes:
        found: one line each; None: the first one is raised.
    """

    def __init__(self, *, collect: bool = False) -> None:
        self.found: list[str] | None = [] if collect else None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Around everything that reads one clip."""
        try:
            yield
        except (InputError, OSError, UnicodeDecodeError, ValueError) as error:
            if self.found is None:
                raise
            self.found.append(" ".join(str(error).split()))


STRICT = Faults()


def images_in(folder: Path) -> list[Path]:
    """Pictures of a folder in natural order (2 before 10)."""
    found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(found, key=lambda p: (len(p.stem), p.stem) if p.stem.isdigit() else (0, p.stem))


def image_reader(paths: Sequence[Path]) -> FrameReader:
    """Frames that are files of their own."""

    def read(numbers: Sequence[int]) -> Iterator[tuple[int, Image]]:
        for number in numbers:
            image = cv2.imread(str(paths[number]), cv2.IMREAD_COLOR)
            if image is not None:
                yield number, image

    return read


def video_reader(path: Path) -> FrameReader:
    """Frames of one video file, decoded in order."""

    def read(numbers: Sequence[int]) -> Iterator[tuple[int, Image]]:
        wanted = set(numbers)
        capture = cv2.VideoCapture(str(path))
        try:
            for number in range(max(wanted, default=-1) + 1):
                if not capture.grab():
                    return
                if number in wanted:
                    decoded, image = capture.retrieve()
                    if decoded:
                        yield number, image
        finally:
            capture.release()

    return read


def video_length(path: Path) -> int:
    """Number of frames that the container claims.

    Raises:
        InputError: the file is no video that OpenCV reads.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise InputError(f"{path}: not a video that OpenCV can read")
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()


def read_number_rows(path: Path, columns: Sequence[int]) -> list[list[float]]:
    """Rows of numbers separated by commas, tabs, semicolons or spaces; any word that is no number reads as NaN.

    Args:
        columns: how many numbers a row may have.

    Raises:
        InputError: naming file and line.
    """
    rows = []
    for line_number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        words = line.replace(",", " ").replace(";", " ").split()
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            raise InputError(f"{path}, line {line_number}: not numbers: {line[:40]!r}") from None
        if len(row) not in columns:
            wanted = " or ".join(str(c) for c in columns)
            raise InputError(f"{path}, line {line_number}: {len(row)} numbers, expected {wanted}")
        rows.append(row)
    return rows


def boxes_by_frame(rows: Sequence[Sequence[float]]) -> dict[int, Box]:
    """Row i is the box of frame i; rows that are not finite or have no area are frames without the target."""
    boxes = {}
    for number, row in enumerate(rows):
        x, y, w, h = _axis_aligned(row)
        if np.isfinite([x, y, w, h]).all() and w > 0 and h > 0:
            boxes[number] = (x, y, w, h)
    return boxes


def _axis_aligned(row: Sequence[float]) -> Box:
    if len(row) == 4:
        return row[0], row[1], row[2], row[3]
    xs, ys = row[0::2], row[1::2]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
