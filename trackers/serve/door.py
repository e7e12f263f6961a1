"""Connections: how many there may be, who has to go when there are too many, and how fast they may ask."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

from onlinetada.trackers.serve.allowance import Allowance
from onlinetada.trackers.serve.options import Limits

_SEND_BUFFER = 256 * 1024  # what waits in the system for a slow client is late already


class Doors:
    """All connections of a server.

    When there are too many, the one that has been without a request in work for longest has to go, so that clients
    that only hold connections harm each other and nobody else.

    Args:
        limits: on connections and patience.
        make: gives the protocol that serves one connection.

    Attributes:
        evicted: connections closed because there were too many.
        late: connections closed because no request came.
    """

    def __init__(self, limits: Limits, make: Callable[[], asyncio.BaseProtocol]) -> None:
        self.limits = limits
        self.evicted = self.late = 0
        self._make = make
        self.open: dict[Door, None] = {}  # in the order of their last request

    def __call__(self) -> Door:
        """A door for a new connection: what ``create_server`` takes."""
        return Door(self, cast(asyncio.Protocol, self._make()))

    def admit(self, door: Door) -> bool:
        """Let a connection in, where there is room or somebody idle."""
        if len(self.open) >= self.limits.connections:
            idle = next((other for other in self.open if not other.busy), None)
            self.evicted += 1
            if idle is None:
                return False
            idle.abort()
        self.open[door] = None
        return True


class Door(asyncio.Protocol):
    """One connection, in front of the protocol that serves it.

    Attributes:
        busy: requests in work.
    """

    def __init__(self, doors: Doors, inner: asyncio.Protocol) -> None:
        self._doors, self._inner = doors, inner
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._admitted = False
        self._asked = Allowance(doors.limits.messages_per_s, doors.limits.messages_per_s)
        self.busy = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in or not."""
        self._transport = cast(asyncio.Transport, transport)
        self._admitted = self._doors.admit(self)
        if not self._admitted:
            self._transport.abort()
            return
        sock: Any = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._expect()
        self._inner.connection_made(transport)

    def begin(self) -> float:
        """A request has come whole; gives the seconds by which it came too soon after the others."""
        self.busy += 1
        self._doors.open.pop(self, None)
        self._doors.open[self] = None
        if self._deadline is not None:
            self._deadline.cancel()
        return self._asked.owe(asyncio.get_running_loop().time())

    def end(self) -> None:
        """The request was answered."""
        self.busy -= 1
        self._expect()

    def abort(self) -> None:
        """Close at once."""
        self._doors.open.pop(self, None)
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass on."""
        if self._admitted:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on."""
        return self._inner.eof_received() if self._admitted else None

    def pause_writing(self) -> None:
        """Pass on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._doors.open.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
        if self._admitted:
            self._inner.connection_lost(exc)

    def _expect(self) -> None:
        """Wait for the next request, but not for ever."""
        if self._deadline is not None:
            self._deadline.cancel()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._doors.limits.patience_s, self._too_late)

    def _too_late(self) -> None:
        if not self.busy:
            self._doors.late += 1
            self.abort()
