"""The track command from its arguments to its files, on videos made here and with OpenCV's MIL as the tracker."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from onlinetada.trackers.cli import main
from onlinetada.trackers.io.sources import open_source
from onlinetada.trackers.io.synthetic import moving_target, write_video

Numbers = npt.NDArray[np.float64]


@pytest.fixture
def clip(tmp_path: Path) -> tuple[Path, str, Numbers]:
    """A video, its target's first box as an option, and all boxes."""
    path = tmp_path / "clip.mkv"
    boxes = np.array(write_video(path, frames=8))
    return path, ",".join(f"{v:.2f}" for v in boxes[0]), boxes


def track(source: object, *options: object) -> int:
    return main(["track", str(source), "--model", "opencv-mil", *map(str, options)])


def test_all_outputs_of_a_file(clip: tuple[Path, str, Numbers], tmp_path: Path) -> None:
    source, box, truth = clip
    out = {name: tmp_path / "out" / f"r.{name}" for name in ("txt", "csv", "jsonl", "mkv")}
    options = ("--save-boxes", out["txt"], "--save-csv", out["csv"], "--save-jsonl", out["jsonl"])
    assert track(source, "--init", box, *options, "--save-video", out["mkv"], "--trails") == 0
    boxes = np.loadtxt(out["txt"], delimiter=",")
    assert boxes.shape == (8, 4) and boxes[0] == pytest.approx(truth[0], abs=0.01)
    assert np.abs(boxes[:, :2] - truth[:, :2]).max() < 20  # it did follow
    with open(out["csv"], newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in out["jsonl"].read_text().splitlines()]
    assert [int(r["frame_index"]) for r in rows] == [v["frame_index"] for v in lines] == list(range(8))
    assert np.array([v["box_xywh"] for v in lines]) == pytest.approx(boxes)
    with open_source(out["mkv"]) as video, open_source(source) as original:
        pairs = list(zip(video, original, strict=True))
    assert len(pairs) == 8
    assert all(np.abs(a.image.astype(int) - b.image).max() > 60 for a, b in pairs)  # something is drawn


def test_several_targets_have_a_boxes_file_each(clip: tuple[Path, str, Numbers], tmp_path: Path) -> None:
    source, box, _ = clip
    files = ("--save-boxes", tmp_path / "b.txt", "--save-csv", tmp_path / "r.csv")
    assert track(source, "--init", box, "--init=-4,-4,40,40", *files, "--max-frames", 3) == 0
    assert not (tmp_path / "b.txt").exists()
    assert [len((tmp_path / f"b_{n}.txt").read_text().splitlines()) for n in (0, 1)] == [3, 3]
    assert (tmp_path / "b_1.txt").read_text().startswith("-4.000,-4.000,40.000,40.000\n")
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 7
    assert track(source, "--init", box, "--init", box, "--save-boxes", tmp_path / "b.txt") == 2


def test_json_lines_go_to_standard_output_alone(
    clip: tuple[Path, str, Numbers], capsys: pytest.CaptureFixture[str]
) -> None:
    source, box, _ = clip
    assert track(source, "--init", box, "--save-jsonl", "-", "--max-frames", 2) == 0
    captured = capsys.readouterr()
    assert [json.loads(line)["frame_index"] for line in captured.out.splitlines()] == [0, 1]
    assert "2 frames of" in captured.err
    assert track(source, "--init", box, "--max-frames", 2, "--quiet", "--view", "none") == 0
    assert capsys.readouterr() == ("", "")


def test_line_n_is_frame_n_also_where_an_image_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    frames = list(moving_target(5))
    for index, (image, _) in enumerate(frames):
        cv2.imwrite(str(folder / f"{index}.png"), image)
    (folder / "2.png").write_bytes(b"broken")
    assert track(folder, "--init", ",".join(map(str, frames[0][1])), "--save-boxes", tmp_path / "b.txt") == 0
    boxes = np.loadtxt(tmp_path / "b.txt", delimiter=",")
    assert boxes.shape == (5, 4) and np.isnan(boxes[2]).all() and np.isfinite(boxes[[0, 1, 3, 4]]).all()
    assert "2.png cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say where the target is"),
        (("--init", "1,2,3"), "four finite numbers"),
        (("--init", "1,2,nan,3"), "four finite numbers"),
        (("--init", "900,900,5,5"), "outside the 320x240 image"),
        (("--init", "5,5,-1,5"), "positive width"),
        (("--init", "5,5,9,9", "--max-frames", "0"), "--max-frames"),
        (("--init", "5,5,9,9", "--save-video", "x.gif"), ".mkv"),
        (("--init", "5,5,9,9", "--save-csv", "-"), "--save-jsonl"),
        (("--init", "5,5,9,9", "--model", "opencv-mill"), "opencv-mil"),
        (("--init", "5,5,9,9", "--weights", "x.onnx"), "no model files"),
        (("--init", "5,5,9,9", "--live"), "no live source"),
        (("--init", "5,5,9,9", "--fps", "-1"), "fps"),
        (("--init", "5,5,9,9", "--give-up-s", "-1"), "give_up_s"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    clip: tuple[Path, str, Numbers], options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert track(clip[0], *options) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and error.startswith("onlinetada track: ")


def test_a_missing_source_and_outputs_that_exist(
    clip: tuple[Path, str, Numbers], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, box, _ = clip
    assert track(tmp_path / "clip.mk", "--init", box) == 2
    assert "did you mean" in capsys.readouterr().err
    there = tmp_path / "there.csv"
    there.write_text("precious")
    assert track(source, "--init", box, "--save-csv", there, "--max-frames", 2) == 2
    assert there.read_text() == "precious"
    assert track(source, "--init", box, "--save-csv", there, "--max-frames", 2, "--overwrite") == 0
    assert there.read_text().startswith("frame_index,")
    assert track(source, "--init", box, "--save-video", source, "--overwrite") == 2
    with open_source(source) as frames:
        assert len(list(frames)) == 8


def test_no_window_without_a_screen(
    clip: tuple[Path, str, Numbers], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    for options in (("--view", "window", "--init", clip[1]), ("--select",)):
        assert track(clip[0], *options) == 2
        assert "no screen" in capsys.readouterr().err or not sys.platform.startswith("linux")


def mjpeg_server(size: Callable[[int], tuple[int, int]]) -> ThreadingHTTPServer:
    """A camera that never ends; ``size`` gives (width, height) of each frame."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
            try:
                for index, (image, _) in enumerate(moving_target(400)):
                    part = cv2.imencode(".jpg", cv2.resize(image, size(index)))[1].tobytes()
                    part = part[:300] if index % 7 == 5 else part
                    self.wfile.write(head % len(part) + part + b"\r\n")
                    time.sleep(0.02)
            except OSError:
                pass

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


def test_a_camera_that_breaks_pictures_and_changes_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = mjpeg_server(lambda index: (320, 240) if index < 20 else (160, 120))
    url = f"http://127.0.0.1:{server.server_address[1]}/live"
    files = ("--save-csv", tmp_path / "r.csv", "--save-video", tmp_path / "v.mkv")
    assert track(url, "--init", "130,130,56,45", *files, "--max-frames", 12) == 0
    server.shutdown()
    server.server_close()
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    indices = [int(r["frame_index"]) for r in rows]
    assert len(rows) == 12 and indices == sorted(set(indices))
    assert abs(float(rows[-1]["timestamp_s"]) - time.time()) < 60
    assert "dropped" in capsys.readouterr().err
    with open_source(tmp_path / "v.mkv") as video:
        assert len(list(video)) == 12


@pytest.mark.parametrize(
    ("number", "suffix"),
    [
        (signal.SIGTERM, "mp4"),
        pytest.param(signal.SIGINT, "mkv", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, "mkv", marks=pytest.mark.slow),
    ],
)
def test_what_was_written_stays_readable(tmp_path: Path, number: signal.Signals, suffix: str) -> None:
    source, out, video = tmp_path / "long.mkv", tmp_path / "r.csv", tmp_path / f"v.{suffix}"
    boxes = write_video(source, frames=200)
    code = "import sys; from onlinetada.trackers.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "track", str(source), "--init", ",".join(map(str, boxes[0]))]
    command += ["--model", "opencv-mil", "--save-csv", str(out), "--save-video", str(video)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=tmp_path
    ) as process:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s and (not out.exists() or out.read_bytes().count(b"\n") < 8):
            time.sleep(0.02)
        process.send_signal(number)
        process.wait(timeout=30)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    text = out.read_text()
    rows = text.splitlines()
    assert text.endswith("\n") and len(rows) >= 8 and all(row.count(",") == 9 for row in rows)
    with open_source(video) as source_:
        written = len(list(source_))
    assert abs(written - (len(rows) - 1)) <= (number == signal.SIGKILL)


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["track", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in ("--init", "--select", "--model", "--weights", "--quirks", "--device", "--save-boxes", "--save-csv"):
        assert option in text
    for option in ("--save-jsonl", "--save-video", "--view", "--max-frames", "--overwrite"):
        assert option in text


def test_a_network_of_ours_follows_several_targets_in_one_batch(
    clip: tuple[Path, str, Numbers], tmp_path: Path
) -> None:
    import torch

    from onlinetada.trackers.models.registry import find_model

    torch.manual_seed(0)  # it cannot track without training, but everything around it must run
    weights = tmp_path / "random.pth"
    torch.save({"state_dict": find_model("compact").build("none", {}).state_dict()}, weights)
    options = ["track", str(clip[0]), "--init", clip[1], "--init", "10,10,40,30", "--model", "compact"]
    options += ["--weights", str(weights), "--device", "cpu", "--save-csv", str(tmp_path / "r.csv")]
    assert main([*options, "--max-frames", "3"]) == 0
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(r["frame_index"]), int(r["target_id"])) for r in rows] == [(i, t) for i in range(3) for t in (0, 1)]
    assert [float(r["x"]) for r in rows[:2]] == pytest.approx([float(clip[1].split(",")[0]), 10], abs=0.01)
    assert {r["state"] for r in rows} <= {"tracking", "uncertain", "lost"}


def test_a_negative_box_may_stand_apart_from_its_option() -> None:
    from onlinetada.trackers.cli import _joined

    assert _joined(["track", "v", "--init", "-5,20,40,40"]) == ["track", "v", "--init=-5,20,40,40"]
    assert _joined(["track", "v", "--save-jsonl", "-"]) == ["track", "v", "--save-jsonl", "-"]
