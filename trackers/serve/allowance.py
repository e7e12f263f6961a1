"""How often something may happen: so many times at once, and so many a second."""

from __future__ import annotations


class Allowance:
    """A token bucket.

    Args:
        burst: how often at once.
        rate: how often a second in the long run.
    """

    def __init__(self, burst: float, rate: float) -> None:
        self._burst, self._rate = burst, rate
        self._left, self._counted_s = burst, 0.0

    def take(self, now_s: float) -> bool:
        """Whether it may happen once more; if it may not, it is not counted."""
        self._refill(now_s)
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def owe(self, now_s: float) -> float:
        """Count it in any case; gives the seconds by which it came too soon."""
        self._refill(now_s)
        self._left -= 1
        return max(0.0, -self._left / self._rate)

    def _refill(self, now_s: float) -> None:
        self._left = min(self._burst, self._left + (now_s - self._counted_s) * self._rate)
        self._counted_s = now_s
