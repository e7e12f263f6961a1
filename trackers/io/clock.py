"""Capture times: Unix time that never jumps, and the camera's own clock where it has one."""

from __future__ import annotations

import math
import time

_EPOCH_S = time.time() - time.monotonic()
_JUMP_S = 1.0  # a camera's clock that is this far from ours has jumped
_LATEST_S = 1e11  # milliseconds or nonsense taken for seconds
_DRIFT_S = 600.0  # how slowly a later, larger delay is believed: the offset may rise by a second in this time


def now_s() -> float:
    """Unix time as it was when the program started, counted on from there: setting the clock does not move it."""
    return _EPOCH_S + time.monotonic()


class CameraClock:
    """Turns a camera's own timestamps into Unix time, as evenly spaced as the camera took them.

    The network delays frames by varying times, so arrival times jitter. The frame that came fastest shows the offset
    between the two clocks best: the offset is the smallest of the recent ones.

    Attributes:
        jumps: how often the camera's clock went back, or away from ours.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self._last_s = -math.inf
        self.restart()

    def restart(self) -> None:
        """Forget how the camera's clock stands to ours: it may count from another start now."""
        self._offset_s: float | None = None
        self._last_device_s = self._last_arrived_s = -math.inf

    def stamp(self, device_s: float, arrived_s: float) -> float:
        """The capture time of a frame, later than that of the frame before it.

        Args:
            device_s: the camera's timestamp, from any start; what is not finite, not positive or huge is none.
            arrived_s: when the frame came in, by ``now_s``.
        """
        if not 0 < device_s < _LATEST_S:
            return self._rising(arrived_s)
        offset_s = arrived_s - device_s
        if self._offset_s is None:
            self._offset_s = offset_s
        elif device_s <= self._last_device_s or abs(offset_s - self._offset_s) > _JUMP_S:
            self.jumps += 1
            self._offset_s = offset_s
        else:
            rise_s = (arrived_s - self._last_arrived_s) / _DRIFT_S
            self._offset_s = min(offset_s, self._offset_s + rise_s)
        self._last_device_s, self._last_arrived_s = device_s, arrived_s
        return self._rising(min(device_s + self._offset_s, arrived_s))

    def _rising(self, stamp_s: float) -> float:
        self._last_s = max(stamp_s, self._last_s + 1e-4)
        return self._last_s
