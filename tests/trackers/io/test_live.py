"""Live sources against real loopback servers and capture devices made in Python."""

from __future__ import annotations

import functools
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from onlinetada import InputError
from onlinetada.trackers.io import live
from onlinetada.trackers.io.live import Grabber, Reconnect
from onlinetada.trackers.io.sources import open_source

QUICK = Reconnect(first_wait_s=0.05, longest_wait_s=0.1, give_up_s=0.5)


def grey(value: int) -> npt.NDArray[np.uint8]:
    return np.full((48, 64, 3), value, np.uint8)


class Device:
    """A capture device in Python: items are images, None (a broken one) or seconds to wait."""

    def __init__(self, *items: Any) -> None:
        self.items, self.current, self.released = list(items), None, False

    def isOpened(self) -> bool:
        return True

    def grab(self) -> bool:
        while self.items and isinstance(self.items[0], float):
            time.sleep(self.items.pop(0))
        if not self.items:
            return False
        self.current = self.items.pop(0)
        return True

    def retrieve(self) -> tuple[bool, Any]:
        return self.current is not None, self.current

    def read(self) -> tuple[bool, Any]:
        return self.retrieve() if self.grab() else (False, None)

    def get(self, prop: int) -> float:
        return 0.0

    def release(self) -> None:
        self.released = True


def opener(*devices: Device) -> Callable[[], Device]:
    waiting = list(devices)

    def connect() -> Device:
        if not waiting:
            raise InputError("nobody there")
        return waiting.pop(0)

    return connect


def test_a_slow_reader_gets_the_newest_frame_and_the_rest_is_counted() -> None:
    device = Device(*[x for i in range(20) for x in (grey(i), 0.02)])
    grabber = Grabber(opener(device), name="fake", notify=lambda line: None, reconnect=Reconnect(give_up_s=0))
    seen, late_s = [], []
    for frame in grabber.frames():
        late_s.append(time.time() - frame.timestamp_s)
        seen.append(frame)
        time.sleep(0.09)
    grabber.close()
    values = [int(f.image[0, 0, 0]) for f in seen]
    assert [f.index for f in seen] == values  # numbers count what was dropped
    assert len(seen) + grabber.dropped == 20 and len(seen) < 10 and values[-1] == 19
    assert max(late_s[:-1]) < 0.08  # one frame, not a queue of them; the last waits for its reader
    stamps = [f.timestamp_s for f in seen]
    assert stamps == sorted(stamps) and abs(stamps[0] - time.time()) < 10
    assert device.released


def test_a_fast_reader_gets_everything_and_broken_pictures_are_left_out() -> None:
    told: list[str] = []
    device = Device(*[x for i in range(8) for x in (grey(i), 0.02, *([None] if i in (2, 5) else []))])
    grabber = Grabber(opener(device), name="fake", notify=told.append, reconnect=Reconnect(give_up_s=0))
    assert [int(f.image[0, 0, 0]) for f in grabber.frames()] == list(range(8))
    assert grabber.broken == 2 and grabber.dropped == 0 and "broken" in told[0]


def test_a_lost_source_is_connected_again_and_a_dead_one_given_up() -> None:
    told: list[str] = []
    first, second = Device(0.02, grey(1), 0.02), Device(0.02, grey(2), 0.02, grey(3), 0.02)
    grabber = Grabber(opener(first, second), name="fake", notify=told.append, reconnect=QUICK)
    began_s = time.monotonic()
    assert [int(f.image[0, 0, 0]) for f in grabber.frames()] == [1, 2, 3]
    assert 0.4 < time.monotonic() - began_s < 5
    assert [line.split(": ")[1].split(",")[0] for line in told] == [
        "connection lost",
        "connected again",
        "connection lost",
        "gave up after 0.5 s",
    ]
    assert first.released and second.released


def test_a_device_that_hangs_neither_holds_the_reader_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_HANG_GRACE_S", 0.3)
    told: list[str] = []
    grabber = Grabber(opener(Device(grey(1), 2.0)), name="fake", notify=told.append, reconnect=QUICK)
    began_s = time.monotonic()
    assert len(list(grabber.frames())) == 1
    assert time.monotonic() - began_s < 1.8 and "giving up" in told[-1]
    grabber.close()
    assert time.monotonic() - began_s < 3.6


def test_the_first_connection_must_succeed() -> None:
    with pytest.raises(InputError, match="nobody there"):
        Grabber(opener(), name="fake", notify=lambda line: None)
    with pytest.raises(InputError, match="reconnect"):
        Reconnect(first_wait_s=0)


def test_a_camera_with_a_clock_of_its_own_stamps_its_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(*[x for i in range(12) for x in (grey(i), 0.02 if i % 2 else 0.08)])  # 20 a second, unevenly
    now_ms = lambda prop: 0.0 if device.current is None else 50.0 * (1 + int(device.current[0, 0, 0]))  # noqa: E731
    monkeypatch.setattr(device, "get", now_ms)
    grabber = Grabber(
        opener(device), name="fake", notify=lambda line: None, reconnect=Reconnect(give_up_s=0), has_clock=True
    )
    frames = list(grabber.frames())
    numbers, stamps = [int(f.image[0, 0, 0]) for f in frames], [f.timestamp_s for f in frames]
    a_frame_s = np.diff(stamps) / np.diff(numbers)
    assert (np.diff(stamps) > 0).all() and np.median(np.abs(a_frame_s - 0.05)) < 0.01
    assert abs(stamps[-1] - time.time()) < 10


def test_an_mjpeg_camera_over_http(camera: Callable[..., Any], encode: Callable[..., bytes]) -> None:
    def parts(connection: int) -> Iterator[bytes]:
        for index in range(12):
            data = encode(grey(20 * index))
            yield b"rubbish" * 9 if index == 4 else data[: len(data) // 2] if index == 7 else data
            time.sleep(0.03)

    server = camera(parts)
    told: list[str] = []
    with open_source(server.url, reconnect=Reconnect(0.05, 0.1, 0.6), on_notice=told.append) as source:
        assert source.live
        frames = []
        for frame in source:
            frames.append(frame)
            if server.connections == 2 and len(frames) > 14:
                break
    assert frames[0].image.shape == (48, 64, 3)
    assert any("broken" in line for line in told) and any("connected again" in line for line in told)
    assert [f.index for f in frames] == sorted({f.index for f in frames})
    values = {round(float(f.image.mean()) / 20) for f in frames}
    assert len(values & {0, 1, 2, 3, 5, 6, 8, 9, 10, 11}) >= 5  # a busy machine misses some: the newest frame wins


def test_a_video_on_a_web_server_is_a_file(video: Path) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=video.parent)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        with open_source(f"http://127.0.0.1:{server.server_address[1]}/{video.name}") as source:
            assert not source.live and len(list(source)) == 10
        server.shutdown()
