"""A small world to train on: a patterned square that moves over noise, as video, as sequence, as stills."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from onlinetada.trackers.training.bank import Bank, load_bank
from onlinetada.trackers.training.pack import SourceOptions, pack

FRAMES = 8
SIZE = (160, 200)


def world_frame(number: int, seed: int = 0) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """A frame and the box x, y, w, h of the square in it."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(40, 200, (20, 25, 3), dtype=np.uint8), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    x, y, side = 30 + 10 * number, 40 + 4 * number, 36
    square = np.zeros((side, side, 3), np.uint8)
    square[:] = (20, 30, 230)
    square[8:28, 8:28] = (240, 240, 20)
    image[y : y + side, x : x + side] = square
    return image, (float(x), float(y), float(side), float(side))


def write_video(path: Path, frames: list[np.ndarray]) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, SIZE[::-1])
    for frame in frames:
        writer.write(frame)
    writer.release()


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """videos/, sequences/, boxed/ and stills/ in every layout that has a reader."""
    root = tmp_path_factory.mktemp("raw")
    for name in ("videos", "sequences/square/img", "sequences/square/mask", "boxed", "stills"):
        (root / name).mkdir(parents=True)
    frames, boxes = zip(*(world_frame(i) for i in range(FRAMES)), strict=True)
    lines = [",".join(f"{v:g}" for v in box) for box in boxes]
    for clip in ("one", "held"):
        write_video(root / f"videos/{clip}.mp4", list(frames))
        (root / f"videos/{clip}.txt").write_text("\n".join(lines))
    write_video(root / "videos/many.mp4", list(frames))
    rows = [f"{t},{i},{line}" for i, line in enumerate(lines) for t in (3, 7) if (t, i) != (7, 2)]
    (root / "videos/many.txt").write_text("\n".join(rows))
    for i, (frame, (x, y, w, h)) in enumerate(zip(frames, boxes, strict=True)):
        cv2.imwrite(str(root / f"sequences/square/img/{i:05d}.jpg"), frame)
        mask = np.zeros(SIZE, np.uint8)
        mask[int(y) : int(y + h), int(x) : int(x + w)] = 1
        cv2.imwrite(str(root / f"sequences/square/mask/{i:05d}.png"), mask)
        cv2.imwrite(str(root / f"boxed/photo{i}.jpg"), frame)
        (root / f"boxed/photo{i}.txt").write_text(f"{x},{y},{w},{h},0\n")
        cv2.imwrite(str(root / f"stills/{i}.png"), world_frame(4, seed=i)[0])
    (root / "sequences/square/groundtruth.txt").write_text("\n".join(["nan,nan,nan,nan", *lines[1:]]))
    return root


SOURCES = (
    SourceOptions("videos", "videos", "videos", "made here"),
    SourceOptions("sequences", "sequences", "sequences", "made here", cutouts="masks"),
    SourceOptions("boxed", "boxed", "boxed-stills", "made here", cutouts="boxes"),
    SourceOptions("stills", "stills", "stills", "made here", cutouts="grabcut", blobs=1),
)


@pytest.fixture(scope="session")
def packed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, packed; the video called "held" is left out."""
    out = tmp_path_factory.mktemp("packed") / "shards"
    pack(SOURCES, root=raw, out=out, leave_out=["held"], report=lambda line: None)
    return out


@pytest.fixture(scope="session")
def bank(packed: Path) -> Bank:
    return load_bank(packed, "cpu")
