"""Which frames of a video make a clip, and which parts of a picture make a crop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onlinetada.errors import InputError

Indices = NDArray[np.int64]


def dense_indices(
    video_frames: int, frames: int, interval: int, *, rng: np.random.Generator | None = None, clip: int = 0, of: int = 1
) -> Indices:
    """Every ``interval``-th frame, from a random place, or in testing from the ``clip``-th of ``of`` even places.

    A video that is too short is gone through again from its first frame.
    """
    _check(video_frames, frames)
    room = max(0, video_frames - (frames - 1) * interval - 1)
    if rng is not None:
        start = int(rng.integers(room + 1))
    else:
        start = round(room * clip / (of - 1)) if of > 1 else room // 2
    return (start + interval * np.arange(frames)) % video_frames


def uniform_indices(
    video_frames: int, frames: int, *, rng: np.random.Generator | None = None, clip: int = 0, of: int = 1
) -> Indices:
    """One frame of each of T equal segments, at random, or in testing at the ``clip``-th of ``of`` even places."""
    _check(video_frames, frames)
    edges = np.linspace(0, video_frames, frames + 1)
    places = rng.random(frames) if rng is not None else np.full(frames, (clip + 0.5) / of)
    return np.minimum(edges[:-1] + places * np.diff(edges), video_frames - 1).astype(np.int64)


def random_crop(
    height: int, width: int, scale: tuple[float, ...], ratio: tuple[float, ...], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a part of random area and shape (the Inception crop)."""
    for _ in range(10):
        area = height * width * rng.uniform(scale[0], scale[1])
        aspect = np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1])))
        h, w = round(float(np.sqrt(area / aspect))), round(float(np.sqrt(area * aspect)))
        if 0 < h <= height and 0 < w <= width:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def even_crop(height: int, width: int, side: int, crop: int, of: int) -> tuple[int, int, int, int]:
    """The ``crop``-th of ``of`` square parts along the longer side; with one, the middle."""
    side = min(side, height, width)
    share = crop / (of - 1) if of > 1 else 0.5
    along_y = height > width
    top = round((height - side) * (share if along_y else 0.5))
    left = round((width - side) * (0.5 if along_y else share))
    return top, left, side, side


def _check(video_frames: int, frames: int) -> None:
    if video_frames < 1 or frames < 1:
        raise InputError(f"a clip of {frames} frames cannot be taken from a video of {video_frames}")
