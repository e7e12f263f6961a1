"""The drone, bird, airplane and helicopter clips of drone_detection as a classification task: tracks, cut out.

What flies there is a few pixels large, so a clip follows it: for every frame in which it is boxed, the square around
the box, in context. The task is what a tracker's user asks next: what is this that I am following?
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onlinetada.errors import InputError

CLASSES = ("airplane", "bird", "drone", "helicopter")
_SMALLEST = 24.0


def cut_tracks(
    root: Path, out: Path, held_out: Sequence[str], *, size: int = 64, context: float = 1.6
) -> dict[str, int]:
    """Write every clip's track as a folder of pictures, and ``train.csv`` and ``test.csv`` of path and label.

    Args:
        root: folder with ``<name>.mp4`` and ``<name>.txt`` (x, y, w, h a frame; NaN where absent).
        out: gets ``videos/<name>/*.jpg`` and the lists.
        held_out: names of the test's clips: the fixed split.
        size: side of the pictures in pixels.
        context: side of the square in larger sides of the box.

    Returns:
        Number of clips in "train" and "test".
    """
    import cv2

    names = sorted(p.stem for p in root.glob("*.mp4") if p.with_suffix(".txt").exists())
    if not names:
        raise InputError(f"{root}: no clips (<name>.mp4 with <name>.txt) there")
    rows: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    for name in names:
        label = next((i for i, kind in enumerate(CLASSES) if kind.upper() in name.split("_")), None)
        if label is None:
            raise InputError(f"{name}: its name says none of {', '.join(CLASSES)}")
        folder = out / "videos" / name
        folder.mkdir(parents=True, exist_ok=True)
        count = 0
        for count, picture in enumerate(_track(root / name, size, context), 1):
            cv2.imwrite(str(folder / f"{count:05d}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
        if count:
            rows["test" if name in held_out else "train"].append((name, label))
    for part, listed in rows.items():
        with (out / f"{part}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows([("path", "label"), *listed])
    return {part: len(listed) for part, listed in rows.items()}


def _track(stem: Path, size: int, context: float) -> Iterator[NDArray[np.uint8]]:
    """Squares around the box, frame after frame."""
    import cv2

    boxes = np.loadtxt(stem.with_suffix(".txt"), delimiter=",", ndmin=2)
    capture = cv2.VideoCapture(str(stem.with_suffix(".mp4")))
    try:
        for x, y, w, h in boxes:
            good, frame = capture.read()
            if not good:
                return
            if np.isfinite([x, y, w, h]).all():
                side = max(_SMALLEST, context * max(w, h))
                yield _square(frame, x + w / 2, y + h / 2, side, size)
    finally:
        capture.release()


def _square(frame: NDArray[np.uint8], cx: float, cy: float, side: float, size: int) -> NDArray[np.uint8]:
    """The square around a point, scaled; beyond the picture its border is repeated."""
    import cv2

    scale = size / side
    to_square = np.array([[scale, 0, size / 2 - scale * cx], [0, scale, size / 2 - scale * cy]])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.warpAffine(frame, to_square, (size, size), flags=how, borderMode=cv2.BORDER_REPLICATE)
