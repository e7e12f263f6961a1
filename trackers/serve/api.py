"""The HTTP interface: status, targets, snapshots, recordings."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Set
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from onlinetada import __version__
from onlinetada.errors import InputError
from onlinetada.trackers.io.clock import now_s
from onlinetada.trackers.io.draw import draw_targets
from onlinetada.trackers.result import Box
from onlinetada.trackers.serve.pictures import make_picture
from onlinetada.trackers.serve.recorder import find_recording, list_recordings
from onlinetada.trackers.serve.report import target_values
from onlinetada.trackers.serve.station import Channel, Station

STATION = web.AppKey("station", Station)
_ANSWER_S = 15.0  # for the tracker to begin a target: the first may have to wait for the model to be loaded
_SILENT_S = 60.0  # a tracker's thread that was not heard of for this long is stuck
_WIDEST = 1 << 14
_CHUNK = 1 << 17


def add_routes(app: web.Application) -> None:
    """Declare what there is."""
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/api/status", status)
    app.router.add_get("/api/targets", targets)
    app.router.add_post("/api/targets", add_target)
    app.router.add_put(r"/api/targets/{id}", move_target)
    app.router.add_delete(r"/api/targets/{id}", remove_target)
    app.router.add_get("/api/snapshot.jpg", snapshot)
    app.router.add_get("/api/recordings", recordings)
    app.router.add_post("/api/recordings", start_recording)
    app.router.add_delete("/api/recordings/current", stop_recording)
    app.router.add_get("/api/recordings/{name}", download, allow_head=False)


async def healthz(request: web.Request) -> web.Response:
    """200 while every tracker's thread is alive; the sources may come and go."""
    feeds = [c.feed for c in request.app[STATION].channels.values()]
    stuck = [f.options.id for f in feeds if now_s() - f.beat_s > _SILENT_S]
    body = {"status": "stuck" if stuck else "ok", "sources": {f.options.id: f.reader.status for f in feeds}}
    return web.json_response(body, status=503 if stuck else 200)


async def status(request: web.Request) -> web.Response:
    """Everything that the page shows beside the picture."""
    station = request.app[STATION]
    values = {
        "version": __version__,
        "model": station.options.model.name,
        "uptime_s": round(time.monotonic() - station.began_s, 1),
        "records": station.options.record.folder is not None,
        "sources": [_source_values(c) for c in station.channels.values()],
    }
    return web.json_response(values)


async def targets(request: web.Request) -> web.Response:
    """The targets of one source, or of all."""
    channels = [channel_of(request)] if "source" in request.query else request.app[STATION].channels.values()
    found = [
        {**target_values(key, result), "source": c.feed.options.id}
        for c in channels
        for key, result in sorted(c.feed.results.items())
    ]
    return web.json_response({"targets": found})


async def add_target(request: web.Request) -> web.Response:
    """Begin to follow a target."""
    body = await _body(request, {"box", "frame_index", "source"}, required={"box"})
    channel = channel_of(request, body.get("source"))
    box, frame_index = _box(body["box"]), _frame_index(body)
    number, on_frame = await _done(channel.feed.add(box, frame_index))
    return _target(channel, number, on_frame, status=201)


async def move_target(request: web.Request) -> web.Response:
    """Begin a target anew with another box, under the number it has."""
    body = await _body(request, {"box", "frame_index"}, required={"box"})
    number, channel = _existing(request)
    await _found(channel.feed.move(number, _box(body["box"]), _frame_index(body)), number)
    return _target(channel, number, channel.feed.frame.index if channel.feed.frame else 0, status=200)


async def remove_target(request: web.Request) -> web.Response:
    """Follow a target no more."""
    number, channel = _existing(request)
    await _found(channel.feed.remove(number), number)
    return web.Response(status=204)


async def snapshot(request: web.Request) -> web.Response:
    """The newest frame at its full size; ``?boxes=1`` with the targets drawn on it."""
    feed = channel_of(request).feed
    frame, report = feed.frame, feed.report
    if frame is None or report is None:
        raise web.HTTPServiceUnavailable(text="no frame has come yet")
    with_boxes = request.query.get("boxes") == "1"

    def encode() -> bytes:
        image = draw_targets(frame.image, report.results) if with_boxes else frame.image
        return make_picture(image, report, _WIDEST).jpeg

    data = await asyncio.get_running_loop().run_in_executor(None, encode)
    name = f"{feed.options.id}-{frame.index}.jpg"
    headers = {"Content-Disposition": f'inline; filename="{name}"', "X-Frame-Index": str(frame.index)}
    return web.Response(body=data, content_type="image/jpeg", headers=headers)


async def recordings(request: web.Request) -> web.Response:
    """The files in the record folder, and what is being written."""
    station = request.app[STATION]
    found = await asyncio.get_running_loop().run_in_executor(None, list_recordings, station.options.record)
    files = [{"name": r.name, "size_bytes": r.size_bytes, "modified_s": round(r.modified_s, 3)} for r in found]
    current = {c.feed.options.id: c.recorder.name for c in station.channels.values() if c.recorder.name}
    return web.json_response({"recordings": files, "current": current})


async def start_recording(request: web.Request) -> web.Response:
    """Begin to record a source."""
    body = await _body(request, {"source", "boxes"})
    channel = channel_of(request, body.get("source"))
    boxes = body.get("boxes", True)
    if not isinstance(boxes, bool):
        raise InputError(f"boxes must be true or false, it is {json.dumps(boxes)}")
    fps = channel.feed.reader.nominal_fps
    name = await asyncio.get_running_loop().run_in_executor(None, lambda: channel.recorder.start(fps=fps, boxes=boxes))
    return web.json_response({"source": channel.feed.options.id, "name": name}, status=201)


async def stop_recording(request: web.Request) -> web.Response:
    """Finish a recording."""
    channel = channel_of(request)
    name = await asyncio.get_running_loop().run_in_executor(None, channel.recorder.stop)
    return web.json_response({"source": channel.feed.options.id, "name": name})


async def download(request: web.Request) -> web.StreamResponse:
    """A file of the record folder."""
    name = request.match_info["name"]
    path = find_recording(request.app[STATION].options.record, name)
    if path is None:
        raise web.HTTPNotFound(text="there is no such recording")
    response = web.StreamResponse(headers={"Content-Disposition": f'attachment; filename="{path.name}"'})
    response.content_type, response.content_length = "application/octet-stream", path.stat().st_size
    await response.prepare(request)
    with suppress(ConnectionError):
        await _send_file(response, path, request.app[STATION].options.limits.patience_s)
    return response


async def _send_file(response: web.StreamResponse, path: Path, patience_s: float) -> None:
    """Send as much of a file as was announced, to a client that takes it; one that does not is closed."""
    loop, left = asyncio.get_running_loop(), response.content_length or 0
    with open(path, "rb") as file:
        while left and (data := await loop.run_in_executor(None, file.read, min(left, _CHUNK))):
            left -= len(data)
            try:
                await asyncio.wait_for(response.write(data), patience_s)
            except asyncio.TimeoutError:
                raise ConnectionAbortedError("the client takes nothing") from None


def channel_of(request: web.Request, source: Any = None) -> Channel:
    """The source that a request names, in its body or its query; without a name the first.

    Raises:
        web.HTTPNotFound: there is none of that name.
    """
    channels = request.app[STATION].channels
    name = source if source is not None else request.query.get("source")
    if name is None:
        return next(iter(channels.values()))
    if not isinstance(name, str) or name not in channels:
        raise web.HTTPNotFound(text=f"there is no such source; there are: {', '.join(channels)}")
    return channels[name]


def _source_values(channel: Channel) -> dict[str, Any]:
    feed, report, reader = channel.feed, channel.feed.report, channel.feed.reader
    p50, p99 = feed.stats.delay.quantile_ms(0.5), feed.stats.delay.quantile_ms(0.99)
    return {
        "id": feed.options.id,
        "label": feed.options.label,
        "state": reader.status,
        "problem": reader.problem,
        "live": reader.live,
        "width": report.width if report else None,
        "height": report.height if report else None,
        "frame_index": report.frame_index if report else None,
        "fps": round(feed.stats.fps, 2),
        "frames": feed.stats.tracked,
        "dropped": reader.dropped,
        "delay_ms": {"p50": _rounded(p50), "p99": _rounded(p99)},
        "restarts": feed.stats.restarts,
        "recording": channel.recorder.name,
        "notices": [{"time_s": round(at, 3), "text": text} for at, text in feed.notices],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _target(channel: Channel, number: int, frame_index: int, *, status: int) -> web.Response:
    result = channel.feed.results.get(number)
    if result is None:
        raise web.HTTPConflict(text=f"target {number} was deleted meanwhile")
    values = {**target_values(number, result), "source": channel.feed.options.id, "frame_index": frame_index}
    return web.json_response(values, status=status)


def _existing(request: web.Request) -> tuple[int, Channel]:
    text = request.match_info["id"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    channel = request.app[STATION].channel_of_target(number)
    if channel is None:
        raise web.HTTPNotFound(text=f"there is no target {text[:20]!r}")
    return number, channel


async def _done(future: Future[Any]) -> Any:
    return await asyncio.wait_for(asyncio.wrap_future(future), _ANSWER_S)


async def _found(future: Future[Any], number: int) -> Any:
    try:
        return await _done(future)
    except KeyError:
        raise web.HTTPNotFound(text=f"there is no target {number}") from None


async def _body(request: web.Request, known: set[str], *, required: Set[str] = frozenset()) -> dict[str, Any]:
    """The JSON object of a request, with no key that is not known.

    Raises:
        InputError: it is something else.
        web.HTTPUnsupportedMediaType: it is not called JSON; what a web form can send never is.
    """
    patience_s = request.app[STATION].options.limits.patience_s
    if not request.can_read_body:
        data = b"{}"
    elif request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send Content-Type: application/json")
    else:
        try:
            data = await asyncio.wait_for(request.read(), patience_s)
        except asyncio.TimeoutError:
            raise web.HTTPRequestTimeout(text="the body did not come") from None
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise InputError("the body is not JSON") from None
    if not isinstance(values, dict):
        raise InputError("the body must be a JSON object")
    for key in values:
        if key not in known:
            raise InputError(f"unknown key {key[:40]!r}; there are: {', '.join(sorted(known))}")
    for key in sorted(required - set(values)):
        raise InputError(f"{key!r} is missing")
    return values


def _box(value: Any) -> Box:
    numbers = value if isinstance(value, list) else []
    good = len(numbers) == 4 and all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers)
    if not good or not all(abs(n) < 1e6 and math.isfinite(n) for n in numbers):
        raise InputError("box must be four finite numbers in pixels: [x, y, width, height]")
    x, y, w, h = (float(n) for n in numbers)
    return x, y, w, h


def _frame_index(body: dict[str, Any]) -> int | None:
    value = body.get("frame_index")
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise InputError("frame_index must be the number of a frame that was shown")
    return value
