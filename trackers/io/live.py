"""Live sources: a thread keeps the newest frame, so that a slow reader is late by one frame and not by minutes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from onlinetada.errors import InputError
from onlinetada.trackers.io.capture import Capture, nominal_fps, position_s
from onlinetada.trackers.io.clock import CameraClock, now_s
from onlinetada.trackers.io.frames import Frame, Notify
from onlinetada.trackers.result import Image

_BAD_IN_A_ROW = 30  # broken pictures in a row after which the connection is taken to be the cause
_HANGS_S = 1.0  # a read that fails after this long has waited for the other side; a broken picture fails at once
_HANG_GRACE_S = 2.0  # how much longer than its patience a thread may stay silent before it counts as hanging
_SETTLED_S = 5.0  # a connection that held this long was a good one: the next loss is met with the shortest pause


@dataclass(frozen=True)
class Reconnect:
    """What to do when a live source falls silent.

    Attributes:
        first_wait_s: pause before the first new attempt; it doubles with each that fails.
        longest_wait_s: the pause grows no further than this.
        give_up_s: without a frame for this long the source ends; 0 ends it at the first failure.
    """

    first_wait_s: float = 0.5
    longest_wait_s: float = 8.0
    give_up_s: float = 60.0

    def __post_init__(self) -> None:
        if not (0 < self.first_wait_s <= self.longest_wait_s and self.give_up_s >= 0):
            raise InputError(f"reconnect: need 0 < first_wait_s <= longest_wait_s and give_up_s >= 0, got {self}")


class Grabber:
    """Reads a capture on a thread of its own into a slot that holds one frame; a newer frame replaces the older.

    Frames are numbered as they come in, those that are thrown away included.

    Attributes:
        dropped: frames that were replaced before anybody took them.
        broken: pictures that came in but could not be decoded.
        fps: the source's own word on its frame rate, where it gives one.
    """

    def __init__(
        self,
        connect: Callable[[], Capture],
        *,
        name: str,
        notify: Notify,
        reconnect: Reconnect | None = None,
        has_clock: bool = False,
    ) -> None:
        """Connect and start.

        Args:
            connect: opens the source; called again whenever the connection is lost.
            name: for messages, without passwords.
            notify: told of silence, loss and return. Called from the thread.
            reconnect: patience with a source that falls silent.
            has_clock: the source stamps its frames itself (RTSP, V4L2, GStreamer); else they count from their arrival.

        Raises:
            InputError: ``connect`` failed; only later failures are retried.
        """
        self.dropped = self.broken = 0
        self._connect, self._name, self._notify = connect, name, notify
        self._reconnect = reconnect or Reconnect()
        self._slot: Frame | None = None
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._ended = False
        self._index = self._broken_told = 0
        self._has_clock, self._clock = has_clock, CameraClock()
        self._heard_s = time.monotonic()
        capture = connect()
        self.fps = nominal_fps(capture)
        self._thread = threading.Thread(target=self._run, args=(capture,), name=f"grab {name}", daemon=True)
        self._thread.start()

    def frames(self) -> Iterator[Frame]:
        """The newest frame whenever it is asked for one, waiting where there is none yet; ends with the source."""
        while (frame := self._take()) is not None:
            yield frame

    def close(self) -> None:
        """Stop the thread and free the capture. Does not wait for a driver that hangs."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout=2.0)

    def _take(self) -> Frame | None:
        told = False
        with self._changed:
            while self._slot is None and not self._ended and not self._stop.is_set():
                self._changed.wait(0.2)
                silent_s = time.monotonic() - self._heard_s
                if silent_s > self._reconnect.give_up_s + _HANG_GRACE_S:  # the thread itself may hang in a driver
                    self._notify(f"{self._name}: no frame for {silent_s:.0f} s, giving up")
                    return None
                if silent_s > 2.0 and not told:
                    told = True
                    self._notify(f"{self._name}: no frame for {silent_s:.0f} s, waiting")
            frame, self._slot = self._slot, None
            return frame

    def _run(self, capture: Capture) -> None:
        current: Capture | None = capture
        wait_s = self._reconnect.first_wait_s
        try:
            while current is not None and not self._stop.is_set():
                began_s = time.monotonic()
                self._clock.restart()  # a new connection counts from a start of its own
                self._pump(current)
                current.release()
                settled = time.monotonic() - began_s > _SETTLED_S
                wait_s = self._reconnect.first_wait_s if settled else wait_s
                current = None if self._stop.is_set() else self._connect_again(wait_s)
                wait_s = min(2 * wait_s, self._reconnect.longest_wait_s)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _pump(self, capture: Capture) -> None:
        """Move frames into the slot until the capture fails."""
        bad = 0
        while not self._stop.is_set() and bad < _BAD_IN_A_ROW:
            began_s = time.monotonic()
            grabbed = _grab(capture)
            took_s = time.monotonic() - began_s
            image = _retrieve(capture) if grabbed else None
            if image is None:  # FFmpeg fails in grab for one broken picture as it does for the end of the stream
                bad += 1
                if not grabbed and took_s > _HANGS_S:
                    return
                continue
            if bad:
                self._count_broken(bad)
            bad = 0
            self._put(image, self._stamp(capture))

    def _stamp(self, capture: Capture) -> float:
        """When the frame was taken, by the source's own clock where it has one."""
        jumps = self._clock.jumps
        stamp_s = self._clock.stamp(position_s(capture) if self._has_clock else 0.0, now_s())
        if self._clock.jumps > jumps:
            self._notify(f"{self._name}: the camera's clock jumped, its timestamps are tied to ours anew")
        return stamp_s

    def _count_broken(self, bad: int) -> None:
        self.broken += bad
        if self.broken >= 2 * self._broken_told:  # a bad link must not fill the terminal
            self._broken_told = self.broken
            self._notify(f"{self._name}: {self.broken} broken picture(s) left out so far")

    def _put(self, image: Image, stamp_s: float) -> None:
        with self._changed:
            self.dropped += self._slot is not None
            self._slot = Frame(image, self._index, stamp_s)
            self._index += 1
            self._heard_s = time.monotonic()
            self._changed.notify_all()

    def _connect_again(self, wait_s: float) -> Capture | None:
        patience = self._reconnect
        if patience.give_up_s == 0:
            return None
        self._notify(f"{self._name}: connection lost, trying again for {patience.give_up_s:g} s")
        while not self._stop.wait(wait_s):
            try:
                capture = self._connect()
            except InputError as error:
                if time.monotonic() - self._heard_s >= patience.give_up_s:
                    self._notify(f"{self._name}: gave up after {patience.give_up_s:g} s: {error}")
                    return None
                wait_s = min(2 * wait_s, patience.longest_wait_s)
                continue
            self._notify(f"{self._name}: connected again")
            return capture
        return None


def _grab(capture: Capture) -> bool:
    import cv2

    try:
        return bool(capture.grab())
    except cv2.error:  # some drivers raise where others return False
        return False


def _retrieve(capture: Capture) -> Image | None:
    import cv2

    try:
        ok, image = capture.retrieve()
    except cv2.error:
        return None
    return image if ok and image is not None and image.size else None
