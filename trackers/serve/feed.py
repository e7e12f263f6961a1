"""One source with its tracker: frames in, reports and pictures out, commands between frames, restarts after crashes."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from onlinetada.errors import InputError
from onlinetada.trackers.io.clock import now_s
from onlinetada.trackers.io.frames import Frame, scaled
from onlinetada.trackers.io.targets import Follower, Targets
from onlinetada.trackers.result import Box, TrackResult
from onlinetada.trackers.serve.allowance import Allowance
from onlinetada.trackers.serve.mailbox import Busy, Command, Mailbox, Shot
from onlinetada.trackers.serve.options import Limits, SourceOptions
from onlinetada.trackers.serve.reader import Reader
from onlinetada.trackers.serve.report import Report
from onlinetada.trackers.serve.scout import Album, catch_up
from onlinetada.trackers.serve.stats import FeedStats

_log = logging.getLogger("onlinetada.serve")
_NOTICES = 50
_NOTES_AT_ONCE, _NOTES_PER_S = 30, 0.5
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 5.0
_HEALTHY_S = 30.0  # a tracker that ran this long before it crashed is restarted with the shortest pause again
_CRASHES = 3  # in a row after which the targets are suspected and given up

Listener = Callable[[Frame, Report], None]


class Feed:
    """Follows targets in one source, on a thread of its own, for as long as it is left to.

    Args:
        options: the source.
        build: makes a tracker; again after a crash.
        number: gives a number that no target had.
        limits: on targets and commands.
        album: the pictures that people draw on.
        listeners: called with every tracked frame, on the tracker's thread; they must not block.

    Attributes:
        notices: what a user should know, newest last: (Unix time, text).
        report: of the last frame.
    """

    def __init__(
        self,
        options: SourceOptions,
        build: Callable[[], Follower],
        number: Callable[[], int],
        *,
        limits: Limits,
        album: Album,
        listeners: Iterable[Listener] = (),
    ) -> None:
        self.options, self.stats = options, FeedStats()
        self.notices: deque[tuple[float, str]] = deque(maxlen=_NOTICES)
        self.report: Report | None = None
        self.frame: Frame | None = None
        self.beat_s = now_s()
        self.mailbox = Mailbox(limits.commands)
        self.reader = Reader(options, self.mailbox, self.note)
        self._build, self._number, self._limits, self._album = build, number, limits, album
        self._listeners = tuple(listeners)
        self._targets: Targets | None = None
        self._scout: Follower | None = None
        self._after_crash: dict[int, Box] = {}
        self._loop = 0
        self._odd_size: tuple[int, int] | None = None
        self._notes = Allowance(_NOTES_AT_ONCE, _NOTES_PER_S)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"track {options.id}", daemon=True)

    def start(self) -> None:
        """Begin to read and to track."""
        self._thread.start()
        self.reader.start()

    def close(self) -> None:
        """End both threads."""
        self._stop.set()
        self.mailbox.close()
        self.reader.close()
        self._thread.join(timeout=5.0)

    def note(self, text: str) -> None:
        """Tell people something, in the log and on the page."""
        if not self._notes.take(now_s()):
            return  # what happens many times a second must not fill the log
        self.notices.append((time.time(), text))
        _log.warning("source %s: %s", self.options.id, text)

    @property
    def results(self) -> dict[int, TrackResult]:
        """The targets as of the last frame."""
        targets = self._targets
        return dict(targets.results) if targets is not None else {}

    def add(self, box: Box, frame_index: int | None) -> Future[tuple[int, int]]:
        """Begin to follow a target; gives its number and the frame that it began on.

        Args:
            box: x, y, width, height in pixels of the frame.
            frame_index: the frame that the box was drawn on; None, or one that is no longer known: the newest.

        Raises:
            Busy: too much is asked for at once.
        """
        return self.mailbox.ask(lambda: self._add(box, frame_index))

    def move(self, number: int, box: Box, frame_index: int | None) -> Future[tuple[int, int]]:
        """Begin a target anew with another box."""
        return self.mailbox.ask(lambda: self._move(number, box, frame_index))

    def remove(self, number: int) -> Future[None]:
        """Follow a target no more."""
        return self.mailbox.ask(lambda: self._remove(number))

    # From here on, everything runs on the tracker's thread.

    def _run(self) -> None:
        wait_s, crashes = _FIRST_WAIT_S, 0
        while not self._stop.is_set():
            began_s = now_s()
            try:
                self._track()
            except Exception as error:
                _log.exception("source %s: the tracker crashed", self.options.id)
                crashes = 1 if now_s() - began_s > _HEALTHY_S else crashes + 1
                wait_s = _FIRST_WAIT_S if crashes == 1 else min(2 * wait_s, _LONGEST_WAIT_S)
                self._bury(error, give_up=crashes >= _CRASHES)
                self._stop.wait(wait_s)

    def _bury(self, error: Exception, *, give_up: bool) -> None:
        """After a crash: keep what can go on from where it was last seen, and say so."""
        self.stats.restarts += 1
        seen = {number: r.box_xywh for number, r in self.results.items() if r.state != "lost"} | self._after_crash
        gone = sorted(set(self.results) - set(seen)) if not give_up else sorted(set(self.results) | set(seen))
        self._after_crash = {} if give_up else seen
        self._targets = self._scout = None
        ended = f"; target(s) {', '.join(map(str, gone))} ended" if gone else ""
        self.note(f"the tracker crashed and is started again ({type(error).__name__}: {error}){ended}")

    def _track(self) -> None:
        follower, self._scout = self._build(), self._build()
        self._targets = targets = Targets(follower)
        while not self._stop.is_set():
            shot, commands = self.mailbox.take(1.0)
            self.beat_s = now_s()
            for command, future in commands:
                _answer(command, future)
            if shot is not None:
                self._take(targets, shot)

    def _take(self, targets: Targets, shot: Shot) -> None:
        before: dict[int, str] = {number: r.state for number, r in targets.results.items()}
        frame = self._fitted(shot.frame, bool(before) or bool(self._after_crash))
        results = targets.update(frame)
        if self._after_crash:
            self._revive(targets, frame)
        self._loop, self.frame = shot.loop, frame
        delay_ms = (now_s() - shot.captured_s) * 1000
        self.stats.count(delay_ms, max((r.latency_ms for r in results.values()), default=None))
        self._count_changes(before, results)
        self._publish(frame, delay_ms)

    def _publish(self, frame: Frame, delay_ms: float) -> None:
        height, width = frame.image.shape[:2]
        self.report = report = Report(
            source=self.options.id,
            frame_index=frame.index,
            timestamp_s=frame.timestamp_s,
            loop=self._loop,
            width=width,
            height=height,
            results=self.results,
            delay_ms=delay_ms,
            fps=self.stats.fps,
            dropped=self.reader.dropped,
        )
        for listener in self._listeners:
            listener(frame, report)

    def _fitted(self, frame: Frame, has_targets: bool) -> Frame:
        """While there are targets, frames keep their size, whatever the source does, so that boxes keep theirs."""
        last = self.report
        size = (frame.image.shape[1], frame.image.shape[0])
        if last is None or size == (last.width, last.height):
            if last is not None and self._odd_size is not None:
                self.note(f"pictures are {size[0]}x{size[1]} again")
            self._odd_size = None
            return frame
        if has_targets:
            if size != self._odd_size:
                self.note(f"pictures are {size[0]}x{size[1]} now: scaled to {last.width}x{last.height} for the targets")
            self._odd_size = size
            return scaled(frame, (last.width, last.height))
        self.note(f"pictures are {size[0]}x{size[1]} now")
        self._odd_size = None
        return frame

    def _count_changes(self, before: dict[int, str], results: dict[int, TrackResult]) -> None:
        for number, result in results.items():
            was = before.get(number, result.state)
            if (result.state == "lost") != (was == "lost"):
                lost = result.state == "lost"
                self.stats.lost += lost
                self.stats.recovered += not lost
                self.note(f"target {number} {'lost' if lost else 'found again'}")

    def _revive(self, targets: Targets, frame: Frame) -> None:
        boxes, self._after_crash = self._after_crash, {}
        for number, box in boxes.items():
            with suppress(InputError):  # a box that has left the picture
                targets.start(number, frame, box)

    def _add(self, box: Box, frame_index: int | None) -> tuple[int, int]:
        targets, frame = self._ready()
        if len(targets.results) >= self._limits.targets:
            raise InputError(f"there are {self._limits.targets} targets already: delete one first")
        frame, box = self._placed(frame, box, frame_index)
        number = self._number()
        targets.start(number, frame, box)
        self._changed()
        return number, frame.index

    def _move(self, number: int, box: Box, frame_index: int | None) -> tuple[int, int]:
        targets, frame = self._ready()
        self._check(targets, number)
        frame, box = self._placed(frame, box, frame_index)
        targets.restart(number, frame, box)
        self._changed()
        return number, frame.index

    def _remove(self, number: int) -> None:
        if self._targets is None:
            raise KeyError(number)
        self._check(self._targets, number)
        self._targets.stop(number)
        self._changed()

    def _ready(self) -> tuple[Targets, Frame]:
        if self._targets is None or self.frame is None:
            raise Busy
        return self._targets, self.frame

    def _check(self, targets: Targets, number: int) -> None:
        if number not in targets.results:
            raise KeyError(number)

    def _placed(self, now: Frame, box: Box, frame_index: int | None) -> tuple[Frame, Box]:
        """The box on the newest frame, for one that may have been drawn on an older one."""
        shown = self._album.since(frame_index) if frame_index is not None else []
        if frame_index == now.index or not shown or self._scout is None:
            return now, box
        if (shown[0].height, shown[0].width) != now.image.shape[:2]:
            raise InputError("the picture has changed its size since: draw the box again")
        found = catch_up(self._scout, shown, now.image, now.timestamp_s, box)
        if found is None:
            raise InputError("the target was lost while it was drawn: draw it again")
        return now, found

    def _changed(self) -> None:
        """While no frame comes, clients hear of a change by the last frame told once more."""
        if self.frame is not None and self.report is not None and self.reader.status != "live":
            self._publish(self.frame, self.report.delay_ms)


def _answer(command: Command, future: Future[Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(command())
    except (InputError, KeyError, Busy) as error:
        future.set_exception(error)
    except Exception as error:
        future.set_exception(error)
        raise
