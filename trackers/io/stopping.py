"""Ending on Ctrl-C and SIGTERM between two frames, never in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, TypeVar

T = TypeVar("T")
_SIGNALS = [s for s in (getattr(signal, n, None) for n in ("SIGINT", "SIGTERM", "SIGHUP")) if s is not None]


class StopSignals:
    """While it is entered, a signal ends ``until_stopped`` instead of the process; a second one interrupts at once.

    Outside the main thread, where signals cannot be caught, it does nothing.

    Attributes:
        number: of the signal that came; None so far.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._waiting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._arrived) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def until_stopped(self, items: Iterator[T]) -> Iterator[T]:
        """The items, until a signal comes: at once while one is waited for, else after the one in work."""
        while self.number is None:
            try:
                self._waiting = True
                item = next(items)
            except StopIteration:
                return
            except KeyboardInterrupt:
                if self.number is None:
                    raise
                return
            finally:
                self._waiting = False
            yield item

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        again, self.number = self.number is not None, number
        if self._waiting or again:
            raise KeyboardInterrupt
