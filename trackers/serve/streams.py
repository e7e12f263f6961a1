"""What goes on for as long as a client takes it: pictures as Motion JPEG, reports over a WebSocket."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, web

from onlinetada.trackers.serve.allowance import Allowance
from onlinetada.trackers.serve.api import STATION, channel_of
from onlinetada.trackers.serve.scout import Picture
from onlinetada.trackers.serve.station import Channel, Station

_BOUNDARY = "onlinetada-frame"
_SILENCE_S = 5.0  # without a new picture the last one is sent again, so that a client that has gone is noticed
_HEARTBEAT_S = 15.0


class Streams:
    """The streams of a server, so many and no more.

    Attributes:
        pictures: how many clients take pictures.
        sockets: how many take reports.
        slow: clients closed because they did not take what was sent.
        floods: clients closed because they sent too much.
    """

    def __init__(self) -> None:
        self.pictures = self.sockets = self.slow = self.floods = 0

    def add_routes(self, app: web.Application) -> None:
        """Declare what there is."""
        app.router.add_get("/stream.mjpg", self.mjpeg, allow_head=False)
        app.router.add_get("/ws", self.websocket, allow_head=False)

    async def mjpeg(self, request: web.Request) -> web.StreamResponse:
        """Pictures, the newest whenever the client has taken the last; ``?boxes=1`` with the targets drawn."""
        station, channel = request.app[STATION], channel_of(request)
        if self.pictures >= station.options.limits.streams:
            raise web.HTTPServiceUnavailable(text="too many are watching already", headers={"Retry-After": "5"})
        source = channel.pictures.drawn if request.query.get("boxes") == "1" else channel.pictures.plain
        response = web.StreamResponse()
        response.content_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        self.pictures += 1
        try:
            with source.subscribe() as queue:
                await response.prepare(request)
                await self._show_last(channel, queue, drawn=source is channel.pictures.drawn)
                await self._pump(response, queue, station.options.limits.patience_s)
        except (ConnectionError, asyncio.TimeoutError):
            pass  # the client has gone, or takes nothing
        finally:
            self.pictures -= 1
        return response

    async def _show_last(self, channel: Channel, queue: asyncio.Queue[Picture], *, drawn: bool) -> None:
        """While a source gives nothing, who comes sees what it gave last."""
        feed = channel.feed
        frame, report = feed.frame, feed.report
        if feed.reader.status != "live" and frame is not None and report is not None:
            loop = asyncio.get_running_loop()
            picture = await loop.run_in_executor(None, channel.pictures.make, frame, report, drawn)
            if queue.empty():
                queue.put_nowait(picture)

    async def _pump(self, response: web.StreamResponse, queue: asyncio.Queue[Picture], patience_s: float) -> None:
        last: Picture | None = None
        while True:
            with suppress(asyncio.TimeoutError):
                last = await asyncio.wait_for(queue.get(), _SILENCE_S)
            if last is not None:
                try:
                    await asyncio.wait_for(response.write(_part(last)), patience_s)
                except asyncio.TimeoutError:
                    self.slow += 1
                    raise

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        """One JSON object a frame; ``?source=all`` of every source."""
        station: Station = request.app[STATION]
        everything = request.query.get("source") == "all"
        channels = list(station.channels.values()) if everything else [channel_of(request)]
        limits = station.options.limits
        if self.sockets >= limits.streams:
            raise web.HTTPServiceUnavailable(text="too many are listening already", headers={"Retry-After": "5"})
        socket = web.WebSocketResponse(max_msg_size=limits.message_bytes, heartbeat=_HEARTBEAT_S, compress=False)
        await socket.prepare(request)
        self.sockets += 1
        senders = [asyncio.ensure_future(self._send(request, socket, c)) for c in channels]
        try:
            await self._hear(socket, limits.messages_per_s)
        finally:
            self.sockets -= 1
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)
        return socket

    async def _send(self, request: web.Request, socket: web.WebSocketResponse, channel: Channel) -> None:
        patience_s = request.app[STATION].options.limits.patience_s
        report = channel.feed.report
        with channel.reports.subscribe() as queue:
            if report is not None and channel.feed.reader.status != "live":
                queue.put_nowait(report.as_json())  # who comes while nothing does hears the last
            while not socket.closed:
                text = await queue.get()
                try:
                    await asyncio.wait_for(socket.send_str(text), patience_s)
                except asyncio.TimeoutError:
                    self.slow += 1
                    break
                except ConnectionError:
                    break
        if request.transport is not None:
            request.transport.abort()  # a closing handshake would wait for what is not taken

    async def _hear(self, socket: web.WebSocketResponse, rate: float) -> None:
        """Nothing is asked for over the socket, so nothing need be answered; who sends a lot is put out."""
        loop, sent = asyncio.get_running_loop(), Allowance(rate, rate)
        async for message in socket:
            if message.type in (WSMsgType.ERROR, WSMsgType.CLOSE):
                break
            if not sent.take(loop.time()):
                self.floods += 1
                with suppress(ConnectionError, asyncio.TimeoutError):
                    closing = socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"too many messages")
                    await asyncio.wait_for(closing, 1.0)
                break


def _part(picture: Picture) -> bytes:
    head = (
        f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n"
        f"X-Frame-Index: {picture.frame_index}\r\nX-Timestamp: {picture.timestamp_s:.6f}\r\n"
        f"X-Frame-Size: {picture.width}x{picture.height}\r\n\r\n"
    )
    return head.encode() + picture.jpeg + b"\r\n"
