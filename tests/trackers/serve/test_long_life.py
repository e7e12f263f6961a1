"""Crashes, signals, power cuts and full logs: what days of running bring."""

from __future__ import annotations

import gc
import json
import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onlinetada import InputError
from onlinetada.trackers.io.frames import Frame
from onlinetada.trackers.io.sources import open_source
from onlinetada.trackers.serve import feed as feed_module
from onlinetada.trackers.serve.logs import start_logging, stop_logging
from onlinetada.trackers.serve.options import RecordOptions
from onlinetada.trackers.serve.recorder import Recorder
from onlinetada.trackers.serve.report import Report
from onlinetada.trackers.serve.stats import Histogram, quantile

Footage = tuple[Path, list[Any]]


def crash_once(feed: Any, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> None:
    """Have the next updates of the tracker fail."""
    left = [times]
    update = feed._targets.__class__.update

    def failing(targets: Any, frame: Any) -> Any:
        if left[0] > 0 and targets is feed._targets:
            left[0] -= 1
            raise RuntimeError("out of memory")
        return update(targets, frame)

    monkeypatch.setattr(feed._targets.__class__, "update", failing)


def test_a_tracker_that_crashes_is_started_again_says_so_and_keeps_its_targets(
    run: Any, footage: Footage, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, boxes = footage
    server = run(path, fps=10, every_frame=True)
    feed = server.feed()
    until(lambda: feed.report is not None)
    (frame,) = server.frames(1)
    number = server.ask("POST", "/api/targets", {"box": list(boxes[frame["frame_index"]])})[1]["id"]
    crash_once(feed, monkeypatch)
    until(lambda: feed.stats.restarts == 1)
    until(lambda: [t["id"] for t in server.get("/api/targets")["targets"]] == [number])
    (said,) = [n["text"] for n in server.source()["notices"] if "crashed" in n["text"]]
    assert "started again" in said and "out of memory" in said
    assert server.metrics()['onlinetada_restarts_total{source="0"}'] == 1
    frame = until(lambda: next((f for f in server.frames(3) if f["targets"] and f["targets"][0]["box"]), None))
    x, y = np.subtract(frame["targets"][0]["box"], boxes[frame["frame_index"]])[:2]
    assert np.hypot(x, y) < 25


def test_targets_that_crash_the_tracker_again_and_again_are_given_up(
    run: Any, footage: Footage, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = run(footage[0], fps=10)
    feed = server.feed()
    until(lambda: feed.report is not None)
    server.ask("POST", "/api/targets", {"box": [10, 10, 40, 40]})
    crash_once(feed, monkeypatch, times=feed_module._CRASHES)
    until(lambda: feed.stats.restarts == feed_module._CRASHES)
    until(lambda: any("target(s) 1 ended" in text for _, text in feed.notices))
    before = feed.stats.tracked
    until(lambda: feed.stats.tracked > before + 3)
    assert server.get("/api/targets") == {"targets": []} and server.ask("GET", "/healthz")[0] == 200


def test_a_tracker_that_hangs_makes_the_server_unhealthy(
    run: Any, footage: Footage, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onlinetada.trackers.serve.api._SILENT_S", 0.5)
    server = run(footage[0], fps=20)
    feed, go_on = server.feed(), threading.Event()
    until(lambda: feed.report is not None)
    feed.mailbox.ask(lambda: go_on.wait(60))
    status, body = until(lambda: (answer := server.ask("GET", "/healthz"))[0] == 503 and answer)
    assert (status, body["status"]) == (503, "stuck")
    go_on.set()
    until(lambda: server.ask("GET", "/healthz")[0] == 200)


def test_a_command_that_fails_is_answered_and_no_reason_to_forget_the_others(
    run: Any, footage: Footage, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = run(footage[0], fps=10)
    feed = server.feed()
    until(lambda: feed.report is not None)
    server.ask("POST", "/api/targets", {"box": [10, 10, 40, 40]})

    def fail(box: Any, frame_index: Any) -> Any:
        raise RuntimeError("no memory")

    monkeypatch.setattr(feed, "_add", fail)
    assert server.ask("POST", "/api/targets", {"box": [10, 10, 40, 40]})[0] == 500
    monkeypatch.undo()
    until(lambda: server.ask("POST", "/api/targets", {"box": [30, 10, 40, 40]})[0] == 201)
    until(lambda: len(server.get("/api/targets")["targets"]) == 2)


def test_a_signal_ends_it_cleanly_with_its_files_closed(
    serve: Any, footage: Footage, tmp_path: Path, until: Any
) -> None:
    out, log = tmp_path / "out", tmp_path / "log" / "serve.log"
    server = serve(
        f"eye={footage[0]}",
        "rtsp://pilot:s3cret@127.0.0.1:9/live",
        *("--record-dir", str(out), "--log-file", str(log), "--jsonl", "--fps", "20"),
        environment={"ONLINETADA_TOKEN": "a token from the environment"},
    )
    bearer = {"Authorization": "Bearer a token from the environment"}
    assert server.ask("GET", "/api/status")[0] == 401
    until(lambda: server.ask("POST", "/api/targets", {"box": [9, 9, 40, 40]}, headers=bearer)[0] == 201)
    assert server.ask("POST", "/api/recordings", {}, headers=bearer)[0] == 201
    until(lambda: len(server.lines) > 20)
    assert server.stop(signal.SIGTERM) == 0
    with open_source(next(out.glob("*.mkv"))) as video:
        frames = list(video)
    # finished: a file that was not closed has no length, one that was has about the right one
    assert len(frames) > 3 and (video.frame_count or 0) >= len(frames) - 5
    for line in server.lines:
        assert json.loads(line)["source"] == "eye"
    text = log.read_text() + "\n".join(server.log)
    assert "s3cret" not in text and "a token from" not in text and "pilot:***@" in text
    assert "Traceback" not in text and "stopping after signal" in text


def test_a_recording_cut_off_anywhere_still_plays(tmp_path: Path) -> None:
    """As a loss of power leaves it: no index, and the last picture half written."""
    recorder = Recorder(RecordOptions(tmp_path), "eye", lambda text: None)
    name = recorder.start(fps=20)
    random = np.random.default_rng(0)
    for index in range(12):
        image = random.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        while not (recorder.frames >= index):
            time.sleep(0.001)
        recorder.take(Frame(image, index, index / 20), report(index, 64, 48))
    while recorder.frames < 12:
        time.sleep(0.001)
    whole = (tmp_path / name).read_bytes()  # as it is on the disk while it is written
    recorder.close()
    played = []
    for share in (0.3, 0.5, 0.77, 0.9, 1.0):
        cut = tmp_path / "cut.mkv"
        cut.write_bytes(whole[: int(len(whole) * share)])
        with open_source(cut, on_notice=lambda text: None) as video:
            played.append(len(list(video)))
    assert played == sorted(played) and played[0] >= 2 and played[-1] == 12
    assert len((tmp_path / name).with_suffix(".jsonl").read_text().splitlines()) == 0  # there was no target


def report(index: int, width: int, height: int) -> Report:
    return Report("eye", index, index / 20, 0, width, height, {}, 1.0, 20.0, 0)


def wait_for(what: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end_s
        time.sleep(0.002)


def test_a_long_recording_goes_on_in_new_files_and_so_does_one_that_changes_size(tmp_path: Path) -> None:
    recorder = Recorder(RecordOptions(tmp_path, part_s=0.0), "eye", lambda text: None)
    recorder.start(fps=20)
    for index in range(4):
        width = 64 if index < 2 else 32
        recorder.take(Frame(np.full((48, width, 3), 90, np.uint8), index, index / 20), report(index, width, 48))
        wait_for(lambda index=index: recorder.frames == index + 1)  # type: ignore[misc]
    recorder.close()
    videos = sorted(tmp_path.glob("*.mkv"))
    assert len(videos) >= 4 and all(v.with_suffix(".jsonl").exists() for v in videos)


def test_a_disk_that_fills_up_ends_the_recording_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    recorder = Recorder(RecordOptions(tmp_path), "eye", told.append)
    monkeypatch.setattr("onlinetada.trackers.serve.recorder._CHECK_S", 0.0)
    recorder.start(fps=20)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    recorder.take(Frame(np.zeros((48, 64, 3), np.uint8), 0, 0.0), report(0, 64, 48))
    wait_for(lambda: recorder.name is None)
    assert told == ["recording ended: the disk is nearly full"]
    with pytest.raises(InputError, match="disk is full"):
        recorder.start(fps=20)


def test_the_log_is_turned_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onlinetada.trackers.serve.logs._FILE_BYTES", 2000)
    handlers = start_logging(file=tmp_path / "serve.log")
    try:
        for index in range(500):
            logging.getLogger("onlinetada.serve").warning("line %d of a long life", index)
    finally:
        stop_logging(handlers)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 6 and all(f.stat().st_size <= 2000 for f in files)
    assert "line 499" in (tmp_path / "serve.log").read_text()


def test_threads_files_and_clients_are_given_back(run: Any, footage: Footage, until: Any) -> None:
    def held() -> tuple[int, int]:
        gc.collect()
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc here")
    run(footage[0])  # the first brings libraries along
    before = held()
    server = run(footage[0], fps=20)
    for _ in range(3):
        server.frames(3)
    until(lambda: server.metrics()['onlinetada_clients{kind="websocket"}'] == 0)
    server.close()
    server.close = lambda: None
    until(lambda: held()[0] <= before[0] and held()[1] <= before[1] + 2)


def test_quantiles_and_buckets() -> None:
    assert quantile([], 0.5) is None and quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile(list(map(float, range(1, 101))), 0.99) == 99.0
    histogram = Histogram()
    for value in (1.0, 2.0, 3.0, 1e9):
        histogram.add(value)
    assert histogram.counts[0] == 2 and histogram.counts[1] == 1 and histogram.counts[-1] == 1
