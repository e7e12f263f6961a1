"""A made-up camera, a server as users start it, and a client of its documented interface, for ``bench_serve.py``."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import numpy as np

from onlinetada.trackers.io.camera_server import CameraServer
from onlinetada.trackers.io.synthetic import moving_target

_BITS, _BLOCK = 40, 8  # the time of its taking is drawn into every picture: milliseconds, a block a bit
TOKEN = "a token for measurements only"  # noqa: S105
Row = dict[str, Any]


# --- the camera, in a process of its own


def stamped(image: np.ndarray) -> np.ndarray:
    """The picture with the present time, from a clock that all processes share, in its first rows."""
    now_ms = int(time.monotonic() * 1000)
    image = image.copy()
    for bit in range(_BITS):
        image[:_BLOCK, bit * _BLOCK : (bit + 1) * _BLOCK] = 255 if now_ms >> bit & 1 else 0
    return image


def read_stamp(image: np.ndarray) -> float:
    """The time of a stamped picture in seconds."""
    middle = image[_BLOCK // 2, _BLOCK // 2 : _BITS * _BLOCK : _BLOCK, 0] > 127
    return float(sum(1 << bit for bit in range(_BITS) if middle[bit])) / 1000


def film(pipe: Connection, width: int, height: int, fps: float) -> None:
    """Run a camera that obeys: start, stop, stall, go, where (is the target), end."""
    scenes = list(moving_target(180, width=width, height=height))
    scenes += scenes[-2:0:-1]  # there and back: the target never jumps
    camera = CameraServer(lambda index: stamped(scenes[index % len(scenes)][0]), fps=fps)
    pipe.send(camera.url)
    while (word := pipe.recv()) != "end":
        if word == "where":
            pipe.send(list(scenes[camera.index % len(scenes)][1]))
            continue
        if word in ("start", "stop"):
            getattr(camera, word)()
        else:
            camera.stalled = word == "stall"
        pipe.send(time.monotonic())
    camera.close()


class Camera:
    """The camera seen from here."""

    def __init__(self, width: int, height: int, fps: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=film, args=(other, width, height, fps), daemon=True)
        self._process.start()
        self.url: str = self._pipe.recv()

    def tell(self, word: str) -> float:
        """Have it do something, and give the time when it was done."""
        self._pipe.send(word)
        return float(self._pipe.recv())

    def where(self) -> list[float]:
        """The box of the target on the newest picture."""
        self._pipe.send("where")
        box: list[float] = self._pipe.recv()
        return box

    def close(self) -> None:
        """End it."""
        self._pipe.send("end")
        self._process.join(10)


# --- the server


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """``onlinetada serve`` with a token; gives its address, and sees that SIGTERM ends it with status 0."""
    command = [str(Path(sysconfig.get_path("scripts")) / "onlinetada")]
    environment = {**os.environ, "ONLINETADATOKEN": TOKEN}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([*command, "serve", *arguments, "--port", "0"], env=environment, stderr=log)
        try:
            yield _address(process, log)
            process.send_signal(signal.SIGTERM)
            if process.wait(60) != 0:
                raise SystemExit(f"the server ended with {process.returncode}")
        finally:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Any) -> str:
    while process.poll() is None:
        log.seek(0)
        if match := re.search(r"listening on (http://\S+)/", log.read()):
            return match[1]
        time.sleep(0.1)
    raise SystemExit("the server did not start")


@contextlib.asynccontextmanager
async def client(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that shows the token."""
    async with aiohttp.ClientSession(address, headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        yield session


async def reports(session: aiohttp.ClientSession) -> AsyncIterator[tuple[float, Row]]:
    """The objects of the WebSocket with the times when they came."""
    async with session.ws_connect("/ws") as socket:
        async for message in socket:
            yield time.monotonic(), json.loads(message.data)


async def pictures(session: aiohttp.ClientSession) -> AsyncIterator[tuple[float, int, np.ndarray]]:
    """The pictures of the stream: when each came, which frame it is, (H, W, 3)."""
    async with session.get("/stream.mjpg", timeout=aiohttp.ClientTimeout(total=None)) as answer:
        while head := await answer.content.readuntil(b"\r\n\r\n"):
            size, index = (int(_found(rb"%b: (\d+)" % name, head)) for name in (b"Length", b"Frame-Index"))
            data = await answer.content.readexactly(size)
            came_s = time.monotonic()
            await answer.content.readexactly(2)
            yield came_s, index, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def _found(pattern: bytes, text: bytes) -> bytes:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"no {pattern!r} in {text!r}")
    return match[1]


async def metrics(session: aiohttp.ClientSession) -> dict[str, float]:
    """Metric with labels -> value."""
    async with session.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


async def follow(session: aiohttp.ClientSession, camera: Camera) -> int:
    """Begin to follow the target where it is, once there are frames."""
    async for _ in reports(session):
        break
    async with session.post("/api/targets", json={"box": camera.where()}) as answer:
        return int((await answer.json())["id"])
