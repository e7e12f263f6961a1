"""All sources of a server with what belongs to them."""

from __future__ import annotations

import asyncio
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from onlinetada.trackers.follower import build_follower
from onlinetada.trackers.io.frames import Frame
from onlinetada.trackers.io.targets import Follower
from onlinetada.trackers.serve.broadcast import Broadcast
from onlinetada.trackers.serve.feed import Feed
from onlinetada.trackers.serve.options import ServeOptions, SourceOptions
from onlinetada.trackers.serve.pictures import Pictures
from onlinetada.trackers.serve.recorder import Recorder
from onlinetada.trackers.serve.relays import StdoutRelay, UdpRelay
from onlinetada.trackers.serve.report import Report
from onlinetada.trackers.serve.scout import Picture

_REPORTS_ROOM = 64  # reports that a WebSocket client may be behind; then it misses the oldest


@dataclass(frozen=True)
class Channel:
    """A source, and how clients get at it."""

    feed: Feed
    reports: Broadcast[str]
    pictures: Pictures
    recorder: Recorder


def _close(channel: Channel) -> None:
    channel.feed.close()
    channel.recorder.close()
    channel.pictures.close()


class Station:
    """Everything that runs while the server does.

    Args:
        options: of the server.
        loop: that clients are served on.

    Raises:
        InputError: there is no such model or UDP address.
    """

    def __init__(self, options: ServeOptions, loop: asyncio.AbstractEventLoop) -> None:
        self.options = options
        self.began_s = time.monotonic()
        self._numbers = itertools.count(1)
        self._relays: list[UdpRelay | StdoutRelay] = [UdpRelay(address) for address in options.udp]
        if options.stdout:
            self._relays.append(StdoutRelay())
        self.channels = {source.id: self._channel(source, loop) for source in options.sources}

    def start(self) -> None:
        """Begin."""
        for channel in self.channels.values():
            channel.pictures.start()
            channel.feed.start()

    def close(self) -> None:
        """End all threads and finish all files."""
        with ThreadPoolExecutor(len(self.channels)) as pool:  # one that hangs keeps no other waiting
            list(pool.map(_close, self.channels.values()))
        for relay in self._relays:
            relay.close()

    def channel_of_target(self, number: int) -> Channel | None:
        """The channel whose source has this target."""
        return next((c for c in self.channels.values() if number in c.feed.results), None)

    def _build(self) -> Follower:
        model = self.options.model
        return build_follower(model.name, weights=model.weights, device=model.device)

    def _channel(self, source: SourceOptions, loop: asyncio.AbstractEventLoop) -> Channel:
        reports: Broadcast[str] = Broadcast(loop, room=_REPORTS_ROOM)
        plain: Broadcast[Picture] = Broadcast(loop, room=1)
        drawn: Broadcast[Picture] = Broadcast(loop, room=1)
        pictures = Pictures(plain, drawn, name=source.id, width=self.options.stream_width)

        def send(frame: Frame, report: Report) -> None:
            if reports.subscribers:
                reports.send(report.as_json())

        recorder = Recorder(self.options.record, source.id, lambda text: feed.note(text))
        listeners = [send, pictures.show, recorder.take, *(relay.take for relay in self._relays)]
        feed = Feed(
            source,
            self._build,
            lambda: next(self._numbers),
            limits=self.options.limits,
            album=pictures.album,
            listeners=listeners,
        )
        return Channel(feed, reports, pictures, recorder)
