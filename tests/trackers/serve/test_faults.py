"""What cameras and networks do, done by real servers on loopback; the tracker goes on and says what happened."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from onlinetada.trackers.io.camera_server import CameraServer
from onlinetada.trackers.io.synthetic import moving_target

FOOTAGE = list(moving_target(180, width=320, height=240))
Start = Callable[..., Any]


def picture(index: int) -> Any:
    """The footage there and back again, so that the target never jumps."""
    place = index % (2 * len(FOOTAGE) - 2)
    return FOOTAGE[place if place < len(FOOTAGE) else 2 * len(FOOTAGE) - 2 - place][0]


@pytest.fixture
def camera() -> Iterator[Callable[..., CameraServer]]:
    """Start cameras; they end with the test."""
    started: list[CameraServer] = []

    def start(**options: Any) -> CameraServer:
        started.append(CameraServer(picture, **options))
        return started[-1]

    yield start
    for server in started:
        server.close()


def says(server: Any, text: str, name: str = "0") -> bool:
    """Whether a user was told."""
    return any(text in note for _, note in server.feed(name).notices)


def follow(server: Any, until: Any, name: str = "0") -> int:
    """Begin to follow the target where it is."""
    until(lambda: server.feed(name).report is not None)
    frame = server.feed(name).frame
    # the footage's own truth: the frame that looks most like it
    errors = [float(np.abs(frame.image[::8, ::8].astype(int) - f[::8, ::8]).mean()) for f, _ in FOOTAGE]
    status, body = server.ask(
        "POST",
        "/api/targets",
        {"box": list(FOOTAGE[int(np.argmin(errors))][1]), "source": name, "frame_index": frame.index},
    )
    assert status == 201, body
    return int(body["id"])


def more(server: Any, until: Any, name: str = "0", count: int = 5) -> None:
    """Wait until more frames were tracked."""
    before = server.feed(name).stats.tracked
    until(lambda: server.feed(name).stats.tracked >= before + count)


def test_a_camera_that_stalls_is_waited_for_and_its_target_kept(run: Start, camera: Any, until: Any) -> None:
    eye = camera()
    server = run(eye.url)
    number = follow(server, until)
    more(server, until)
    eye.stalled = True
    until(lambda: server.source()["state"] == "stalled")
    until(lambda: says(server, "no frame for"))
    until(lambda: server.ask("GET", "/healthz")[0] == 200)
    eye.stalled = False
    until(lambda: server.source()["state"] == "live")
    more(server, until)
    assert [t["id"] for t in server.get("/api/targets")["targets"]] == [number]


def test_a_camera_that_vanishes_is_found_again_without_its_target_being_forgotten(
    run: Start, camera: Any, until: Any
) -> None:
    eye = camera()
    server = run(eye.url)
    number = follow(server, until)
    more(server, until)
    stamp_s = server.feed().report.timestamp_s
    eye.stop()
    until(lambda: server.source()["state"] != "live")
    # while nothing comes, commands are answered all the same
    status, _ = server.ask("POST", "/api/targets", {"box": [10, 10, 40, 40]})
    assert status == 201 and server.ask("DELETE", f"/api/targets/{number + 1}")[0] == 204
    eye.start()
    until(lambda: server.source()["state"] == "live")
    more(server, until)
    assert eye.connections >= 2 and says(server, "connection lost") and says(server, "connected again")
    assert server.feed().report.timestamp_s > stamp_s
    (target,) = server.get("/api/targets")["targets"]
    assert target["id"] == number and target["state"] != "lost"


def test_a_camera_that_is_not_there_yet_is_waited_for(run: Start, camera: Any, until: Any) -> None:
    eye = camera()
    eye.stop()
    server = run(eye.url)
    until(lambda: server.source()["state"] == "failed")
    assert "cannot be opened" in server.source()["problem"]
    assert server.ask("POST", "/api/targets", {"box": [1, 1, 9, 9]})[0] == 503
    eye.start()
    until(lambda: server.source()["state"] == "live")
    assert server.source()["problem"] == ""


def test_pictures_that_change_size_and_rate_keep_the_targets_boxes(run: Start, camera: Any, until: Any) -> None:
    eye = camera(fps=20)
    server = run(eye.url)
    number = follow(server, until)
    more(server, until)
    eye.picture = lambda index: cv2.resize(picture(index), (480, 360))
    eye.fps = 45
    more(server, until, count=15)  # within a connection OpenCV scales them itself
    assert server.source()["width"] == 320
    eye.cut()
    until(lambda: says(server, "pictures are 480x360 now: scaled to 320x240"))
    more(server, until, count=15)
    (target,) = server.get("/api/targets")["targets"]
    assert target["state"] != "lost" and server.source()["width"] == 320
    # without targets, the new size counts
    server.ask("DELETE", f"/api/targets/{number}")
    until(lambda: server.source()["width"] == 480)
    assert says(server, "pictures are 480x360 now")


def test_broken_pictures_are_left_out(run: Start, camera: Any, until: Any) -> None:
    eye, rng = camera(), np.random.default_rng(0)

    def spoil(jpeg: bytes) -> bytes:
        data, kind = bytearray(jpeg), rng.integers(4)
        if kind == 0:
            return bytes(rng.integers(0, 256, 500, dtype=np.uint8))
        if kind == 1:
            return jpeg[: len(jpeg) // 3]
        for place in rng.integers(2, len(data), 40 if kind == 2 else 0):
            data[place] ^= 0xFF
        return bytes(data)

    server = run(eye.url)
    number = follow(server, until)
    eye.spoil = spoil
    until(lambda: says(server, "broken picture") or says(server, "connection lost"))
    more(server, until, count=20)
    eye.spoil = lambda jpeg: jpeg
    more(server, until, count=20)
    assert server.feed().stats.restarts == 0
    assert [t["id"] for t in server.get("/api/targets")["targets"]] == [number]


def test_the_newest_frame_wins_when_the_tracker_is_slower_than_the_camera(
    run: Start, camera: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    eye = camera(fps=60)
    server = run(eye.url)
    until(lambda: server.feed().report is not None)
    feed, late = server.feed(), []
    take = feed._take

    def slow(targets: Any, shot: Any) -> None:
        late.append(eye.index - shot.frame.index)
        time.sleep(0.2)
        take(targets, shot)

    base = eye.index - feed.frame.index
    monkeypatch.setattr(feed, "_take", slow)
    until(lambda: len(late) > 12)
    behind = np.array(late[2:]) - base
    assert server.source()["dropped"] > 30  # of some 120
    assert np.ptp(behind) < 20 and behind[-1] < 40  # no queue that grows: 12 frames of work are 130 of the camera


def test_two_cameras_are_followed_at_once_and_one_that_dies_leaves_the_other_alone(
    run: Start, camera: Any, until: Any
) -> None:
    left, right = camera(), camera(fps=15)
    server = run(left.url, right.url)
    numbers = [follow(server, until, name) for name in ("0", "1")]
    assert len(set(numbers)) == 2
    left.stop()
    until(lambda: server.source("0")["state"] != "live")
    more(server, until, "1", count=15)
    assert server.source("1")["state"] == "live"
    frames = server.frames(3, query="?source=1")
    assert {f["source"] for f in frames} == {"1"} and frames[0]["targets"][0]["id"] == numbers[1]
    left.start()
    until(lambda: server.source("0")["state"] == "live")
    both = server.frames(40, query="?source=all")
    assert {f["source"] for f in both} == {"0", "1"}


# --- RTSP, by Debian's GStreamer server


class Rtsp:
    """The RTSP camera as a process of its own."""

    def __init__(self, codec: str, port: int) -> None:
        script = Path(__file__).with_name("rtsp_server.py")
        self.process = subprocess.Popen(
            ["/usr/bin/python3", str(script), str(port), codec],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": ""},
        )
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(self.process.stderr.read())

    def tell(self, line: str) -> None:
        """Give a command and wait until it is obeyed."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == "done"

    def close(self) -> None:
        """Be gone at once."""
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def rtsp() -> Iterator[Callable[[], tuple[Rtsp, str]]]:
    """Start RTSP cameras on one port, one after the other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started: list[Rtsp] = []

    def start() -> tuple[Rtsp, str]:
        if not Path("/usr/bin/python3").exists():
            pytest.skip("no /usr/bin/python3 with GStreamer's bindings")
        for codec in ("x264enc", "jpegenc"):
            with suppress(RuntimeError):
                started.append(Rtsp(codec, port))
                break
        else:
            pytest.skip("no RTSP server: gir1.2-gst-rtsp-server-1.0 and python3-gi of Debian have one")
        return started[-1], f"rtsp://viewer:s3cret@127.0.0.1:{port}/live"

    yield start
    for server in started:
        server.close()


@pytest.mark.slow
def test_an_rtsp_camera_that_loses_packets_stalls_changes_and_dies(run: Start, rtsp: Any, until: Any) -> None:
    eye, url = rtsp()
    server = run(url)
    until(lambda: server.feed().report is not None)
    more(server, until, count=10)
    stamps: list[float] = []
    original = server.feed()._take
    server.feed()._take = lambda targets, shot: (stamps.append(shot.frame.timestamp_s), original(targets, shot))
    status, body = server.ask("POST", "/api/targets", {"box": [100, 80, 60, 60]})
    assert status == 201
    more(server, until, count=20)
    assert (np.diff(stamps) > 0).all()
    eye.tell("jump 40")  # the camera's clock is set
    until(lambda: says(server, "clock jumped"))
    more(server, until, count=10)
    assert (np.diff(stamps) > 0).all() and abs(stamps[-1] - time.time()) < 20
    eye.tell("gate 0.4")  # broken references, or pictures that are not there
    more(server, until, count=10)
    eye.tell("gate 1")
    until(lambda: server.source()["state"] == "stalled")
    eye.tell("gate 0")
    until(lambda: server.source()["state"] == "live")
    eye.tell("size 480 360 10")
    more(server, until, count=10)
    eye.close()
    until(lambda: server.source()["state"] != "live")
    rtsp()
    until(lambda: server.source()["state"] == "live")
    assert [t["id"] for t in server.get("/api/targets")["targets"]] == [body["id"]]
    assert server.feed().stats.restarts == 0
    assert "s3cret" not in str(server.get("/api/status"))


# --- a transport stream from FFmpeg over HTTP, with bytes changed on the way


class Proxy:
    """Passes a TCP connection on, and changes bytes that come back where ``spoil`` says so."""

    def __init__(self, port: int) -> None:
        self.spoil: Callable[[bytes], bytes] = lambda data: data
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._to = port
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as server, client:
            threading.Thread(target=self._copy, args=(client, server, False), daemon=True).start()
            self._copy(server, client, True)

    def _copy(self, source: socket.socket, to: socket.socket, back: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                to.sendall(self.spoil(data) if back else data)

    def close(self) -> None:
        """Let nobody in any more."""
        self._listener.close()


@pytest.mark.slow
def test_corrupted_packets_of_a_transport_stream(run: Start, until: Any, footage: tuple[Path, list[Any]]) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("no ffmpeg is installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", str(footage[0]), "-c:v", "mpeg4"]
    command += ["-g", "10", "-b:v", "2M", "-f", "mpegts", "-listen", "1", f"http://127.0.0.1:{port}/live"]
    proxy, ended = Proxy(port), threading.Event()

    def send() -> None:  # it serves one connection and ends
        while not ended.is_set():
            sender = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while sender.poll() is None and not ended.wait(0.05):
                pass
            sender.kill()
            sender.wait(10)

    threading.Thread(target=send, daemon=True).start()
    rng = np.random.default_rng(1)

    def spoil(data: bytes) -> bytes:
        changed = bytearray(data)
        for place in rng.integers(0, len(data), max(1, len(data) // 1500)):
            changed[place] = int(rng.integers(256))
        return bytes(changed)

    try:
        server = run(f"http://127.0.0.1:{proxy.port}/live")
        until(lambda: server.feed().report is not None)
        assert server.ask("POST", "/api/targets", {"box": [100, 80, 60, 60]})[0] == 201
        proxy.spoil = spoil
        more(server, until, count=30)
        proxy.spoil = lambda data: data
        more(server, until, count=20)
        assert server.feed().stats.restarts == 0 and server.source()["state"] == "live"
    finally:
        ended.set()
        proxy.close()
