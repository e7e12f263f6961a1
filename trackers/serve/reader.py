"""Keeps a source open for days: opens it, plays it at its speed, and opens it again whenever it ends or fails."""

from __future__ import annotations

import logging
import threading
from typing import Literal

from onlinetada.errors import InputError
from onlinetada.trackers.io.clock import now_s
from onlinetada.trackers.io.frames import Frame, Notify, Source
from onlinetada.trackers.io.live import Reconnect
from onlinetada.trackers.io.sources import is_live, open_source
from onlinetada.trackers.serve.mailbox import Mailbox, Shot
from onlinetada.trackers.serve.options import SourceOptions

_PATIENCE = Reconnect(first_wait_s=0.5, longest_wait_s=2.0, give_up_s=20.0)  # then it is opened anew, without end
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 5.0
_STALLED_S = 2.0
_log = logging.getLogger("onlinetada.serve")

Status = Literal["connecting", "live", "stalled", "failed", "ended"]


class Reader:
    """Reads one source on a thread of its own into a mailbox.

    Args:
        options: the source.
        mailbox: that gets the frames.
        notify: told what a user should know.

    Attributes:
        problem: why the source cannot be opened; empty while it can.
        opened: how often it was opened.
        frames: how many came in.
    """

    def __init__(self, options: SourceOptions, mailbox: Mailbox, notify: Notify) -> None:
        self.live = is_live(options.spec)
        self.problem = ""
        self.opened = self.frames = 0
        self.nominal_fps: float | None = None
        self._options, self._mailbox, self._notify = options, mailbox, notify
        self._stop = threading.Event()
        self._source: Source | None = None
        self._dropped = 0
        self._heard_s: float | None = None
        self._ended = False
        self._index_base = self._loop = 0
        self._stamp_base_s = self._next_base_s = 0.0
        self._thread = threading.Thread(target=self._run, name=f"read {options.id}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop. Does not wait for a driver that hangs."""
        self._stop.set()
        source = self._source
        if source is not None and source.live:  # its reader waits inside; a file's reader looks at the event itself
            source.close()
        self._thread.join(timeout=3.0)

    @property
    def status(self) -> Status:
        """How the source is."""
        if self._ended:
            return "ended"
        if self._heard_s is None:
            return "failed" if self.problem else "connecting"
        if now_s() - self._heard_s > _STALLED_S:
            return "failed" if self.problem else "stalled"
        return "live"

    @property
    def dropped(self) -> int:
        """Frames that newer ones replaced."""
        source = self._source
        return self._dropped + (source.dropped if source is not None else 0) + self._mailbox.replaced

    def _run(self) -> None:
        wait_s = _FIRST_WAIT_S
        while not self._stop.is_set():
            before = self.frames
            try:
                self._read_once()
            except InputError as error:
                self._fail(str(error))
            except Exception as error:  # whatever a driver does, the source is tried again
                _log.exception("source %s: reading failed", self._options.id)
                self._fail(f"{type(error).__name__}: {error}")
            came = self.frames > before
            if not self.live and came and not self._stop.is_set():
                if not self._options.loop:
                    self._end()
                    return
                self._loop += 1
                continue
            wait_s = _FIRST_WAIT_S if came else min(2 * wait_s, _LONGEST_WAIT_S)
            self._stop.wait(wait_s)

    def _fail(self, problem: str) -> None:
        if problem != self.problem:
            self._notify(f"{problem}; trying again")
        self.problem = problem

    def _end(self) -> None:
        self._ended = True
        self._notify(f"{self._options.label} has ended")

    def _read_once(self) -> None:
        options = self._options
        fps = None if self.live else options.fps
        source = open_source(options.spec, fps=fps, reconnect=_PATIENCE, on_notice=self._notify, one_size=False)
        self._source = source
        try:
            if self.problem:
                self._notify(f"{options.label}: opened")
            self.problem = ""
            self.opened += 1
            self.nominal_fps = source.fps
            self._pass_on_live(source) if self.live else self._play(source)
        finally:
            self._source = None
            self._dropped += source.dropped
            source.close()

    def _pass_on_live(self, source: Source) -> None:
        base = self._index_base
        for frame in source:
            if self._stop.is_set():
                return
            self._index_base = base + frame.index + 1
            self._put(Frame(frame.image, base + frame.index, frame.timestamp_s), frame.timestamp_s)

    def _play(self, source: Source) -> None:
        """Frames at the file's own pace. A reader that comes late does not hurry: the pace begins anew."""
        fps = source.fps or 30.0
        began_s, first_s = now_s(), None
        self._stamp_base_s = self._next_base_s
        for frame in source:
            at_s = frame.index / fps if self._options.fps else frame.timestamp_s
            first_s = at_s if first_s is None else first_s
            late_s = now_s() - (began_s + at_s - first_s)
            if late_s > 1.0:
                began_s += late_s
            elif self._stop.wait(max(0.0, -late_s)):
                return
            stamp_s = self._stamp_base_s + at_s - first_s
            self._put(Frame(frame.image, frame.index, stamp_s), now_s())
            if self._stop.is_set():
                return
            self._next_base_s = stamp_s + 1 / fps
        self._stop.wait(1 / fps)

    def _put(self, frame: Frame, captured_s: float) -> None:
        self.frames += 1
        self._heard_s = now_s()
        self._mailbox.put(Shot(frame, captured_s, self._loop), wait=self._options.every_frame and not self.live)
