"""OpenCV's trackers behind our interface, and ours behind OpenCV's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from onlinetada import InputError
from onlinetada.trackers.io.synthetic import moving_target
from onlinetada.trackers.opencv import OPENCV_MODELS, OpenCvStyle, build_opencv_tracker, opencv_problem
from onlinetada.trackers.result import Tracker, TrackResult


def overlap(a: Any, b: Any) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(w, 0) * max(h, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def test_mil_tracks_and_answers_like_every_tracker() -> None:
    tracker = build_opencv_tracker("opencv-mil")
    assert isinstance(tracker, Tracker) and tracker.name == "opencv-mil"
    overlaps = []
    for index, (image, truth) in enumerate(moving_target(8)):
        result = tracker.init(image, truth, timestamp_s=5.0) if index == 0 else tracker.update(image)
        overlaps.append(overlap(result.box_xywh, truth))
        assert result.frame_index == index and result.timestamp_s == pytest.approx(5.0 + index / 30)
        assert result.state == "tracking" and 0 <= result.score <= 1 and result.latency_ms > 0
    assert overlaps[0] == 1.0 and np.mean(overlaps) > 0.5


def test_it_takes_rgb_and_grey_and_boxes_over_the_border() -> None:
    image, box = next(moving_target(1))
    tracker = build_opencv_tracker("opencv-mil")
    for picture, color in ((image, "rgb"), (image[:, :, 0], "bgr"), (image.astype(np.uint16) << 8, "bgr")):
        tracker.init(picture, box, color=color)
        tracker.update(picture, color=color)
    assert tracker.init(image, (-10.0, -10.0, 60.0, 60.0)).box_xywh == (-10, -10, 60, 60)
    for bad in ((400, 10, 20, 20), (10, 10, -5, 5), (10, 10, float("nan"), 5)):
        with pytest.raises(InputError):
            tracker.init(image, bad)


class Scripted:
    """What OpenCV makes: found or not, a box and a score a frame."""

    def __init__(self, answers: list[tuple[bool, tuple[int, int, int, int], float]]) -> None:
        self.answers, self.score = answers, -1.0

    def init(self, image: Any, box: Any) -> None:
        self.box = box

    def update(self, image: Any) -> tuple[bool, tuple[int, int, int, int]]:
        found, box, self.score = self.answers.pop(0)
        return found, box

    def getTrackingScore(self) -> float:
        return self.score


def test_a_loss_keeps_the_last_box_and_scores_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        (True, (9, 9, 8, 8), 0.4),
        (False, (0, 0, 0, 0), 0.0),
        (True, (0, 0, 0, 0), -1.0),
        (True, (5, 5, 6, 6), 7),
    ]
    monkeypatch.setattr(cv2.TrackerMIL, "create", lambda: Scripted(list(answers)))
    tracker = build_opencv_tracker("opencv-mil")
    image = np.zeros((40, 40, 3), np.uint8)
    tracker.init(image, (1, 2, 3, 4))
    results = [tracker.update(image) for _ in range(4)]
    assert [r.state for r in results] == ["tracking", "lost", "tracking", "tracking"]
    assert [r.box_xywh for r in results] == [(9, 9, 8, 8)] * 3 + [(5, 5, 6, 6)]
    assert [r.score for r in results] == [0.4, 0.0, 1.0, 1.0]


def test_what_is_missing_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rubbish = tmp_path / "vit.onnx"
    rubbish.write_bytes(b"rubbish")
    for name, weights, said in (
        ("opencv-none", None, "opencv-mil"),
        ("opencv-nano", None, "backbone and head"),
        ("opencv-nano", tmp_path, "does not exist"),
        ("opencv-nano", rubbish, "needs 2 files"),
        ("opencv-vit", None, r"\.onnx"),
        ("opencv-vit", tmp_path / "no.onnx", "does not exist"),
        ("opencv-vit", rubbish, "OpenCV refused"),
        ("opencv-mil", rubbish, "no model files"),
    ):
        with pytest.raises(InputError, match=said) as error:
            build_opencv_tracker(name, weights=weights)
        assert "\n" not in str(error.value)
    monkeypatch.delattr(cv2, "TrackerKCF", raising=False)
    monkeypatch.delattr(cv2, "TrackerKCF_create", raising=False)
    monkeypatch.delattr(cv2, "legacy", raising=False)
    assert "opencv-contrib-python" in str(opencv_problem("opencv-kcf"))
    assert opencv_problem("opencv-mil") is None and "opencv-csrt" in OPENCV_MODELS
    with pytest.raises(InputError, match="call init"):
        build_opencv_tracker("opencv-mil").update(np.zeros((40, 40, 3), np.uint8))


class Drifting:
    """A tracker of ours that is lost on its second frame."""

    name = "drifting"

    def init(self, image: Any, box_xywh: Any, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        self.count = 0
        return TrackResult(0, 0.0, tuple(box_xywh), 1.0, "tracking", 0.0)

    def update(self, image: Any, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        self.count += 1
        state = "lost" if self.count == 2 else "tracking"
        return TrackResult(self.count, 0.0, (1.4, 2.6, 9.5, 8.0), 0.25, state, 0.0)  # type: ignore[arg-type]


def test_our_trackers_answer_as_opencv_does() -> None:
    tracker = OpenCvStyle(Drifting())
    image = np.zeros((20, 20, 3), np.uint8)
    assert tracker.init(image, (1, 2, 3, 4)) is None and tracker.getTrackingScore() == 1.0
    assert tracker.update(image) == (True, (1, 3, 10, 8)) and tracker.getTrackingScore() == 0.25
    ok, box = tracker.update(image)
    assert ok is False and box == (1, 3, 10, 8)
