"""A made-up network camera: Motion JPEG over HTTP on loopback, with the faults that real ones have."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket

import cv2
import numpy as np

from onlinetada.trackers.result import Image


class CameraServer:
    """Sends pictures at a steady rate to whoever connects; ``start`` again after ``stop`` keeps the port.

    Args:
        picture: number of a frame -> (H, W, 3) uint8 BGR. Frames are numbered as time goes on, watched or not.
        fps: pictures a second; may be changed while it runs.

    Attributes:
        stalled: keep the connections, send nothing.
        spoil: changes the bytes of a JPEG before it is sent.
        connections: how many there have been.
        sent_s: frame -> ``time.monotonic()`` when it was taken, of the last 1000.
    """

    def __init__(self, picture: Callable[[int], Image], *, fps: float = 30.0) -> None:
        self.picture, self.fps = picture, fps
        self.stalled = False
        self.spoil: Callable[[bytes], bytes] = lambda jpeg: jpeg
        self.connections = self.index = 0
        self.sent_s: dict[int, float] = {}
        self._port = 0
        self._jpeg = b""
        self._changed = threading.Condition()
        self._open: set[socket] = set()
        self._ended = False
        self._http: ThreadingHTTPServer | None = None
        threading.Thread(target=self._take_pictures, daemon=True).start()
        self.start()

    @property
    def url(self) -> str:
        """Where it can be reached."""
        return f"http://127.0.0.1:{self._port}/live"

    def start(self) -> None:
        """Listen."""
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera._serve(self)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = daemon_threads = True

        self._http = Server(("127.0.0.1", self._port), Handler)
        self._port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def cut(self) -> None:
        """Break off all connections."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)

    def stop(self) -> None:
        """Vanish: nobody can connect any more."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None
        self.cut()

    def close(self) -> None:
        """End it for good."""
        self.stop()
        self._ended = True

    def _take_pictures(self) -> None:
        due_s = time.monotonic()
        while not self._ended:
            if not self.stalled and self._open:
                jpeg = cv2.imencode(".jpg", self.picture(self.index), [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
                with self._changed:
                    self._jpeg = self.spoil(np.asarray(jpeg).tobytes())
                    self.sent_s[self.index] = time.monotonic()
                    self.sent_s.pop(self.index - 1000, None)
                    self.index += 1
                    self._changed.notify_all()
            due_s = max(due_s + 1 / self.fps, time.monotonic() - 1)
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        self.connections += 1
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        self._open.add(request.connection)
        last = self.index - 1
        try:
            while not self._ended and self._http is not None:
                with self._changed:
                    if self.index - 1 == last:
                        self._changed.wait(0.2)
                        continue
                    last, jpeg = self.index - 1, self._jpeg
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                request.wfile.write(head.encode() + jpeg + b"\r\n")
        except OSError:
            pass  # the other side has gone
        finally:
            self._open.discard(request.connection)
