"""Crops: whole pixels as published, exact squares, and what lies outside of the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from onlinetada.trackers.crop import Region, crop_square, whole_region

FILL = np.array([10.9, 20.2, 30.7])


def ramp(width: int = 200, height: int = 150) -> np.ndarray:
    """A picture whose value tells the place: x / 2 + y / 4, exact under linear interpolation."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.repeat((x / 2 + y / 4)[..., None], 3, 2).round().astype(np.uint8)


def test_integer_crop_is_the_pixels_themselves() -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    crop, flat = crop_square(image, Region(np.array([40.0, 30.0]), 21, 1.0), 21, FILL, "integer")
    assert np.array_equal(crop, image[19 : 19 + 21, 29 : 29 + 21])  # floor(40 - 22 / 2 + 0.5) = 29
    assert not flat


def test_integer_crop_fills_with_the_truncated_mean() -> None:
    image = np.full((60, 80, 3), 200, np.uint8)
    crop, _ = crop_square(image, Region(np.array([0.0, 59.0]), 20, 1.0), 20, FILL, "integer")
    assert (crop[:, :9] == [10, 20, 30]).all() and (crop[12:] == [10, 20, 30]).all()
    assert (crop[:10, 10:] == 200).all()


@pytest.mark.parametrize("side", [50.0, 33.3, 140.0, 400.0])
@pytest.mark.parametrize("centre", [(100.0, 75.0), (93.7, 71.2)])
def test_subpixel_crop_is_where_it_says(side: float, centre: tuple[float, float]) -> None:
    size, image = 64, ramp()
    crop, _ = crop_square(image, Region(np.array(centre), side, 0.0), size, FILL, "subpixel")
    u, v = np.meshgrid(np.arange(size), np.arange(size))
    x = centre[0] + (u + 0.5 - size / 2) * side / size - 0.5
    y = centre[1] + (v + 0.5 - size / 2) * side / size - 0.5
    reach = 2 * max(1.0, side / size)
    inside = (x > reach) & (x < 199 - reach) & (y > reach) & (y < 149 - reach)
    assert np.abs(crop[..., 0] - (x / 2 + y / 4))[inside].max() < 1.2  # rounding to whole grey levels, twice
    outside = (x < -reach) | (x > 199 + reach) | (y < -reach) | (y > 149 + reach)
    assert (np.abs(crop[outside] - FILL) <= 1).all()


def test_shrinking_averages_instead_of_skipping() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 200
    crop, _ = crop_square(stripes, Region(np.array([200.0, 200.0]), 380, 0.0), 64, FILL, "subpixel")
    assert crop[4:-4, 4:-4].std() < 25 and abs(crop[4:-4, 4:-4].mean() - 100) < 3  # the stripes' own is 100


@pytest.mark.parametrize("kind", ["integer", "subpixel"])
def test_outside_and_flat_parts_are_told(kind: str) -> None:
    image = ramp()
    away, flat = crop_square(image, Region(np.array([900.0, 900.0]), 50, 1.0), 32, FILL, kind)  # type: ignore[arg-type]
    assert flat and (away == FILL.astype(np.uint8)).all()
    black = np.zeros_like(image)
    _, flat = crop_square(black, Region(np.array([0.0, 0.0]), 50, 1.0), 32, FILL, kind)  # type: ignore[arg-type]
    assert flat  # although the filled border differs from the black


def test_a_huge_region_costs_no_huge_memory() -> None:
    crop, flat = crop_square(ramp(), Region(np.array([100.0, 75.0]), 1e6, 1.0), 64, FILL, "integer")
    assert crop.shape == (64, 64, 3) and not flat


@pytest.mark.parametrize("side", [40.3, 101.0, 255.4, 300.0, 411.7])
def test_regions_of_whole_pixels_show_the_same(side):
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 255, (480, 640, 3), dtype=np.uint8), (0, 0), 3)
    asked = Region(np.array([300.3, 220.8]), side, 64 / side)
    region = whole_region(asked, 128)
    assert np.abs(region.centre - asked.centre).max() <= 1
    assert region.side == round(region.side)
    assert region.scale * region.side == pytest.approx(asked.scale * asked.side)
    crop, flat = crop_square(image, region, 128, np.zeros(3), "subpixel")
    moved = Region(region.centre + 1e-6, region.side, region.scale)  # not whole: goes through the warp
    warped, _ = crop_square(image, moved, 128, np.zeros(3), "subpixel")
    assert not flat
    assert np.abs(crop.astype(int) - warped)[2:-2, 2:-2].max() <= 3
