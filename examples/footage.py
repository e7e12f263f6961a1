"""What the examples share: video to run on, made here or read from a folder, and a stopwatch."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

LAYOUTS = ("*/img", "*/*/img", "dev/*/*/img")


def arguments(description: str | None) -> argparse.Namespace:
    """The command line of every example: ``data`` (a folder or None) and ``quick``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data", type=Path, help="folder of sequences, BENCHMARK/SEQUENCE/img/*.jpg (default: a video is made)"
    )
    parser.add_argument("--quick", action="store_true", help="train for a moment only")
    options = parser.parse_args()
    if options.data is not None and not _folders(options.data):
        parser.error(f"no sequences below {options.data}: expected SEQUENCE/img/*.jpg or BENCHMARK/SEQUENCE/img/*.jpg")
    return options


def clips(data: Path | None, count: int, num_frames: int, size: int) -> Tensor:
    """Clips of consecutive frames.

    Args:
        data: folder of sequences; None makes textured scenes with a panning camera and moving objects.
        count: B.
        num_frames: T.
        size: S, the side of the square frames.

    Returns:
        (B, 3, T, S, S) float32 in [0, 1], RGB.
    """
    rng = np.random.default_rng(0)
    folders = [] if data is None else _folders(data)
    made = [
        _read(folders[i % len(folders)], rng, num_frames, size) if folders else _make(rng, num_frames, size)
        for i in range(count)
    ]
    return torch.from_numpy(np.stack(made)).permute(0, 4, 1, 2, 3).float() / 255


def milliseconds(*calls: Callable[[], object], repeats: int = 20) -> list[float]:
    """Median wall time of each call in milliseconds; they take turns, so that a busy machine slows all alike."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats + 3):
        for call, own in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            own.append(1000 * (time.perf_counter() - start))
    return [statistics.median(own[3:]) for own in times]  # the first three warm up


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8: coloured noise of several scales, as natural surfaces have."""
    total = np.zeros((height, width, 3), np.float32)
    for cell in (4, 8, 16, 32):
        grid = rng.normal(0, 1, (height // cell + 2, width // cell + 2, 3)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(120 + 32 * total, 0, 255).astype(np.uint8)


def _make(rng: np.random.Generator, num_frames: int, size: int) -> np.ndarray:
    """(T, S, S, 3): a camera pans over a surface on which three discs move."""
    ground, coat = texture(rng, 2 * size, 2 * size), texture(rng, 2 * size, 2 * size)
    start, pan = rng.uniform(0, size / 2, 2), rng.uniform(0, size / 2, 2) / num_frames
    place, speed = rng.uniform(0.2, 0.8, (3, 2)) * size, rng.uniform(-1.5, 1.5, (3, 2))
    frames = []
    for t in range(num_frames):
        y, x = (start + pan * t).astype(int)
        frame = ground[y : y + size, x : x + size].copy()
        mask = np.zeros((size, size), np.uint8)
        for centre in place + speed * t:
            cv2.circle(mask, (int(centre[0]), int(centre[1])), size // 8, 1, -1)
        frame[mask > 0] = 255 - coat[:size, :size][mask > 0]
        frames.append(frame)
    return np.stack(frames)


def _read(folder: Path, rng: np.random.Generator, num_frames: int, size: int) -> np.ndarray:
    """(T, S, S, 3): consecutive frames from a random start, the middle square of each; short sequences run back."""
    paths = sorted(folder.glob("*.jpg"))
    paths += paths[-2:0:-1]
    start = int(rng.integers(len(paths)))
    frames = []
    for t in range(num_frames):
        path = paths[(start + t) % len(paths)]
        image = cv2.imread(str(path))
        if image is None:
            raise SystemExit(f"{path} is not an image that OpenCV can read")
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        square = image[top : top + side, left : left + side]
        frames.append(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)[..., ::-1])
    return np.stack(frames)


def _folders(data: Path) -> list[Path]:
    return [folder for layout in LAYOUTS for folder in sorted(data.glob(layout)) if any(folder.glob("*.jpg"))]
