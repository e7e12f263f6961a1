"""Sharing work through a folder: whoever creates a sequence's claim file first runs it.

Works between processes and, on a shared file system, between machines. A claim is renewed while its owner lives; one
whose owner died is broken by the next who looks.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path

from onlinetada.trackers.evaluation.boxfiles import is_alive

RENEW_S = 5.0
STALE_S = 60.0


class Claims:
    """Claims in one folder, renewed by a thread while they are held. Leaving the ``with`` block gives them up.

    Args:
        folder: made when it is needed.
        stale_s: a claim that was not renewed for so long has no owner any more.
    """

    def __init__(self, folder: Path, *, stale_s: float = STALE_S) -> None:
        self.folder = folder
        self.stale_s = stale_s
        self._held: set[str] = set()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._held):
            self.release(name)
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def take(self, name: str) -> bool:
        """Claim ``name``; false while somebody else has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(name)
        for _ in range(2):
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                if not self._break(path):
                    return False
                continue
            with os.fdopen(handle, "w") as file:
                json.dump({"host": socket.gethostname(), "pid": os.getpid()}, file)
            self._hold(name)
            return True
        return False

    def release(self, name: str) -> None:
        """Give up a claim of one's own."""
        self._held.discard(name)
        self._path(name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the folder if no claim is left in it."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _hold(self, name: str) -> None:
        self._held.add(name)
        if self._thread is None:
            self._thread = threading.Thread(target=self._renew, name="renew claims", daemon=True)
            self._thread.start()

    def _renew(self) -> None:
        while not self._closed.wait(RENEW_S):
            for name in list(self._held):
                with contextlib.suppress(OSError):
                    os.utime(self._path(name))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.claim"

    def _break(self, path: Path) -> bool:
        """Remove a claim whose owner is gone. Of several that try, one succeeds; the others may try to claim, too."""
        try:
            age = time.time() - path.stat().st_mtime
            text = path.read_text()
        except FileNotFoundError:
            return True
        if not text:  # killed between making and writing it, unless it is being written now
            gone = age > RENEW_S
        else:
            owner = json.loads(text)
            gone = age > self.stale_s or (owner["host"] == socket.gethostname() and not is_alive(owner["pid"]))
        if not gone:
            return False
        aside = path.with_suffix(f".{uuid.uuid4().hex}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, aside)
            aside.unlink()
        return True
