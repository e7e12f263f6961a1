"""Every disturbance does what its name says, and the boxes still lie on the target."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from onlinetada.trackers.evaluation.disturb import DISTURBANCES, Video

FRAMES, WIDTH, HEIGHT = 60, 160, 120


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture(scope="module")
def video() -> Video:
    """A bright square that moves over a grey picture."""
    images, truth = [], []
    for i in range(FRAMES):
        image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        x, y = 40 + i // 2, 50
        cv2.rectangle(image, (x, y), (x + 17, y + 11), (250, 250, 250), -1)
        images.append(image)
        truth.append((x, y, 18, 12))
    return Video(images, np.array(truth, float))


def inside(video: Video, i: int) -> npt.NDArray[np.uint8]:
    x, y, w, h = np.rint(video.truth[i]).astype(int)
    return video.images[i][max(0, y) : y + h, max(0, x) : x + w]


@pytest.mark.parametrize("name", list(DISTURBANCES))
def test_boxes_stay_on_the_target_and_the_original_is_untouched(video: Video, name: str) -> None:
    before, boxes = [image.copy() for image in video.images], video.truth.copy()
    changed = DISTURBANCES[name](video, rng())
    assert len(changed.images) == len(changed.truth)
    shown = np.flatnonzero(np.isfinite(changed.truth[:, 0]))
    assert len(shown) > 10
    for i in shown:
        around = np.median(changed.images[i])
        assert inside(changed, i).mean() > around * 1.3, f"frame {i}"
    assert all(np.array_equal(a, b) for a, b in zip(before, video.images, strict=True))
    assert np.array_equal(boxes, video.truth)


def test_frames_pixels_and_light_go(video: Video) -> None:
    got = {name: change(video, rng()) for name, change in DISTURBANCES.items()}
    assert len(got["every 4th frame"].images) == FRAMES // 4
    assert got["half the size"].images[0].shape == (HEIGHT // 2, WIDTH // 2, 3)
    assert got["half the size"].truth[0] == pytest.approx([20, 25, 9, 6])
    dark = np.stack(got["in the dark"].images)
    assert dark.mean() < 0.3 * np.stack(video.images).mean() and dark[:, :20, :20].std() > 2


def test_a_shaken_camera_jumps_from_frame_to_frame(video: Video) -> None:
    shaken = DISTURBANCES["shaken"](video, rng())
    assert shaken.images[0].shape == (HEIGHT * 8 // 10, WIDTH * 8 // 10, 3)
    assert np.abs(np.diff(shaken.truth[:, 0])).max() > 10
    outside = Video(video.images, video.truth - [45, 0, 0, 0])
    assert np.isnan(DISTURBANCES["shaken"](outside, rng()).truth[0]).all(), "beyond the border there is no target"


def test_a_hidden_target_leaves_no_trace(video: Video) -> None:
    hidden = DISTURBANCES["hidden at times"](video, rng())
    gone = np.isnan(hidden.truth[:, 0])
    assert gone.sum() == 12 and gone[38:50].all()
    assert all((hidden.images[i] == 90).all() for i in np.flatnonzero(gone))
    assert all(np.array_equal(hidden.images[i], video.images[i]) for i in np.flatnonzero(~gone))


@pytest.mark.parametrize("box", [(0, 50, 18, 12), (WIDTH - 18, 50, 18, 12), (0, 50, WIDTH, 12)])
def test_a_target_at_the_border_is_hidden_too(box: tuple[int, int, int, int]) -> None:
    x, y, w, h = box
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[y : y + h, x : x + w] = 250
    hidden = DISTURBANCES["hidden at times"](Video([image] * FRAMES, np.array([box] * FRAMES, float)), rng())
    assert hidden.images[40].max() < 130 and hidden.images[0].max() == 250


def test_the_same_seed_gives_the_same_video(video: Video) -> None:
    for change in DISTURBANCES.values():
        a, b = change(video, rng()), change(video, rng())
        assert all(np.array_equal(x, y) for x, y in zip(a.images, b.images, strict=True))
