"""What the engine does when a target goes and comes back, and when the picture shows nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from onlinetada.errors import InputError
from onlinetada.trackers.confidence import ConfidenceCalibration
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.loss import LossPolicy
from onlinetada.trackers.options import InferenceConfig, RecoveryOptions
from onlinetada.trackers.single import SingleTracker

CONFIG = InferenceConfig(
    confidence=ConfidenceCalibration(bias=-14.0, peak=20.0),
    loss=LossPolicy(min_lost_ms=100, min_found_ms=60),
    recovery=RecoveryOptions(confirm=0.7, confirm_ms=60, reach_per_s=6.0),
    penalty_k=0.0,
    window_influence=0.2,
)


def overlap(box: Any, x: float, y: float, side: float) -> float:
    bx, by, bw, bh = box
    w = max(0.0, min(bx + bw, x + side) - max(bx, x))
    h = max(0.0, min(by + bh, y + side) - max(by, y))
    return w * h / (bw * bh + side * side - w * h)


def test_follows_and_says_so(matcher: Any, scene: Any) -> None:
    tracker = SingleTracker(Engine(matcher, CONFIG), name="matcher")
    tracker.init(scene.frame(40, 60), (40, 60, 32, 32))
    for t in range(1, 30):
        result = tracker.update(scene.frame(40 + 4 * t, 60 + 2 * t))
        assert overlap(result.box_xywh, 40 + 4 * t, 60 + 2 * t, 32) > 0.7
        assert result.state == "tracking" and result.score > 0.5 and result.frame_index == t
        assert result.timestamp_s == pytest.approx(t / 30) and result.latency_ms > 0
    assert tracker.events == ()


def run_loss(tracker: SingleTracker, scene: Any, back_at: tuple[int, int]) -> list[Any]:
    """10 frames in view, 20 without the target, 60 with it at another place."""
    tracker.init(scene.frame(60, 60), (60, 60, 32, 32))
    frames = [scene.frame(60 + t, 60) for t in range(1, 10)]
    frames += [scene.frame(0, 0, visible=False)] * 20
    frames += [scene.frame(*back_at)] * 60
    return [tracker.update(frame) for frame in frames]


@pytest.mark.parametrize("back_at", [(75, 62), (270, 190)])
def test_lost_is_said_and_the_target_found_again(matcher: Any, scene: Any, back_at: tuple[int, int]) -> None:
    tracker = SingleTracker(Engine(matcher, CONFIG), name="matcher")
    results = run_loss(tracker, scene, back_at)
    gone = results[15:29]
    assert all(r.state == "lost" and r.score <= CONFIG.loss.enter_lost for r in gone)
    held = gone[0].box_xywh
    assert overlap(held, 69, 60, 32) > 0.7  # the last place that was trusted
    assert all(r.box_xywh == held for r in gone)
    assert results[-1].state == "tracking"
    assert overlap(results[-1].box_xywh, *back_at, 32) > 0.7
    kinds = [event.kind for event in tracker.events if event.kind in ("lost", "recovered")]
    assert kinds == ["lost", "recovered"]


def test_a_find_that_does_not_last_is_not_believed(matcher: Any, scene: Any) -> None:
    config = replace(CONFIG, loss=replace(CONFIG.loss, min_found_ms=200))
    tracker = SingleTracker(Engine(matcher, config), name="matcher")
    tracker.init(scene.frame(60, 60), (60, 60, 32, 32))
    away = scene.frame(0, 0, visible=False)
    for _ in range(10):
        held = tracker.update(away)
    for frame in [scene.frame(64, 64)] * 2 + [away] * 10:
        result = tracker.update(frame)
        assert result.state == "lost" and result.box_xywh == held.box_xywh


def test_memory_is_not_written_while_lost_blind_or_unsure(matcher: Any, scene: Any) -> None:
    engine = Engine(matcher, CONFIG)
    tracker = SingleTracker(engine, name="matcher")
    tracker.init(scene.frame(60, 60), (60, 60, 32, 32))
    for _ in range(5):
        tracker.update(scene.frame(60, 60))
    assert engine.state is not None and engine.state["frames"].item() == 5
    for frame in [scene.frame(0, 0, visible=False)] * 10 + [np.zeros((240, 320, 3), np.uint8)] * 3:
        tracker.update(frame)
    assert engine.state["frames"].item() == 5
    assert not engine.state.frozen.any()


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("recover", [True, False])
def test_constant_frames_never_move_nor_grow_a_box(matcher: Any, scene: Any, value: int, recover: bool) -> None:
    tracker = SingleTracker(Engine(matcher, replace(CONFIG, recover=recover)), name="matcher")
    tracker.init(scene.frame(60, 60), (60, 60, 32, 32))
    before = tracker.update(scene.frame(61, 60)).box_xywh
    noise = np.random.default_rng(0)
    for _ in range(40):
        frame = np.full((240, 320, 3), value, np.uint8)
        frame[noise.random(frame.shape) < 0.02] ^= 1  # a covered lens is not quite constant
        result = tracker.update(frame)
        assert result.box_xywh == before and result.score == 0.0
    assert result.state == "lost"
    assert overlap(tracker.update(scene.frame(61, 60)).box_xywh, 61, 60, 32) > 0.7


def test_while_lost_the_work_of_a_frame_is_bounded(matcher: Any, scene: Any) -> None:
    batches: list[int] = []
    step = matcher.step
    matcher.step = lambda search, state, **kw: (batches.append(len(search)), step(search, state, **kw))[1]
    run_loss(SingleTracker(Engine(matcher, CONFIG), name="matcher"), scene, (270, 190))
    assert max(batches) == CONFIG.recovery.windows_per_frame


def test_rows_equal_trackers_of_their_own(matcher: Any, scene: Any) -> None:
    """One target stays, one goes and returns, one is added late and removed; also in images of their own."""
    alone = [SingleTracker(Engine(matcher, CONFIG), name="alone") for _ in range(2)]
    first = scene.frame(60, 60)
    starts = [(60, 60, 32, 32), (200, 150, 24, 40)]
    engine = Engine(matcher, CONFIG)
    keys = [engine.add(first, box) for box in starts]
    for tracker, box in zip(alone, starts, strict=True):
        tracker.init(first, box)
    extra = None
    for t in range(1, 70):
        image = scene.frame(60 + t, 60, visible=not 10 < t < 30)
        if t == 5:
            extra = engine.add(image, (10, 10, 50, 50))
        if t == 40 and extra is not None:
            engine.remove(extra)
        answers = engine.update({key: image for key in engine.targets})
        for tracker, key in zip(alone, keys, strict=True):
            own = tracker.update(image)
            assert own.state == answers[key].state
            np.testing.assert_allclose(own.box_xywh, answers[key].box_xywh, atol=1e-3)
            assert own.score == pytest.approx(answers[key].score, abs=1e-4)


def test_a_second_run_gives_the_same_numbers(matcher: Any, scene: Any) -> None:
    tracker = SingleTracker(Engine(matcher, CONFIG), name="matcher")
    runs = [run_loss(tracker, scene, (270, 190)) for _ in range(2)]
    assert [(r.box_xywh, r.score, r.state) for r in runs[0]] == [(r.box_xywh, r.score, r.state) for r in runs[1]]


def test_bad_input_leaves_the_target_as_it_was(matcher: Any, scene: Any) -> None:
    tracker = SingleTracker(Engine(matcher, CONFIG), name="matcher")
    with pytest.raises(InputError, match="call init"):
        tracker.update(scene.frame(60, 60))
    tracker.init(scene.frame(60, 60), (60, 60, 32, 32))
    with pytest.raises(InputError, match="entirely outside"):
        tracker.init(scene.frame(60, 60), (400, 60, 32, 32))
    with pytest.raises(InputError, match="float64"):
        tracker.update(scene.frame(60, 60) / 255.0)
    assert overlap(tracker.update(scene.frame(63, 60)).box_xywh, 63, 60, 32) > 0.7
    assert len(tracker.engine.targets) == 1
    with pytest.raises(InputError, match="no target 9"):
        tracker.engine.remove(9)


def test_a_network_that_gives_no_numbers_moves_no_box(matcher: Any, scene: Any) -> None:
    tracker = SingleTracker(Engine(matcher, CONFIG), name="matcher")
    tracker.init(scene.frame(60, 60), (60, 60, 32, 32))
    assert tracker.engine.state is not None
    tracker.engine.state["template"].fill_(torch.nan)
    result = tracker.update(scene.frame(63, 60))
    assert result.box_xywh == (60, 60, 32, 32) and result.score == 0.0


def test_the_picture_may_change_its_size(matcher: Any, scene: Any) -> None:
    tracker = SingleTracker(Engine(matcher, CONFIG), name="matcher")
    tracker.init(scene.frame(200, 180), (200, 180, 32, 32))
    small = scene.frame(200, 180)[:100, :120]
    for _ in range(20):
        x, y, w, h = tracker.update(small).box_xywh
        assert np.isfinite([x, y, w, h]).all()
        assert 0 <= x + w / 2 <= 320 and 0 <= y + h / 2 <= 240


@pytest.mark.parametrize("box", [(-20, -10, 40, 30), (310, 230, 100, 100), (50, 50, 1, 1), (-500, -500, 2000, 2000)])
def test_boxes_on_the_border_tiny_and_huge(matcher: Any, scene: Any, box: tuple[int, ...]) -> None:
    tracker = SingleTracker(Engine(matcher, CONFIG), name="matcher")
    tracker.init(scene.frame(100, 100), box)
    for _ in range(15):
        x, y, w, h = tracker.update(scene.frame(100, 100)).box_xywh
        assert np.isfinite([x, y, w, h]).all() and w > 0 and h > 0
        assert np.isfinite(tracker.engine.targets[tracker._key].confidence)
