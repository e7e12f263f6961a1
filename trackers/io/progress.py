"""How fast it goes, while it goes."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TextIO

_EVERY_S = 0.25
_RECENT = 1000


class Progress:
    """Counts frames and latencies, and keeps one line of a terminal up to date. Constant memory.

    Args:
        stream: where the line goes, standard error without it.
        shown: whether the line is shown; by default where the stream is a terminal.
    """

    def __init__(self, *, stream: TextIO | None = None, shown: bool | None = None) -> None:
        self._total: int | None = None
        self._stream = sys.stderr if stream is None else stream
        self.shown = self._stream.isatty() if shown is None else shown
        self.frames = 0
        self._latencies_ms: deque[float] = deque(maxlen=_RECENT)
        self._began_s = self._last_s = self._shown_s = time.monotonic()
        self._window: deque[float] = deque(maxlen=64)
        self._width = 0

    def expect(self, total: int | None) -> None:
        """Say how many frames there will be, where that is known."""
        self._total = total

    def update(self, latency_ms: float, *, note: str = "") -> None:
        """Count a frame.

        Args:
            latency_ms: what the tracker took for it.
            note: shown at the end of the line.
        """
        now_s = time.monotonic()
        if self.frames == 0:  # loading the model is no part of the speed
            self._began_s = self._shown_s = now_s
        self._last_s = now_s
        self.frames += 1
        self._latencies_ms.append(latency_ms)
        self._window.append(now_s)
        if self.shown and now_s - self._shown_s >= _EVERY_S:
            self._shown_s = now_s
            of = f"/{self._total}" if self._total else ""
            self._show(f"frame {self.frames}{of}  {self._recent_fps():.1f} fps  {latency_ms:.1f} ms  {note}")

    def line(self, text: str) -> None:
        """Print a line of text above the progress line."""
        self._show("")
        print(text, file=self._stream, flush=True)

    def finish(self) -> None:
        """Take the progress line away."""
        if self.shown:
            self._show("")

    @property
    def fps(self) -> float:
        """Frames a second from the first frame to the last, reading and writing included."""
        elapsed_s = self._last_s - self._began_s
        return (self.frames - 1) / elapsed_s if elapsed_s > 0 else 0.0

    def latency_ms(self, share: float) -> float:
        """Latency that this share (0.5: the median) of the last 1000 frames stayed below."""
        ordered = sorted(self._latencies_ms)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0

    def _recent_fps(self) -> float:
        span_s = self._window[-1] - self._window[0]
        return (len(self._window) - 1) / span_s if span_s > 0 else 0.0

    def _show(self, text: str) -> None:
        if self.shown:
            self._stream.write("\r" + text.ljust(self._width) + ("\r" if not text else ""))
            self._stream.flush()
            self._width = len(text)
