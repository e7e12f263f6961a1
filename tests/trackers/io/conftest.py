"""Media and loopback servers that the tests of sources and sinks make for themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

LEVELS = 12  # a frame's grey value names it, far enough apart for a lossy codec


def numbered(index: int, size: tuple[int, int] = (64, 48)) -> npt.NDArray[np.uint8]:
    """A flat image of (width, height) whose value is the frame's number times 20."""
    return np.full((size[1], size[0], 3), index % LEVELS * 20, np.uint8)


@pytest.fixture
def encode() -> Callable[[npt.NDArray[np.uint8]], bytes]:
    """Image to JPEG."""
    return lambda image: cv2.imencode(".jpg", image)[1].tobytes()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """10 numbered frames at 20 fps."""
    path = tmp_path / "numbers.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, (64, 48))
    for index in range(10):
        writer.write(numbered(index))
    writer.release()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images 1.png to 11.png, which only a natural order sorts right."""
    place = tmp_path / "pictures"
    place.mkdir()
    for index in range(11):
        cv2.imwrite(str(place / f"{index + 1}.png"), numbered(index))
    return place


class CameraServer:
    """An MJPEG camera on loopback. ``parts`` gives the JPEGs of each connection; it may pause, break off or lie."""

    def __init__(self, parts: Callable[[int], Iterator[bytes]], port: int = 0) -> None:
        server = self
        self.connections = 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                number, server.connections = server.connections, server.connections + 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    for part in parts(number):
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(part)}\r\n\r\n"
                        self.wfile.write(head.encode() + part + b"\r\n")
                except OSError:
                    pass  # the reader has gone

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/live"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def camera() -> Iterator[Callable[..., CameraServer]]:
    """Start loopback cameras; they end with the test."""
    started: list[CameraServer] = []

    def start(parts: Callable[[int], Iterator[bytes]]) -> CameraServer:
        started.append(CameraServer(parts))
        return started[-1]

    yield start
    for server in started:
        server.close()
