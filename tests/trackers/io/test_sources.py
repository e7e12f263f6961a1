"""Files, folders, globs and iterators give every frame; what is none of them is refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from onlinetada import InputError
from onlinetada.trackers.io import capture
from onlinetada.trackers.io.frames import Frame
from onlinetada.trackers.io.sources import open_source


def numbers(frames: list[Frame]) -> list[int]:
    return [round(float(f.image.mean()) / 20) for f in frames]


def test_a_file_gives_every_frame_with_the_containers_time(video: Path) -> None:
    with open_source(video) as source:
        frames = list(source)
    assert numbers(frames) == list(range(10)) and [f.index for f in frames] == list(range(10))
    assert [f.timestamp_s for f in frames] == pytest.approx([i / 20 for i in range(10)], abs=1e-3)
    assert (source.live, source.fps, source.frame_count, source.dropped) == (False, 20, 10, 0)
    assert frames[0].image.dtype == np.uint8 and frames[0].image.shape == (48, 64, 3)


def test_file_url_and_text_and_glob_of_one_video_are_the_same(video: Path) -> None:
    for spec in (str(video), f"file://{video}", str(video.parent / "num*.avi")):
        with open_source(spec) as source:
            assert len(list(source)) == 10


def test_a_folder_and_a_glob_are_read_in_natural_order(folder: Path) -> None:
    for spec in (folder, str(folder / "*.png")):
        with open_source(spec, fps=10) as source:
            frames = list(source)
        assert numbers(frames) == list(range(11))
        assert frames[-1].timestamp_s == pytest.approx(1.0) and source.frame_count == 11


def test_a_data_set_folder_is_read_from_its_img(folder: Path) -> None:
    sequence = folder.parent / "seq"
    sequence.mkdir()
    folder.rename(sequence / "img")
    with open_source(sequence) as source:
        assert len(list(source)) == 11


def test_broken_images_are_named_and_the_numbers_of_the_others_kept(folder: Path) -> None:
    (folder / "3.png").write_bytes(b"no image")
    (folder / "7.png").write_bytes(b"")
    told: list[str] = []
    with open_source(folder, on_notice=told.append) as source:
        frames = list(source)
    assert [f.index for f in frames] == [0, 1, 3, 4, 5, 7, 8, 9, 10]
    assert len(told) == 2 and "3.png" in told[0] and "7.png" in told[1]


def test_a_changed_size_is_scaled_to_the_first_and_said(folder: Path) -> None:
    for index in (5, 6):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((96, 128, 3), 100, np.uint8))
    told: list[str] = []
    with open_source(folder, on_notice=told.append) as source:
        shapes = {f.image.shape for f in source}
    assert shapes == {(48, 64, 3)}
    assert len(told) == 2 and "128x96" in told[0] and "again" in told[1]


def test_a_file_cut_off_gives_what_is_there_and_says_so(video: Path) -> None:
    data = video.read_bytes()
    video.write_bytes(data[: len(data) * 3 // 4])
    told: list[str] = []
    with open_source(video, on_notice=told.append) as source:
        frames = list(source)
    assert 1 <= len(frames) < 10 and numbers(frames)[0] == 0
    assert told and f"{len(frames)} of 10" in told[0]


def test_iterators_of_images_of_pairs_of_frames_and_of_paths(folder: Path) -> None:
    images = [np.full((8, 8, 3), i, np.uint8) for i in range(4)]
    with open_source(iter(images), fps=2) as source:
        assert [f.timestamp_s for f in source] == [0, 0.5, 1, 1.5]
    with open_source((image, 7.0 + i) for i, image in enumerate(images)) as source:
        assert [f.timestamp_s for f in source] == [7, 8, 9, 10]
    with open_source([Frame(images[0], 41, 3.0)]) as source:
        assert [f.index for f in source] == [41]
    with open_source([folder / "1.png", str(folder / "2.png")]) as source:
        assert numbers(list(source)) == [0, 1]
    with open_source(np.stack(images)) as source:
        assert len(list(source)) == 4


@pytest.mark.parametrize(
    "items", [["x.png"], [None], [np.zeros(3)], [(np.zeros((4, 4, 3)), "now")], np.zeros((9, 9, 3))]
)
def test_an_iterator_of_something_else_is_refused(items: list[object]) -> None:
    with pytest.raises(InputError), open_source(items) as source:
        list(source)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("missing.mp4", "does not exist"),
        ("nowhere/*.jpg", "no file matches"),
        ("foo://host/x", "protocol 'foo' is unknown"),
        (-1, "camera numbers begin at 0"),
        (99, "camera 99 cannot be opened"),
        ("/dev/video99", "/dev/video99 does not exist"),
        ("rtsp://me:hidden@127.0.0.1:9/live", "me:***@"),
        (3.5, "a float is no source"),
    ],
)
def test_a_source_that_is_not_there_is_refused_in_one_line(spec: str | int, said: str) -> None:
    with pytest.raises(InputError) as error:
        open_source(spec)
    assert said in str(error.value) and "\n" not in str(error.value) and "hidden" not in str(error.value)


def test_what_cannot_be_read_is_refused(tmp_path: Path, video: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    boxes = tmp_path / "groundtruth.txt"
    boxes.write_text("1,2,3,4\n" * 9)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    bare = tmp_path / "bare"
    bare.mkdir()
    no_video = "cannot be read as a video"
    for spec, said in ((text, no_video), (boxes, no_video), (empty, "is empty"), (bare, "holds no images")):
        with pytest.raises(InputError, match=said):
            open_source(spec)
    with pytest.raises(InputError, match=r"did you mean .*numbers\.avi"):
        open_source(tmp_path / "number.avi")
    with pytest.raises(InputError, match="no live source"):
        open_source(video, live=True)
    with pytest.raises(InputError, match="fps"):
        open_source(video, fps=0)


def test_a_pipeline_needs_gstreamer_or_says_so() -> None:
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        with open_source("gst:videotestsrc num-buffers=5 ! videoconvert ! appsink") as source:
            assert next(iter(source)).image.ndim == 3
    else:
        with pytest.raises(InputError, match="OpenCV built with GStreamer"):
            open_source("gst:videotestsrc ! appsink")


def test_an_opencv_without_log_levels_will_do(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2.utils, "logging", raising=False)
    with open_source(video) as source:
        assert len(list(source)) == 10


def test_the_users_own_ffmpeg_options_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    seen: list[str | None] = []

    def refuse(*args: object) -> object:
        seen.append(os.environ.get(name))
        return cv2.VideoCapture()

    monkeypatch.setattr(capture, "_new_capture", refuse)
    monkeypatch.delenv(name, raising=False)
    for value in (None, "rtsp_transport;udp"):
        if value:
            monkeypatch.setenv(name, value)
        with pytest.raises(InputError, match="cannot be opened"):
            open_source("rtsp://127.0.0.1:9/live")
        assert os.environ.get(name) == value
    assert seen[0] is not None and "rtsp_transport;tcp" in seen[0] and seen[1] == "rtsp_transport;udp"


def test_two_cameras_opened_at_the_same_time_keep_each_others_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    monkeypatch.delenv(name, raising=False)
    level = cv2.utils.logging.getLogLevel()
    with capture._environment(name, "a;b"), capture.quiet():
        with capture._environment(name, "a;b"), capture.quiet():
            assert os.environ[name] == "a;b"
        assert os.environ[name] == "a;b"  # the first one is still at it
        assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_SILENT
    assert name not in os.environ and cv2.utils.logging.getLogLevel() == level
