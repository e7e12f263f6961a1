"""Pictures and boxes as users give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onlinetada.errors import InputError
from onlinetada.trackers.images import as_bgr, checked_box, is_flat

BGR = np.random.default_rng(0).integers(0, 255, (7, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("image", "color"),
    [
        (BGR, "bgr"),
        (BGR[:, :, ::-1], "rgb"),
        (np.dstack([BGR, BGR[:, :, 0]]), "bgr"),
        (np.dstack([BGR[:, :, ::-1], BGR[:, :, 0]]), "rgb"),
        (BGR.astype(np.uint16) * 256 + 77, "bgr"),
    ],
)
def test_every_layout_becomes_bgr(image: Any, color: str) -> None:
    assert np.array_equal(as_bgr(image, color), BGR)


def test_grey_becomes_three_equal_channels() -> None:
    grey = BGR[:, :, 0]
    for image in (grey, grey[:, :, None], grey.astype(np.uint16) * 256):
        assert np.array_equal(as_bgr(image), np.repeat(grey[:, :, None], 3, 2))


@pytest.mark.parametrize(
    ("image", "color", "message"),
    [
        (BGR / 255, "bgr", "float64"),
        (BGR > 3, "bgr", "bool"),
        (np.zeros((0, 5, 3), np.uint8), "bgr", "at least one pixel"),
        (np.zeros((4, 5, 2), np.uint8), "bgr", "1, 3 or 4 channels"),
        (np.zeros(4, np.uint8), "bgr", "shape"),
        ([[1, 2], [3, 4]], "bgr", "numpy array"),
        (None, "bgr", "NoneType"),
        (BGR, "hsv", "'hsv'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line(image: Any, color: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        as_bgr(image, color)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (-3, -3, 4, 4), (4, 6, 100, 100), np.array([[1, 2, 3, 4]]), "1234"])
def test_boxes_that_touch_the_image_are_taken(box: Any) -> None:
    box = [float(v) for v in box] if isinstance(box, str) else box
    assert checked_box(box, BGR) == tuple(np.ravel(box).astype(float))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((float("nan"), 0, 1, 1), "finite"),
        ((0, 0, float("inf"), 1), "finite"),
        ((0, 0, -1, 1), "positive"),
        ((0, 0, 0, 1), "positive"),
        ((5, 0, 1, 1), "entirely outside the 5x7 image"),
        ((-2, 0, 2, 1), "entirely outside"),
        ((0, 0, 1), "four"),
        ("none", "four numbers"),
        (None, "four"),
    ],
)
def test_boxes_that_cannot_be_used_are_refused_in_a_line(box: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        checked_box(box, BGR)
    assert "\n" not in str(caught.value)


def test_flat_parts() -> None:
    noise = np.random.default_rng(0)
    assert is_flat(BGR[:0])
    assert is_flat(np.full((50, 50, 3), (10, 200, 90), np.uint8))
    assert is_flat(np.clip(noise.normal(2, 0.7, (50, 50, 3)), 0, 255).astype(np.uint8))
    assert not is_flat(np.tile(np.arange(0, 10, dtype=np.uint8)[:, None, None], (5, 50, 3)))
    assert not is_flat(BGR)
