"""From the tracker's thread to any number of clients, none of which can hold up another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Broadcast(Generic[T]):
    """Gives every subscriber what is sent; a subscriber that is late misses the oldest.

    Args:
        room: how many items wait for a subscriber.

    Attributes:
        missed: items that subscribers were too late for, all together.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, room: int) -> None:
        self.missed = 0
        self._loop, self._room = loop, room
        self._queues: set[asyncio.Queue[T]] = set()

    @property
    def subscribers(self) -> int:
        """How many there are."""
        return len(self._queues)

    def send(self, item: T) -> None:
        """Send from any thread."""
        if self._queues:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._deliver, item)

    @contextmanager
    def subscribe(self) -> Iterator[asyncio.Queue[T]]:
        """A queue of what is sent from now on."""
        queue: asyncio.Queue[T] = asyncio.Queue(self._room)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    def _deliver(self, item: T) -> None:
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
                self.missed += 1
            queue.put_nowait(item)
