"""Capture times from the camera's clock: even, never back, and not fooled by a clock that jumps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinetada.trackers.io.clock import CameraClock, now_s


def test_jitter_of_the_network_does_not_reach_the_timestamps() -> None:
    rng, clock = np.random.default_rng(0), CameraClock()
    taken = 1.0 + np.arange(300) / 30
    arrived = 1_000.0 + taken + 0.02 + rng.exponential(0.01, 300)
    stamps = np.array([clock.stamp(float(t), float(a)) for t, a in zip(taken, arrived, strict=True)])
    settled = np.diff(stamps[100:])
    assert np.abs(settled - 1 / 30).max() < 0.002 < np.abs(np.diff(arrived[100:]) - 1 / 30).max()
    assert (stamps <= arrived + 1e-3).all() and clock.jumps == 0


@pytest.mark.parametrize("jump_s", [-5.0, 30.0, -1e6])
def test_a_clock_that_jumps_is_tied_to_ours_anew(jump_s: float) -> None:
    clock = CameraClock()
    stamps = [clock.stamp(2e6 + i / 30 + jump_s * (i >= 50), 100.0 + i / 30) for i in range(100)]
    assert clock.jumps == 1
    assert stamps == pytest.approx([100.0 + i / 30 for i in range(100)], abs=0.01)


def test_without_a_clock_frames_count_from_their_arrival() -> None:
    clock = CameraClock()
    assert [clock.stamp(0.0, a) for a in (5.0, 5.1, 5.05)] == pytest.approx([5.0, 5.1, 5.1001])
    assert clock.stamp(float("nan"), 6.0) == 6.0


def test_a_slow_drift_between_the_clocks_is_followed() -> None:
    clock = CameraClock()
    late = [60.0 + i - clock.stamp(1 + i * 0.9999, 60.0 + i) for i in range(3600)]  # 0.1 per mille slow for an hour
    assert max(late) < 0.1 and clock.jumps == 0


@given(st.lists(st.tuples(st.floats(allow_nan=True), st.floats(0, 1)), min_size=1, max_size=40))
def test_whatever_a_camera_says_time_goes_on(frames: list[tuple[float, float]]) -> None:
    clock, arrived, last = CameraClock(), 1_000.0, 0.0
    for device, pause in frames:
        arrived += pause
        stamp = clock.stamp(device, arrived)
        assert last < stamp < arrived + 0.01
        last = stamp


def test_our_own_time_is_unix_time_that_does_not_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    before = now_s()
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert 0 <= now_s() - before < 60
