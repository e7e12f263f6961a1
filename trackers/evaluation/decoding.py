"""Reading frames ahead of the tracker, in a thread of its own, with its time counted apart."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import cv2

from onlinetada.errors import InputError
from onlinetada.trackers.result import Image

_AHEAD = 4  # frames: enough to hide one slow file, little memory


@dataclass(frozen=True)
class DecodedFrame:
    """A picture, BGR uint8 (H, W, 3), and how long it took to read and decode."""

    image: Image
    decode_s: float


def read_frame(path: Path) -> DecodedFrame:
    """Decode one file.

    Raises:
        InputError: it is missing or no image.
    """
    start = perf_counter()
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path}: {'cannot be decoded' if path.exists() else 'no such file'}")
    return DecodedFrame(image, perf_counter() - start)


def read_ahead(paths: Sequence[Path], *, ahead: int = _AHEAD) -> Generator[DecodedFrame, None, None]:
    """The frames in order. Close the generator to stop the thread early.

    Raises:
        InputError: at the frame that cannot be read.
    """
    ready: queue.Queue[DecodedFrame | Exception | None] = queue.Queue(maxsize=ahead)
    stop = threading.Event()

    def put(item: DecodedFrame | Exception | None) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def decode() -> None:
        try:
            for path in paths:
                if stop.is_set():
                    return
                put(read_frame(path))
            put(None)
        except Exception as error:
            put(error)

    thread = threading.Thread(target=decode, name="decode", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
