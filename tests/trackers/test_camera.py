"""Camera motion is measured, and a target that stays in the scene is not lost by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from onlinetada.errors import InputError
from onlinetada.trackers.camera import camera_shift, scene_shifts, thumbnail
from onlinetada.trackers.confidence import ConfidenceCalibration
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.models.registry import list_models
from onlinetada.trackers.options import InferenceConfig

CONFIG = InferenceConfig(confidence=ConfidenceCalibration(bias=-14.0, peak=20.0), camera_jump=0.3)


def landscape(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Patches of all sizes in colour."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for cells in (4, 10, 24, 60):
        coarse = rng.uniform(0, 64, (cells, cells * width // height, 3))
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(320, 240), (1280, 720), (720, 1280), (100, 80)])
def test_known_shifts_are_found(size: tuple[int, int]) -> None:
    width, height = size
    ground = landscape(2 * width, 2 * height)
    view = lambda x, y: ground[y : y + height, x : x + width]  # noqa: E731
    for dx, dy in ((0, 0), (width // 9, -height // 11), (-width // 4, height // 7)):
        before, after = view(width // 2, height // 2), view(width // 2 - dx, height // 2 - dy)
        shift = camera_shift(thumbnail(before), thumbnail(after), after)
        assert shift is not None
        np.testing.assert_allclose(shift, (dx, dy), atol=width / 96)


def test_no_common_movement_is_none() -> None:
    before, after = landscape(320, 240, seed=1), landscape(320, 240, seed=2)
    assert camera_shift(thumbnail(before), thumbnail(after), after) is None
    flat = np.full((240, 320, 3), 90, np.uint8)
    unmoved = camera_shift(thumbnail(flat), thumbnail(flat), flat)
    assert unmoved is None or np.abs(unmoved).max() < 1
    other = landscape(240, 320)
    assert camera_shift(thumbnail(before), thumbnail(other), other) is None


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 2000, 3), (2000, 3, 3), (1, 100, 3)])
def test_odd_pictures_do_no_harm(shape: tuple[int, int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    small = thumbnail(picture)
    assert small.shape[1] == 96 and 16 <= small.shape[0] <= 192
    camera_shift(small, thumbnail(picture), picture)


def test_shared_pictures_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from onlinetada.trackers import camera

    calls: list[int] = []
    whole = camera.camera_shift
    monkeypatch.setattr(camera, "camera_shift", lambda *a: (calls.append(1), whole(*a))[1])
    one, two = landscape(320, 240), landscape(320, 240, seed=4)
    earlier = thumbnail(one)
    after, shifts = scene_shifts([earlier, earlier, None], [one, one, two])
    assert len(calls) == 1 and after[0] is after[1] and shifts[2] is None
    assert shifts[0] is not None and np.abs(shifts[0]).max() < 1


def follow(matcher: Any, scene: Any, config: InferenceConfig, *, with_scene: bool) -> list[float]:
    """Distance of the box from the target; the camera jumps by 88 px a frame, the search region reaches 64 px far."""
    ground, side = landscape(900, 240), scene.side
    engine, distances = Engine(matcher, config), []
    for t in range(4):
        left = 88 * t
        x = 280 - left if with_scene else 140
        picture = ground[:, left : left + 320].copy()
        picture[100 : 100 + side, x : x + side] = scene.target
        if t == 0:
            key = engine.add(picture, (x, 100, side, side))
        else:
            box = engine.update({key: picture})[key].box_xywh
            distances.append(float(np.hypot(box[0] - x, box[1] - 100)))
    return distances


@pytest.mark.parametrize("with_scene", [True, False])
def test_a_camera_that_jumps_loses_nothing(matcher: Any, scene: Any, with_scene: bool) -> None:
    """Whether the target stays in the scene, or the camera goes with it."""
    assert max(follow(matcher, scene, CONFIG, with_scene=with_scene)) < 8


def test_without_it_the_same_jump_loses_the_target(matcher: Any, scene: Any) -> None:
    assert max(follow(matcher, scene, replace(CONFIG, camera_jump=None), with_scene=True)) > 40


def test_only_large_shifts_cost_a_further_look(matcher: Any, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(matcher, CONFIG)
    ground = landscape(400, 240)
    key = engine.add(ground[:, :320], (100, 100, 40, 40))
    looks: list[int] = []
    whole = engine.looker.look
    counted = lambda plans, *a, **k: (looks.append(len(plans)), whole(plans, *a, **k))[1]  # noqa: E731
    monkeypatch.setattr(engine.looker, "look", counted)
    engine.update({key: ground[:, 2:322]})
    assert looks == [1]
    engine.update({key: ground[:, 40:360]})
    assert looks == [1, 2, 1]


def test_our_model_follows_the_camera_and_the_published_ones_do_not() -> None:
    assert {spec.name: spec.inference.camera_jump for spec in list_models()} == {
        "compact": 0.3,
        "tctrack": None,
        "tctrackpp": None,
    }
    with pytest.raises(InputError, match="camera_jump must not be negative"):
        InferenceConfig(camera_jump=-1)
