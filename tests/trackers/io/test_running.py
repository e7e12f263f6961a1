"""Progress, signals, and targets under numbers that stay."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from onlinetada.trackers.io import window
from onlinetada.trackers.io.frames import Frame
from onlinetada.trackers.io.progress import Progress
from onlinetada.trackers.io.stopping import StopSignals
from onlinetada.trackers.io.targets import SeparateTrackers, Targets
from onlinetada.trackers.io.window import screen_problem
from onlinetada.trackers.result import TrackResult, as_box


class Echo:
    """A tracker that moves its box by one pixel a frame and is lost from its third frame on."""

    name = "echo"

    def init(self, image, box_xywh, *, timestamp_s=None, color="bgr") -> TrackResult:  # type: ignore[no-untyped-def]
        self.index, self.box = 0, as_box(box_xywh)
        return TrackResult(0, timestamp_s or 0.0, self.box, 1.0, "tracking", 0.0)

    def update(self, image, *, timestamp_s=None, color="bgr") -> TrackResult:  # type: ignore[no-untyped-def]
        self.index += 1
        self.box = (self.box[0] + 1, *self.box[1:])
        state = "lost" if self.index > 2 and self.box[1] == 9 else "tracking"
        return TrackResult(self.index, timestamp_s or 0.0, self.box, 1.0, state, 0.0)  # type: ignore[arg-type]


def frame(index: int) -> Frame:
    return Frame(np.zeros((20, 20, 3), np.uint8), index, index / 30)


def test_targets_keep_their_numbers_when_one_is_drawn_anew() -> None:
    targets = Targets(SeparateTrackers(Echo), frame(0), [(1, 2, 3, 4), (5, 9, 7, 8)])
    assert [r.box_xywh[0] for r in targets.results.values()] == [1, 5]
    for index in (1, 2, 3):
        targets.update(frame(index))
    assert [r.state for r in targets.results.values()] == ["tracking", "lost"] and targets.first_lost() == 1
    targets.restart(1, frame(3), (0, 0, 2, 2))
    assert targets.results[1].box_xywh == (0, 0, 2, 2) and targets.first_lost() == 0
    found = targets.update(frame(4))
    assert list(found) == [0, 1] and found[0].box_xywh[0] == 5 and found[1].box_xywh[0] == 1
    assert found[1].timestamp_s == pytest.approx(4 / 30)


def test_a_signal_ends_the_frames_after_the_one_in_work() -> None:
    before = signal.getsignal(signal.SIGTERM)
    done = []
    with StopSignals() as stop:
        for item in stop.until_stopped(iter(range(10))):
            if item == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            done.append(item)
    assert done == [0, 1, 2, 3] and stop.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_ends_the_wait_for_a_frame_at_once() -> None:
    def slow() -> Iterator[int]:
        yield 0
        time.sleep(20)
        yield 1

    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    began_s = time.monotonic()
    with StopSignals() as stop:
        timer.start()
        assert list(stop.until_stopped(slow())) == [0]
    assert time.monotonic() - began_s < 5 and stop.number == signal.SIGINT


def test_a_second_signal_interrupts_and_other_interrupts_pass() -> None:
    with pytest.raises(KeyboardInterrupt), StopSignals() as stop:
        for _ in stop.until_stopped(iter(range(10))):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    def broken() -> Iterator[int]:
        raise KeyboardInterrupt
        yield 0

    with pytest.raises(KeyboardInterrupt), StopSignals() as stop:
        list(stop.until_stopped(broken()))


def test_progress_is_silent_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    for value in range(100):
        progress.update(float(value))
    progress.finish()
    assert stream.getvalue() == "" and progress.frames == 100
    assert progress.latency_ms(0.5) == 50 and progress.latency_ms(0.95) == 95 and progress.fps > 0
    progress.line("said")
    assert stream.getvalue() == "said\n"


def test_progress_keeps_one_line_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = Progress(stream=stream, shown=True)
    now[0] += 30  # a model takes its time to load
    progress.expect(40)
    for _ in range(40):
        now[0] += 0.1
        progress.update(12.5)
    progress.finish()
    shown = [line.strip() for line in stream.getvalue().split("\r") if line.strip()]
    assert progress.fps == pytest.approx(10)
    assert len(shown) == 13 and shown[-1] == "frame 40/40  10.0 fps  12.5 ms"


def test_a_window_is_refused_without_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(window.sys, "platform", "linux")
    problem = screen_problem()
    assert problem and "\n" not in problem
