"""The web application, and running it until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files

from aiohttp import web

from onlinetada.errors import InputError
from onlinetada.trackers.serve import api
from onlinetada.trackers.serve.access import Access
from onlinetada.trackers.serve.door import Doors
from onlinetada.trackers.serve.guard import Guard, add_headers
from onlinetada.trackers.serve.metrics import CONTENT_TYPE, render
from onlinetada.trackers.serve.options import ServeOptions
from onlinetada.trackers.serve.schema import openapi
from onlinetada.trackers.serve.station import Station
from onlinetada.trackers.serve.streams import Streams

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_CLOSING_S = 2.0  # for answers in work; streams have no end of their own
_STOPPED_BY = [int(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_log = logging.getLogger("onlinetada.serve")


class Server:
    """A station with its web application.

    Args:
        options: of the server.

    Raises:
        InputError: options that cannot be served safely.
    """

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        self.guard = Guard(Access(options))
        self.streams = Streams()
        self.station = Station(options, asyncio.get_running_loop())
        self._page = _load_page()
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            shutdown_timeout=_CLOSING_S,
            keepalive_timeout=30.0,
            handler_cancellation=True,  # a client that has gone frees what was at work for it
        )
        self._server: asyncio.Server | None = None
        self.doors: Doors | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None  # noqa: S101 - for the type checker; only asked of a server that runs
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Where the page is."""
        host = self.options.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    async def start(self) -> None:
        """Listen, then begin to read and to track.

        Raises:
            InputError: the port is taken, or the host is none of this machine.
        """
        await self._runner.setup()
        inner = self._runner.server
        assert inner is not None  # noqa: S101 - for the type checker; there is one after setup
        self.doors = Doors(self.options.limits, inner)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self.doors, self.options.host, self.options.port, backlog=64
            )
        except (OSError, UnicodeError) as error:
            await self._runner.cleanup()
            raise InputError(f"cannot listen on {self.options.host}:{self.options.port}: {error}") from None
        self.station.start()

    async def close(self) -> None:
        """Finish files, end threads and close all connections."""
        if self._server is not None:
            self._server.close()
        await asyncio.get_running_loop().run_in_executor(None, self.station.close)
        for door in list(self.doors.open if self.doors else ()):
            door.abort()
        await self._runner.cleanup()

    def _application(self) -> web.Application:
        @web.middleware
        async def guarded(request: web.Request, handler: Callable[[web.Request], object]) -> web.StreamResponse:
            return await self.guard.handle(request, handler)  # type: ignore[arg-type]

        app = web.Application(middlewares=[guarded], client_max_size=self.options.limits.body_bytes)
        app[api.STATION] = self.station
        app.on_response_prepare.append(add_headers)
        app.router.add_get("/", self._index)
        app.router.add_post("/login", self._login)
        app.router.add_get("/static/{name}", self._static)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/openapi.json", self._openapi)
        api.add_routes(app)
        self.streams.add_routes(app)
        return app

    async def _index(self, request: web.Request) -> web.StreamResponse:
        """The page; whoever has not shown the token is asked for it."""
        access = self.guard.access
        if access.is_token(request.query.get("token", "")):  # out of the address bar, and out of its history
            response = web.HTTPSeeOther("/")
            access.set_cookie(request, response)
            raise response
        known = access.knows(request)
        body, kind = self._page["index.html" if known else "login.html"]
        return web.Response(body=body, content_type=kind, charset="utf-8", status=200 if known else 401)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/x-www-form-urlencoded":
            raise web.HTTPUnsupportedMediaType(text="send the form of the page")
        form = await asyncio.wait_for(request.post(), self.options.limits.patience_s)
        if not self.guard.access.is_token(str(form.get("token", ""))):
            body, kind = self._page["login.html"]
            self.guard.refused[401] += 1
            return web.Response(body=body, content_type=kind, charset="utf-8", status=401)
        response = web.HTTPSeeOther("/")
        self.guard.access.set_cookie(request, response)
        raise response

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._page or name.endswith(".html"):
            raise web.HTTPNotFound(text="there is no such file")
        body, kind = self._page[name]
        return web.Response(body=body, content_type=kind, charset="utf-8")

    async def _metrics(self, request: web.Request) -> web.Response:
        assert self.doors is not None  # noqa: S101 - for the type checker
        text = render(self.station, self.guard, self.doors, self.streams)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _openapi(self, request: web.Request) -> web.Response:
        return web.json_response(openapi())


async def run_server(options: ServeOptions, *, on_start: Callable[[Server], None]) -> int:
    """Serve until SIGINT, SIGTERM or SIGHUP, and give its number.

    Args:
        options: of the server.
        on_start: called once it listens.
    """
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(number: int) -> None:
        if not stopped.done():
            stopped.set_result(number)

    server = Server(options)
    await server.start()
    try:
        # only the main thread may handle signals; on Windows no loop does, and Ctrl-C ends asyncio.run itself
        if threading.current_thread() is threading.main_thread():
            for number in _STOPPED_BY:
                with suppress(NotImplementedError):
                    loop.add_signal_handler(number, stop, number)
        on_start(server)
        number = await stopped
        _log.info("stopping after signal %d", number)
        return number
    finally:
        await server.close()


def _load_page() -> dict[str, tuple[bytes, str]]:
    """File name -> content and type. Only these files are ever served."""
    folder = files("onlinetada.trackers.serve") / "page"
    return {f.name: (f.read_bytes(), _type(f.name)) for f in folder.iterdir() if f.name.endswith(tuple(_TYPES))}


def _type(name: str) -> str:
    return next(kind for suffix, kind in _TYPES.items() if name.endswith(suffix))
