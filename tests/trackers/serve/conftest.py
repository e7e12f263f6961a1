"""A server in the test's own process or in one of its own, and a browser that is driven over its debugging protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

aiohttp = pytest.importorskip("aiohttp", reason="needs the extra [web]")

import torch  # noqa: E402

from onlinetada.trackers.serve.app import Server  # noqa: E402
from onlinetada.trackers.serve.feed import Feed  # noqa: E402
from onlinetada.trackers.serve.options import ServeOptions, SourceOptions  # noqa: E402

PATIENCE_S = 120.0  # for anything to happen, on a machine with better things to do


def until(what: Callable[[], Any], *, patience_s: float = PATIENCE_S, every_s: float = 0.05) -> Any:
    """Wait until something is true, and give it."""
    end_s = time.monotonic() + patience_s
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end_s:
            raise AssertionError(f"waited {patience_s} s in vain; the last answer was {value!r}")
        time.sleep(every_s)


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    """Wait until something is true."""
    return until


class Client:
    """Asks a server over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> tuple[int, Any]:
        """Status and body of an answer: JSON decoded, else bytes."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        request = urllib.request.Request(self.url + path, data, {**sent, **(headers or {})}, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
                status, kind, content = answer.status, answer.headers.get_content_type(), answer.read()
        except urllib.error.HTTPError as error:
            status, kind, content = error.code, error.headers.get_content_type(), error.read()
        return status, json.loads(content) if kind == "application/json" else content

    def get(self, path: str) -> Any:
        """The body of an answer that must be 200."""
        status, body = self.ask("GET", path)
        assert status == 200, (path, status, body)
        return body

    def source(self, name: str | None = None) -> Any:
        """The state of a source."""
        sources = self.get("/api/status")["sources"]
        return next(s for s in sources if name in (None, s["id"]))

    def metrics(self) -> dict[str, float]:
        """Metric with labels -> value."""
        lines = self.get("/metrics").decode().splitlines()
        return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}

    def frames(self, count: int, *, query: str = "") -> list[Any]:
        """The next objects of the WebSocket."""

        async def collect() -> list[Any]:
            async with aiohttp.ClientSession() as session, session.ws_connect(self.url + "/ws" + query) as socket:
                return [json.loads((await socket.receive(timeout=PATIENCE_S)).data) for _ in range(count)]

        return asyncio.run(collect())


class Process(Client):
    """``onlinetada serve`` as users start it."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        command = [str(Path(sysconfig.get_path("scripts")) / "onlinetada")]
        env = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
        self.process = subprocess.Popen(
            [*command, "serve", *arguments, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        self.log: list[str] = []
        self.lines: list[str] = []
        self._follow(self.process.stderr, self.log)
        self._follow(self.process.stdout, self.lines)
        super().__init__(until(self._address))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and give the exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def _address(self) -> str | None:
        assert self.process.poll() is None or self.log, "ended without a word"
        if self.process.poll() is not None:
            raise AssertionError("\n".join(self.log))
        return next((m[1] for line in list(self.log) if (m := re.search(r"listening on (http://\S+)", line))), None)

    @staticmethod
    def _follow(stream: Any, lines: list[str]) -> None:
        threading.Thread(target=lambda: [lines.append(line.rstrip("\n")) for line in stream], daemon=True).start()


@pytest.fixture
def serve() -> Iterator[Callable[..., Process]]:
    """Start servers; they end with the test."""
    started: list[Process] = []

    def start(*arguments: str, **options: Any) -> Process:
        started.append(Process(*arguments, **options))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait(10)


class Running(Client):
    """A server on a thread of this process."""

    def __init__(self, options: ServeOptions) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.server: Server = self.run(self._start(options))
        super().__init__(self.server.url)

    def run(self, work: Any) -> Any:
        """A coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def feed(self, name: str = "0") -> Feed:
        """A source with its tracker."""
        return self.server.station.channels[name].feed

    def close(self) -> None:
        """End it."""
        self.run(self.server.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    @staticmethod
    async def _start(options: ServeOptions) -> Server:
        server = Server(options)
        await server.start()
        return server


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    """Start servers in this process, of sources given as what is opened; they end with the test."""
    started: list[Running] = []

    def start(*specs: str | Path, fps: float | None = None, every_frame: bool = False, **options: Any) -> Running:
        torch.set_num_threads(1)
        sources = tuple(
            SourceOptions(str(i), str(spec), fps=fps, every_frame=every_frame) for i, spec in enumerate(specs)
        )
        started.append(Running(ServeOptions(sources, port=0, **options)))
        return started[-1]

    yield start
    for server in started:
        server.close()


class Navigated(Exception):
    """The page went away while it was asked."""


class Browser:
    """Chromium without a screen, over the DevTools protocol."""

    def __init__(self, program: str, folder: Path) -> None:
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
        options += ["--disable-extensions", "--disable-background-networking", "--remote-debugging-port=0"]
        self._process = subprocess.Popen(
            [program, *options, f"--user-data-dir={folder}", "about:blank"], stderr=subprocess.PIPE, text=True
        )
        lines: list[str] = []
        Process._follow(self._process.stderr, lines)
        address = until(lambda: next((m[1] for x in lines if (m := re.search(r"listening on ws://([^/]+)/", x))), None))
        pages = json.loads(urllib.request.urlopen(f"http://{address}/json", timeout=30).read())
        target = next(p["webSocketDebuggerUrl"] for p in pages if p["type"] == "page")
        self._session = self._run(self._open(target))

    async def _open(self, target: str) -> Any:
        self._http = aiohttp.ClientSession()
        return await self._http.ws_connect(target, max_msg_size=0)

    def _run(self, work: Any) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(work, PATIENCE_S))

    def call(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol."""

        async def exchange() -> Any:
            number = next(self._numbers)
            await self._session.send_json({"id": number, "method": method, "params": parameters})
            while True:
                answer = json.loads((await self._session.receive()).data)
                if answer.get("id") == number:
                    return answer

        answer = self._run(exchange())
        if "navigated" in str(answer.get("error")):
            raise Navigated
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, url: str, *, width: int = 1280, height: int = 800, touch: bool = False) -> None:
        """Go to a page, in a window of this size."""
        self.call("Page.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        self._width = width
        self.call("Page.navigate", url=url)

    def settle(self) -> None:
        """Wait until the page has its size and is drawn."""
        self.until(f"document.readyState === 'complete' && window.innerWidth === {self._width}")
        self.value("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => go(1))))")

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait until an expression is true."""
        plain = f"(() => {{ const v = ({expression}); return v instanceof Node ? true : v; }})()"

        def now() -> Any:
            try:
                return self.value(plain)
            except Navigated:
                return None

        return until(now)

    def drag(self, start: tuple[float, float], end: tuple[float, float], *, touch: bool = False) -> None:
        """Press, move in a few steps, let go."""
        self.down(start, touch=touch)
        for step in range(1, 6):
            share = step / 5
            self.move((start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share), touch=touch)
        self.up(end, touch=touch)

    def down(self, at: tuple[float, float], *, touch: bool = False) -> None:
        """Press the mouse or a finger."""
        x, y = at
        if touch:
            self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
            return
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", buttons=1, clickCount=1)

    def move(self, at: tuple[float, float], *, touch: bool = False) -> None:
        """Move what is pressed."""
        x, y = at
        if touch:
            self.call("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{"x": x, "y": y}])
        else:
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left", buttons=1)

    def up(self, at: tuple[float, float], *, touch: bool = False) -> None:
        """Let go."""
        x, y = at
        if touch:
            self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        else:
            self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        x, y = self.value(
            f"(() => {{ const r = document.querySelector({selector!r}).getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        self.drag((x, y), (x, y))

    def press(self, key: str) -> None:
        """Type a key."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)
        self._run(self._http.close())
        self._loop.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser, where there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next((p for p in map(shutil.which, names) if p), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    browser = Browser(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A video of 200 frames with a target whose boxes are known."""
    from onlinetada.trackers.io.synthetic import write_video

    path = tmp_path_factory.mktemp("footage") / "target.mkv"
    return path, write_video(path, frames=200, width=320, height=240)
