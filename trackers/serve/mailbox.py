"""Where a tracker's thread waits: for the newest frame, and for what clients ask of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from onlinetada.trackers.io.frames import Frame

_COMMANDS_A_FRAME = 4  # so that a flood of them does not keep the tracker from its frames


class Busy(Exception):
    """Too many commands are waiting."""


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame on its way to the tracker.

    Attributes:
        captured_s: Unix time of its capture, or of its turn where a file is played.
        loop: how often the file had been played before.
    """

    frame: Frame
    captured_s: float
    loop: int = 0


Command = Callable[[], Any]


class Mailbox:
    """A slot for one frame, in which a newer one replaces the older, and a short queue of commands.

    Args:
        commands: that may wait.

    Attributes:
        replaced: frames that nobody took.
    """

    def __init__(self, commands: int) -> None:
        self.replaced = 0
        self._room = commands
        self._shot: Shot | None = None
        self._commands: deque[tuple[Command, Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, shot: Shot, *, wait: bool = False) -> None:
        """Offer a frame. ``wait``: until the last one was taken, instead of replacing it."""
        with self._changed:
            while wait and self._shot is not None and not self._closed:
                self._changed.wait(0.5)
            self.replaced += self._shot is not None
            self._shot = shot
            self._changed.notify_all()

    def ask(self, command: Command) -> Future[Any]:
        """Have a command run on the tracker's thread.

        Raises:
            Busy: too many are waiting.
        """
        future: Future[Any] = Future()
        with self._changed:
            if len(self._commands) >= self._room or self._closed:
                raise Busy
            self._commands.append((command, future))
            self._changed.notify_all()
        return future

    def take(self, timeout_s: float) -> tuple[Shot | None, list[tuple[Command, Future[Any]]]]:
        """The newest frame and the first few commands, as soon as there is either."""
        with self._changed:
            if self._shot is None and not self._commands and not self._closed:
                self._changed.wait(timeout_s)
            shot, self._shot = self._shot, None
            count = min(_COMMANDS_A_FRAME, len(self._commands))
            commands = [self._commands.popleft() for _ in range(count)]
            self._changed.notify_all()
            return shot, commands

    def close(self) -> None:
        """Let everybody go who waits."""
        with self._changed:
            self._closed = True
            for _, future in self._commands:
                future.cancel()
            self._commands.clear()
            self._changed.notify_all()
