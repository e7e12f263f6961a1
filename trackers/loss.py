"""When a target counts as lost: hysteresis on a calibrated confidence, with durations in time instead of frames."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal

from onlinetada.errors import InputError
from onlinetada.trackers.result import TrackState

EventKind = Literal["uncertain", "certain", "lost", "recovered"]

_NOMINAL_FRAME_S = 1 / 30
_EVENTS_KEPT = 256  # a stream may never end, its memory must not grow


@dataclass(frozen=True)
class LossPolicy:
    """Thresholds on a confidence between 0 and 1, and for how long it must hold before the answer changes.

    ``0 <= enter_lost <= uncertain <= leave_lost <= 1``. Between two thresholds nothing changes, so that a confidence
    that wavers around one of them does not make the state flicker.

    Attributes:
        enter_lost: below this the target may be gone.
        leave_lost: from here on it counts as seen again, and an uncertain one as certain again.
        uncertain: below this the state is at least "uncertain", at once. A run of low confidence ends here too.
        min_lost_ms: low confidence must have lasted this long before the state is "lost".
        min_found_ms: high confidence must have lasted this long before a lost target counts as recovered.
    """

    enter_lost: float = 0.25
    leave_lost: float = 0.5
    uncertain: float = 0.4
    min_lost_ms: float = 200.0
    min_found_ms: float = 100.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not math.isfinite(getattr(self, field.name)):
                raise InputError(f"loss policy: {field.name} is {getattr(self, field.name)}, give a finite number")
        if not 0 <= self.enter_lost <= self.uncertain <= self.leave_lost <= 1:
            raise InputError(
                "loss policy: thresholds must satisfy 0 <= enter_lost <= uncertain <= leave_lost <= 1, "
                f"got {self.enter_lost}, {self.uncertain}, {self.leave_lost}"
            )
        if self.min_lost_ms < 0 or self.min_found_ms < 0:
            raise InputError("loss policy: min_lost_ms and min_found_ms must not be negative")


@dataclass(frozen=True)
class LossEvent:
    """A change of state.

    Attributes:
        kind: "uncertain" (from tracking), "certain" (back to tracking), "lost" or "recovered" (from lost).
        timestamp_s: capture time of the frame on which it was decided.
        frame_index: number of that frame.
        since_s: capture time of the frame on which the run that led to it began.
        confidence: of the frame on which it was decided.
    """

    kind: EventKind
    timestamp_s: float
    frame_index: int
    since_s: float
    confidence: float


class LossMonitor:
    """Turns a stream of confidences into states and events. Pure Python, no clock of its own, deterministic.

    Time is what the frames' timestamps say. One that repeats, jumps back or is not finite counts as one frame at 30
    frames a second, so a camera whose clock is set anew neither hides a loss nor invents one. A confidence that is
    NaN counts as 0.

    Attributes:
        state: "tracking", "uncertain" or "lost".
        events: the latest events, oldest first, at most 256 of them.
    """

    def __init__(
        self, policy: LossPolicy | None = None, *, on_event: Callable[[LossEvent], None] | None = None
    ) -> None:
        """Start in state "tracking".

        Args:
            policy: thresholds and durations; the defaults of ``LossPolicy`` without one.
            on_event: called with every event, after the state has changed.
        """
        self.policy = LossPolicy() if policy is None else policy
        self.on_event = on_event
        self.events: deque[LossEvent] = deque(maxlen=_EVENTS_KEPT)
        self.reset()

    def reset(self) -> None:
        """Forget everything: a new target, state "tracking", no events, frames counted from 0."""
        self.state: TrackState = "tracking"
        self.events.clear()
        self._next_frame = 0
        self._clock_s = 0.0
        self._last_stamp_s = 0.0
        self._run_clock_s: float | None = None  # when the present run of low (or, while lost, high) confidence began
        self._run_stamp_s = 0.0

    def update(self, confidence: float, timestamp_s: float, *, frame_index: int | None = None) -> TrackState:
        """Take in one frame.

        Args:
            confidence: calibrated, between 0 and 1.
            timestamp_s: capture time of the frame in seconds.
            frame_index: its number, for the events; counted from 0 without one.

        Returns:
            The state after this frame.
        """
        confidence = 0.0 if math.isnan(confidence) else confidence
        index = self._next_frame if frame_index is None else frame_index
        self._next_frame = index + 1
        self._advance(timestamp_s)
        new, since_s = self._decide(confidence, timestamp_s)
        if new != self.state:
            event = LossEvent(_KINDS[self.state, new], timestamp_s, index, since_s, confidence)
            if "lost" in (new, self.state):  # "uncertain" is a stage of a run of low confidence, not its end
                self._run_clock_s = None
            self.state = new
            self.events.append(event)
            if self.on_event is not None:
                self.on_event(event)
        return self.state

    def _advance(self, timestamp_s: float) -> None:
        step_s = timestamp_s - self._last_stamp_s  # the first frame's step begins no run, so its size is of no matter
        self._clock_s += step_s if 0 < step_s < math.inf else _NOMINAL_FRAME_S
        if math.isfinite(timestamp_s):
            self._last_stamp_s = timestamp_s

    def _decide(self, confidence: float, timestamp_s: float) -> tuple[TrackState, float]:
        policy = self.policy
        if self.state == "lost":
            high = confidence >= policy.leave_lost
            run_ms = self._run_ms(high, confidence < policy.uncertain, timestamp_s)
            found = high and run_ms >= policy.min_found_ms
            return ("tracking" if found else "lost"), self._run_stamp_s
        low = confidence < policy.enter_lost
        run_ms = self._run_ms(low, confidence >= policy.uncertain, timestamp_s)
        if low and run_ms >= policy.min_lost_ms:
            return "lost", self._run_stamp_s
        if confidence < policy.uncertain:
            return "uncertain", timestamp_s
        return ("tracking" if confidence >= policy.leave_lost else self.state), timestamp_s

    def _run_ms(self, begins: bool, ends: bool, timestamp_s: float) -> float:
        """Length of the present run in ms, this frame included; below 0 where there is none."""
        if ends:
            self._run_clock_s = None
        elif begins and self._run_clock_s is None:
            self._run_clock_s, self._run_stamp_s = self._clock_s, timestamp_s
        # 1e-9: sums of frame times must not miss a limit of as many frames by rounding
        return -1.0 if self._run_clock_s is None else (self._clock_s - self._run_clock_s + 1e-9) * 1000


_KINDS: dict[tuple[TrackState, TrackState], EventKind] = {
    ("tracking", "uncertain"): "uncertain",
    ("uncertain", "tracking"): "certain",
    ("tracking", "lost"): "lost",
    ("uncertain", "lost"): "lost",
    ("lost", "tracking"): "recovered",
}
