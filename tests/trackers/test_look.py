"""What a look makes of its signals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from onlinetada.trackers.confidence import SIGNALS, ConfidenceCalibration
from onlinetada.trackers.look import Looker, Plan
from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.pose import Pose, search_region


def test_another_size_speaks_against_a_candidate_only_where_the_size_is_known(matcher: Any, scene: Any) -> None:
    config = InferenceConfig(confidence=ConfidenceCalibration(bias=0.0, peak=2.0, size_jump=-4.0))
    looker, picture = Looker(matcher, config, torch.device("cpu")), scene.frame(60, 60)
    pose = Pose(np.array([76.0, 76.0]), np.array([32.0, 32.0]))
    plan = Plan(picture, pose, search_region(pose, matcher.geometry), np.zeros(3))
    signals = np.array([[0.9, 0.4, 0.5, 0.0, 0.0, 0.0]] * 2)
    assert SIGNALS[2] == "size_jump"
    given = signals.copy()
    known, unknown = looker.looks(
        [plan, replace(plan, size_known=False)],
        np.zeros(2, bool),
        given,
        np.zeros((2, 2)),
        np.full((2, 2), 52.8),
        np.ones(2),
        np.full(2, 0.9),
    )
    assert known.confidence == 1 / (1 + np.exp(0.2)) and known.signals[2] == 0.5
    assert unknown.confidence == 1 / (1 + np.exp(-1.8)) and unknown.signals[2] == 0.0
    assert np.array_equal(given, signals), "what is handed in stays as it was"
    np.testing.assert_array_equal(known.found.size, unknown.found.size)


def test_a_lost_target_is_looked_for_in_any_size(matcher: Any, scene: Any) -> None:
    from onlinetada.trackers.engine import Engine
    from onlinetada.trackers.loss import LossPolicy

    policy = LossPolicy(min_lost_ms=60)
    engine = Engine(matcher, InferenceConfig(confidence=ConfidenceCalibration(bias=-14.0, peak=20.0), loss=policy))
    key = engine.add(scene.frame(60, 60), (60, 60, 32, 32))
    target = engine.targets[key]
    assert target.plan(scene.frame(60, 60)).size_known
    for _ in range(6):
        engine.update({key: scene.frame(0, 0, visible=False)})
    away = scene.frame(0, 0, visible=False)
    plan = target.plan(away)
    assert target.hunt is not None and not plan.size_known
    assert not any(further.size_known for further in target.sweep_plans(plan))
