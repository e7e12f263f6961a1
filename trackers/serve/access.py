"""Who may ask: the token, the Host and Origin of requests, and the headers of every answer."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from urllib.parse import urlsplit

from aiohttp import web

from onlinetada.errors import InputError
from onlinetada.trackers.serve.options import ServeOptions

_SHORT_TOKEN = 16
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # "no-referrer" would take the Origin out of the page's own form
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Access:
    """Decides whether a request is answered.

    Args:
        options: token, host and further origins.

    Raises:
        InputError: other machines could connect, and there is no token.
    """

    def __init__(self, options: ServeOptions) -> None:
        if not is_loopback(options.host) and not options.token:
            raise InputError(
                f"--host {options.host} lets other machines connect: give a token with --token T or ONLINETADA_TOKEN "
                "(openssl rand -hex 16 makes one)"
            )
        self._token = options.token
        self._cookie = hmac.new(options.token.encode(), b"onlinetada page", hashlib.sha256).hexdigest()
        self._origins = frozenset(options.origins)
        named = {urlsplit(origin).hostname for origin in options.origins}
        self._hosts = frozenset({"localhost", options.host.lower().strip("[]")} | {h for h in named if h})

    @property
    def asks_token(self) -> bool:
        """Whether there is a token."""
        return bool(self._token)

    @property
    def is_short(self) -> bool:
        """Whether the token could be guessed."""
        return self.asks_token and len(self._token) < _SHORT_TOKEN

    def cookie_name(self, request: web.Request) -> str:
        """Cookies are shared by all ports of a host, so the name has the port in it."""
        return f"onlinetada_{(request.url.port or 80)}"

    def set_cookie(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let a browser that has shown the token come back without it. The cookie does not hold the token."""
        secure = request.secure
        response.set_cookie(
            self.cookie_name(request), self._cookie, httponly=True, samesite="Strict", secure=secure, path="/"
        )

    def check_place(self, request: web.Request) -> None:
        """Refuse what another web site has a browser ask.

        Raises:
            web.HTTPForbidden: unknown Host (DNS rebinding), another Origin, or a cross-site request without one.
        """
        host = _host_name(request.host)
        if not self.asks_token and not (host in self._hosts or _is_loopback_address(host)):
            raise web.HTTPForbidden(text=f"this server is not {request.host!r}")
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self._origins:
            parts = urlsplit(origin)
            if parts.scheme != request.scheme or parts.netloc.lower() != request.host.lower():
                raise web.HTTPForbidden(text="pages of another origin may not use this server")
        navigates = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method == "GET"
        site = request.headers.get("Sec-Fetch-Site", "none")
        if origin is None and site not in ("none", "same-origin") and not (navigates and request.path == "/"):
            raise web.HTTPForbidden(text="pages of another site may not use this server")

    def knows(self, request: web.Request) -> bool:
        """Whether the request shows the token: as a bearer, in the query, or by the cookie that it was changed for."""
        if not self.asks_token:
            return True
        kind, _, bearer = request.headers.get("Authorization", "").partition(" ")
        shown = bearer.strip() if kind.lower() == "bearer" else request.query.get("token", "")
        return self.is_token(shown) or _same(request.cookies.get(self.cookie_name(request), ""), self._cookie)

    def is_token(self, shown: str) -> bool:
        """Compare with the token, in a time that does not tell how much was right."""
        return self.asks_token and _same(shown, self._token)


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can connect there."""
    return host.lower() == "localhost" or _is_loopback_address(host.strip("[]"))


def _is_loopback_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _same(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), wanted.encode("utf-8", "surrogateescape"))
