"""Counts of one source, for people and for Prometheus."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from onlinetada.trackers.io.clock import now_s

BUCKETS_MS = (2, 5, 10, 20, 35, 50, 75, 100, 150, 250, 500, 1000, 2500, 5000)
_RECENT = 1000


class Histogram:
    """Milliseconds in fixed buckets for Prometheus, and the last 1000 as they were. Constant memory."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_MS) + 1)
        self.sum_ms = 0.0
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def add(self, value_ms: float) -> None:
        """Count one."""
        place = next((i for i, bound in enumerate(BUCKETS_MS) if value_ms <= bound), len(BUCKETS_MS))
        self.counts[place] += 1
        self.sum_ms += value_ms
        self._recent.append(value_ms)

    def quantile_ms(self, share: float) -> float | None:
        """The value that this share (0.5: the median) of the last 1000 stayed below."""
        return quantile(list(self._recent), share)


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest of the values that at least this share of them does not exceed; None of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


class FeedStats:
    """What happened to one source's frames.

    Attributes:
        tracked: frames that went through the tracker.
        restarts: of the tracker after a crash.
        delay: from the capture of a frame to its boxes.
        update: that the tracker took.
    """

    def __init__(self) -> None:
        self.tracked = self.restarts = self.lost = self.recovered = 0
        self.delay, self.update = Histogram(), Histogram()
        self._times_s: deque[float] = deque(maxlen=40)

    def count(self, delay_ms: float, update_ms: float | None) -> None:
        """Take in one tracked frame. ``update_ms`` is None without targets."""
        self.tracked += 1
        self.delay.add(delay_ms)
        if update_ms is not None:
            self.update.add(update_ms)
        self._times_s.append(now_s())

    @property
    def fps(self) -> float:
        """Frames a second of late; 0 when none came for two seconds."""
        times = list(self._times_s)
        if len(times) < 2 or now_s() - times[-1] > 2.0:
            return 0.0
        return (len(times) - 1) / max(times[-1] - times[0], 1e-3)
