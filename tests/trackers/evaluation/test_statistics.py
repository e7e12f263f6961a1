from __future__ import annotations

import math

import numpy as np
import pytest

from onlinetada.trackers.evaluation.statistics import mean_interval, paired_difference, resample


def test_interval_agrees_with_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(0.6, 0.2, size=400)
    interval = mean_interval(values, resample(400))
    half = 1.96 * values.std() / math.sqrt(400)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.002)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.002)


def test_intervals_repeat_and_are_honest_about_one_sequence() -> None:
    values = np.array([0.1, 0.5, 0.9])
    assert mean_interval(values, resample(3)) == mean_interval(values, resample(3))
    assert math.isnan(mean_interval(values[:1], resample(1)).low)


def test_pairing_sees_what_single_intervals_do_not() -> None:
    rng = np.random.default_rng(2)
    hard = rng.uniform(0, 1, size=70)
    a = {f"s{i}": v + 0.02 + rng.normal(0, 0.01) for i, v in enumerate(hard)}
    b = {f"s{i}": v for i, v in enumerate(hard)}
    alone = mean_interval(np.array(list(b.values())), resample(70))
    pair = paired_difference("a", "b", a, {**b, "other": 1.0})
    assert alone.high - alone.low > 0.1
    assert pair.sequences == 70 and 0.015 < pair.interval.low < pair.mean < pair.interval.high < 0.025
    assert pair.wins > 0.9
    assert paired_difference("a", "b", a, {}).sequences == 0
