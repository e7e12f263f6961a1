"""Benchmarks made on the spot: folders in the layouts that people have, and sequences in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from onlinetada.trackers.evaluation.boxfiles import format_boxes
from onlinetada.trackers.evaluation.sequences import Sequence

Boxes = npt.NDArray[np.float64]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real annotations and results."""
    folder = os.environ.get("ONLINETADA_DATA")
    if not folder or not Path(folder, "annotations").is_dir():
        pytest.skip("ONLINETADA_DATA does not name a folder with annotations/ and results/")
    return Path(folder)


@pytest.fixture
def moving() -> Callable[..., Sequence]:
    """A target of 20 x 20 pixels that moves 30 pixels a frame; NaN in the frames named absent."""

    def make(frames: int = 10, absent: tuple[int, ...] = (), index_base: int = 0) -> Sequence:
        truth = np.tile([100.0, 50.0, 20.0, 20.0], (frames, 1))
        truth[:, 0] += 30 * np.arange(frames)
        truth[list(absent)] = np.nan
        return Sequence("made", truth, index_base=index_base)

    return make


def _write_truth(file: Path, boxes: npt.ArrayLike) -> None:
    """A ground truth file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(format_boxes(boxes))


@pytest.fixture
def write_truth() -> Callable[[Path, npt.ArrayLike], None]:
    return _write_truth


@pytest.fixture
def write_images() -> Callable[[Path, range], None]:
    """Makes files named by number that look like images to a folder listing."""

    def write(folder: Path, numbers: range) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for n in numbers:
            (folder / f"{n:06d}.jpg").touch()

    return write


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three excerpts (``SEQ/img``, ``SEQ/groundtruth.txt``) of a bright square that moves over noise."""
    rng = np.random.default_rng(0)
    for index, length in enumerate((8, 6, 7)):
        name = f"clip{index}"
        background = rng.integers(0, 90, (60, 80, 3), dtype=np.uint8)
        boxes = []
        for frame in range(length):
            x, y = 10 + 3 * frame, 12 + (index + 1) * frame
            image = background.copy()
            image[y : y + 12, x : x + 14] = 230
            (tmp_path / "clips" / name / "img").mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "clips" / name / "img" / f"{frame + 1:05d}.png"), image)
            boxes.append([x, y, 14, 12])
        _write_truth(tmp_path / "clips" / name / "groundtruth.txt", boxes)
    return tmp_path / "clips"
