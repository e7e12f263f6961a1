"""Reports to other programs: JSON lines over UDP and on standard output."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Any

from onlinetada.errors import InputError
from onlinetada.trackers.io.frames import Frame
from onlinetada.trackers.serve.report import Report

_WAITING = 256  # lines that a slow reader of standard output may be behind


class UdpRelay:
    """Sends every report as a datagram that holds one JSON line. Nobody need listen.

    Attributes:
        failed: datagrams that the system did not take.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        """Resolve the address.

        Raises:
            InputError: there is no such host.
        """
        self.failed = 0
        try:
            found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
        except (OSError, UnicodeError) as error:
            raise InputError(f"--udp {address[0]}:{address[1]}: {error}") from None
        self._to: Any = found[4]
        self._socket = socket.socket(*found[:3])
        self._socket.setblocking(False)

    def take(self, frame: Frame, report: Report) -> None:
        """Send a report."""
        try:
            self._socket.sendto(report.as_json().encode() + b"\n", self._to)
        except OSError:  # full, refused, unreachable: the next one may arrive
            self.failed += 1

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


class StdoutRelay:
    """Writes every report as a line to standard output, on a thread: a reader that stops holds up nobody.

    Attributes:
        dropped: lines that the reader was too slow for.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._lines: deque[str] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="stdout", daemon=True)
        self._thread.start()

    def take(self, frame: Frame, report: Report) -> None:
        """Queue a report."""
        with self._changed:
            if self._closed:
                return
            if len(self._lines) >= _WAITING:
                self._lines.popleft()
                self.dropped += 1
            self._lines.append(report.as_json() + "\n")
            self._changed.notify_all()

    def close(self) -> None:
        """Write what waits, where the reader takes it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        try:
            while (lines := self._next()) is not None:
                sys.stdout.write(lines)
                sys.stdout.flush()
        except (BrokenPipeError, ValueError):  # nobody reads any more
            with self._changed:
                self._closed = True
                self._lines.clear()
            with suppress(OSError, ValueError):  # the interpreter would complain when it flushes at its end
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _next(self) -> str | None:
        with self._changed:
            while not self._lines and not self._closed:
                self._changed.wait()
            lines = "".join(self._lines)
            self._lines.clear()
            return lines or None


def parse_udp(text: str) -> tuple[str, int]:
    """``host:port``, ``[::1]:port``.

    Raises:
        InputError: it is neither.
    """
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdigit() and 0 < int(port) < 65536):
        raise InputError(f"--udp {text!r}: give HOST:PORT, for example --udp 127.0.0.1:5005")
    return host.strip("[]"), int(port)
