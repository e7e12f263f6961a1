"""The loss policy: thresholds, hysteresis, durations on the frames' own clock, odd clocks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinetada import InputError
from onlinetada.trackers.loss import LossEvent, LossMonitor, LossPolicy

POLICY = LossPolicy(enter_lost=0.2, uncertain=0.4, leave_lost=0.6, min_lost_ms=200, min_found_ms=100)


def run(confidences: list[float], fps: float = 20.0, policy: LossPolicy = POLICY) -> tuple[list[str], LossMonitor]:
    monitor = LossMonitor(policy)
    return [monitor.update(c, i / fps) for i, c in enumerate(confidences)], monitor


def test_lost_after_its_duration_and_recovered_after_its_own() -> None:
    states, monitor = run([0.9] * 2 + [0.1] * 6 + [0.8] * 4)
    assert states == ["tracking"] * 2 + ["uncertain"] * 4 + ["lost"] * 4 + ["tracking"] * 2
    assert [(e.kind, e.frame_index) for e in monitor.events] == [("uncertain", 2), ("lost", 6), ("recovered", 10)]
    lost = monitor.events[1]
    assert lost.timestamp_s == pytest.approx(0.3) and lost.since_s == pytest.approx(0.1) and lost.confidence == 0.1


def test_the_same_durations_at_any_frame_rate() -> None:
    for fps in (10.0, 30.0, 120.0):
        _, monitor = run([0.0] * int(fps), fps=fps)
        lost = next(e for e in monitor.events if e.kind == "lost")
        assert 0.2 - 1e-6 <= lost.timestamp_s <= 0.2 + 1 / fps + 1e-6


def test_a_short_dip_is_not_a_loss_and_a_short_flash_no_recovery() -> None:
    states, _ = run([0.9, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.9])
    assert "lost" not in states
    states, _ = run([0.1] * 6 + [0.9, 0.3, 0.9, 0.3, 0.9, 0.9])
    assert states[-1] == "lost"


def test_between_thresholds_nothing_changes() -> None:
    states, _ = run([0.9, 0.5, 0.41, 0.3, 0.5, 0.59, 0.6, 0.5])
    assert states == ["tracking"] * 3 + ["uncertain"] * 3 + ["tracking"] * 2
    states, _ = run([0.1] * 6 + [0.5] * 50)
    assert states[-1] == "lost"
    states, _ = run([0.1, 0.3] * 3)  # .3 is neither low enough to begin a run nor high enough to end one
    assert states == ["uncertain"] * 4 + ["lost"] * 2


def test_zero_durations_decide_at_once() -> None:
    states, _ = run([0.1, 0.9, 0.1], policy=LossPolicy(0.2, 0.6, 0.4, min_lost_ms=0, min_found_ms=0))
    assert states == ["lost", "tracking", "lost"]


@pytest.mark.parametrize("stamps", [[0.0] * 40, [-float(i) for i in range(40)], [math.nan] * 40, [math.inf] * 40])
def test_a_clock_that_does_not_advance_counts_frames(stamps: list[float]) -> None:
    monitor = LossMonitor(POLICY)
    states = [monitor.update(0.0, t) for t in stamps]
    assert states.index("lost") == 6  # 6 frames at 30 a second are 200 ms


def test_one_jump_back_in_time_changes_little() -> None:
    monitor = LossMonitor(POLICY)
    stamps = [100.0, 100.05, 3.0, 3.05, 3.1, 3.15, 3.2]
    assert [monitor.update(0.0, t) for t in stamps].index("lost") == 5  # 50 + 33 + 50 + 50 + 50 ms


def test_nan_confidence_is_no_confidence_and_reset_forgets() -> None:
    states, monitor = run([math.nan] * 6)
    assert states[-1] == "lost"
    monitor.reset()
    assert monitor.state == "tracking" and not monitor.events
    assert monitor.update(0.9, 0.0) == "tracking"
    monitor.update(0.1, 0.1)
    assert monitor.events[-1].frame_index == 1


def test_events_are_told_and_do_not_pile_up() -> None:
    told: list[LossEvent] = []
    monitor = LossMonitor(POLICY, on_event=told.append)
    for i in range(2000):
        monitor.update(0.9 if i % 2 else 0.3, i / 30, frame_index=i + 10)
    assert len(told) == 2000 and len(monitor.events) == 256 and monitor.events[-1] is told[-1]
    assert told[0].frame_index == 10 and {e.kind for e in told} == {"uncertain", "certain"}


@pytest.mark.parametrize(
    "options", [{"enter_lost": 0.9}, {"leave_lost": 1.5}, {"min_lost_ms": -1}, {"uncertain": math.nan}]
)
def test_a_wrong_policy_is_refused_in_one_line(options: dict[str, float]) -> None:
    with pytest.raises(InputError) as error:
        LossPolicy(**options)
    assert "\n" not in str(error.value) and "loss policy" in str(error.value)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-1e6, 1e6)), max_size=60))
def test_any_stream_obeys_the_rules(frames: list[tuple[float, float]]) -> None:
    first, second = LossMonitor(POLICY), LossMonitor(POLICY)
    before = "tracking"
    for confidence, stamp in frames:
        state = first.update(confidence, stamp)
        assert state == second.update(confidence, stamp)
        if state == "lost" and before != "lost":
            assert confidence < POLICY.enter_lost
        if state == "tracking" and before != "tracking":
            assert confidence >= POLICY.leave_lost
        before = state
    kinds = [e.kind for e in first.events if e.kind in ("lost", "recovered")]
    assert kinds == ["lost", "recovered"] * (len(kinds) // 2) + ["lost"] * (len(kinds) % 2)
