"""Annotated video: readable whatever happens, with the frames' own times, and drawn right."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from onlinetada import InputError
from onlinetada.trackers.io.draw import STATE_COLORS, Trails, draw_targets
from onlinetada.trackers.io.frames import Frame
from onlinetada.trackers.io.sources import open_source
from onlinetada.trackers.io.synthetic import moving_target, write_video
from onlinetada.trackers.io.video_sink import VideoSink
from onlinetada.trackers.result import TrackResult


def grey(index: int) -> npt.NDArray[np.uint8]:
    return np.full((96, 128, 3), index * 20, np.uint8)


def read(path: Path) -> list[tuple[int, float]]:
    with open_source(path) as source:
        return [(round(float(f.image.mean()) / 20), f.timestamp_s) for f in source]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".avi"])
def test_every_frame_is_written_and_can_be_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    sink = VideoSink(path, fps=20)
    for index in range(10):
        sink.write(Frame(grey(index), index, index / 20), {})
    sink.close()
    frames = read(path)
    assert [n for n, _ in frames] == list(range(10))
    assert [t for _, t in frames] == pytest.approx([i / 20 for i in range(10)], abs=2e-3)


def test_matroska_keeps_the_frames_own_times(tmp_path: Path) -> None:
    stamps = [1000.0, 1000.05, 1000.5, 1000.5, 1002.0]
    sink = VideoSink(tmp_path / "v.mkv", fps=20, live=True)
    for index, stamp_s in enumerate(stamps):
        sink.write(Frame(grey(index), index, stamp_s), {})
    sink.close()
    assert [t for _, t in read(tmp_path / "v.mkv")] == pytest.approx([0, 0.05, 0.5, 0.501, 2.0], abs=2e-3)


def test_a_live_recording_of_constant_rate_keeps_the_time(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "v.avi", fps=10, live=True)
    for index, stamp_s in enumerate([50.0, 50.1, 50.5, 50.6]):
        sink.write(Frame(grey(index), index, stamp_s), {})
    sink.close()
    assert [n for n, _ in read(tmp_path / "v.avi")] == [0, 1, 2, 2, 2, 2, 3]


def test_matroska_survives_being_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time, numpy as np\n"
        "from pathlib import Path\n"
        "from onlinetada.trackers.io.frames import Frame\n"
        "from onlinetada.trackers.io.video_sink import VideoSink\n"
        "sink = VideoSink(Path(sys.argv[1]), fps=20)\n"
        "for i in range(7):\n"
        "    sink.write(Frame(np.full((96, 128, 3), i * 20, np.uint8), i, i / 20), {})\n"
        "print('written', flush=True)\n"
        "time.sleep(60)\n"
    )
    path = tmp_path / "killed.mkv"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    assert [n for n, _ in read(path)] == list(range(7))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 40])  # and a last frame of which a part is missing costs no other
    assert len(read(path)) >= 6


def test_a_full_disk_ends_a_video_before_it_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = VideoSink(tmp_path / "v.mp4", fps=20)
    for index in range(5):
        sink.write(Frame(grey(index), index, index / 20), {})
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(9, 9, 1000))
    with pytest.raises(OSError) as error:
        sink.write(Frame(grey(5), 5, 0.25), {})
    assert error.value.errno == errno.ENOSPC and str(error.value.filename).endswith("v.mp4")
    sink.close()
    assert len(read(tmp_path / "v.mp4")) == 5


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.mkv"):
        VideoSink(tmp_path / "v.gif", fps=20)


def result(x: float, y: float, state: str) -> TrackResult:
    return TrackResult(1, 0.1, (x, y, 40.0, 30.0), 0.5, state, 1.0)  # type: ignore[arg-type]


def test_boxes_are_drawn_where_they_are_and_lost_ones_not_at_all() -> None:
    image = np.full((200, 300, 3), 128, np.uint8)
    drawn = draw_targets(image, {0: result(100, 80, "tracking")})
    assert (image == 128).all()  # the frame itself is left alone
    assert tuple(drawn[95, 100]) == STATE_COLORS["tracking"] or tuple(drawn[95, 99]) != (128, 128, 128)
    assert (drawn[85:105, 105:135] == 128).all()  # nothing inside
    lost = draw_targets(image, {0: result(100, 80, "lost")})
    assert (lost[30:] == 128).all() and (lost[:30] != 128).any()  # a word in the corner and no rectangle
    uncertain = draw_targets(image, {0: result(100, 80, "uncertain")})
    assert (uncertain != drawn).any()


@pytest.mark.parametrize("x", [-1e9, -50.0, 290.0, 1e9])
def test_drawing_bears_any_box_and_any_image(x: float) -> None:
    for image in (np.zeros((200, 300, 3), np.uint8), np.zeros((5, 7), np.uint8), np.zeros((40, 40, 4), np.uint16)):
        drawn = draw_targets(image, {0: result(x, x, "tracking"), 1: result(x, 3, "lost")}, trails=Trails())
        assert drawn.shape == (*image.shape[:2], 3) and drawn.dtype == np.uint8


def test_trails_follow_and_end_with_a_loss() -> None:
    trails, canvas = Trails(length=5), np.zeros((200, 300, 3), np.uint8)
    for step in range(10):
        canvas[:] = 0
        trails.draw(canvas, {0: result(20 + 10 * step, 80, "tracking")})
    columns = np.flatnonzero(canvas[95].any(axis=1))
    assert 85 <= columns.min() <= 92 and 128 <= columns.max() <= 133  # centres of the last five frames
    canvas[:] = 0
    trails.draw(canvas, {0: result(130, 80, "lost")})
    assert not canvas.any()


def test_the_made_up_video_shows_the_target_where_it_says(tmp_path: Path) -> None:
    first, again = (list(moving_target(60, seed=3)) for _ in range(2))
    assert all((a[0] == b[0]).all() and a[1] == b[1] for a, b in zip(first, again, strict=True))
    template = None
    for picture, (x, y, w, h) in first[::20]:
        part = cv2.getRectSubPix(picture, (round(w), round(h)), (x + w / 2 - 0.5, y + h / 2 - 0.5))
        part = cv2.resize(part, (48, 40))
        template = part if template is None else template
        assert cv2.matchTemplate(part, template, cv2.TM_CCOEFF_NORMED)[0, 0] > 0.8
    boxes = write_video(tmp_path / "m.mkv", frames=5)
    assert len(read(tmp_path / "m.mkv")) == len(boxes) == 5
