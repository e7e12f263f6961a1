"""Around every request: admission, patience, errors as one line of JSON, and the security headers."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from aiohttp import web

from onlinetada.errors import InputError
from onlinetada.trackers.serve.access import SECURITY_HEADERS, Access
from onlinetada.trackers.serve.door import Door
from onlinetada.trackers.serve.mailbox import Busy

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OPEN_PATHS = frozenset({"/", "/healthz", "/login", "/favicon.ico", "/static/style.css"})
_log = logging.getLogger("onlinetada.serve")


class Guard:
    """Middleware.

    Args:
        access: who may ask.

    Attributes:
        refused: HTTP status -> how many requests were refused with it.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self.refused: Counter[int] = Counter()

    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request or refuse it."""
        door = request.transport.get_protocol() if request.transport is not None else None
        if not isinstance(door, Door):
            return await self._answer(request, handler)
        too_soon_s = door.begin()
        try:
            await asyncio.sleep(too_soon_s)  # a connection that floods waits; the others do not
            return await self._answer(request, handler)
        finally:
            door.end()

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self.access.check_place(request)
            if request.path not in OPEN_PATHS and not self.access.knows(request):
                raise web.HTTPUnauthorized(
                    text="show the token: Authorization: Bearer T", headers={"WWW-Authenticate": "Bearer"}
                )
            return await handler(request)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            return self._refusal(request, error)

    def _refusal(self, request: web.Request, error: Exception) -> web.StreamResponse:
        if isinstance(error, web.HTTPException):
            if error.status < 400:
                raise error
            response = problem(error.status, error.text or error.reason)
            for name in ("Allow", "WWW-Authenticate", "Retry-After"):
                if name in error.headers:
                    response.headers[name] = error.headers[name]
        elif isinstance(error, InputError):
            response = problem(400, str(error))
        elif isinstance(error, (Busy, asyncio.TimeoutError)):
            response = problem(503, "busy, or no frame has come yet: try again in a moment")
            response.headers["Retry-After"] = "1"
        elif isinstance(error, ConnectionError):
            raise error
        else:
            _log.error("%s %s failed", request.method, request.path, exc_info=error)
            response = problem(500, f"{type(error).__name__}: see the server's log")
        self.refused[response.status] += 1
        return response


def problem(status: int, text: str) -> web.Response:
    """An error as JSON."""
    return web.json_response({"error": text}, status=status)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Security headers on every answer; a signal handler of the application."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
