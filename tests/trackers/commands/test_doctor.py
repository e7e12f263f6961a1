"""doctor says what is there and fails when nothing tracks; models lists what can be named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from onlinetada.trackers.cli import main
from onlinetada.trackers.commands import doctor
from onlinetada.trackers.io.synthetic import moving_target
from onlinetada.trackers.models.registry import list_models
from onlinetada.trackers.opencv import OPENCV_MODELS
from onlinetada.trackers.result import TrackResult


class Known:
    """A tracker that knows the answers, shifted by some pixels, and lost from some frame on."""

    name = "known"

    def __init__(self, shift: float = 0.0, lost_from: int = 10**9) -> None:
        self.shift, self.lost_from = shift, lost_from

    def init(self, image: Any, box_xywh: Any, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        self.index = 0
        self.truth = [box for _, box in moving_target(doctor._FRAMES, width=320, height=240)]
        return TrackResult(0, 0.0, box_xywh, 1.0, "tracking", 1.0)

    def update(self, image: Any, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        self.index += 1
        x, y, w, h = self.truth[self.index]
        state = "lost" if self.index >= self.lost_from else "tracking"
        return TrackResult(self.index, 0.0, (x + self.shift, y, w, h), 1.0, state, 10.0)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_FRAMES", 40)


@pytest.mark.parametrize(
    ("tracker", "status", "mean"), [(Known(), 0, 1.0), (Known(shift=500), 1, 0.0), (Known(lost_from=20), 1, 0.487)]
)
def test_the_self_test_measures(
    tracker: Known, status: int, mean: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_build", lambda args: tracker)
    assert main(["doctor"]) == status
    printed = capsys.readouterr().out
    assert f"mean overlap {mean:.3f} over 39 frames, 100.0 fps" in printed
    assert ("FAILED" in printed) == bool(status)
    for word in ("onlinetada", "torch", "cpu:", "FFMPEG", "GStreamer", "windows:", "opencv-mil"):
        assert word in printed


def test_the_self_test_ends_in_time_and_a_real_tracker_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", "compact", "--seconds", "3"]) == 0
    assert "tracks" in capsys.readouterr().out


def test_a_model_that_cannot_be_built_is_a_failure_and_not_a_crash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", "opencv-vit"]) == 1
    assert "FAILED: opencv-vit needs" in capsys.readouterr().out
    assert main(["doctor", "--seconds", "0"]) == 2


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    table = capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    values = {v["name"]: v for v in json.loads(capsys.readouterr().out)}
    for spec in list_models():
        assert spec.name in table and spec.summary in table
        assert (values[spec.name]["weights"] is not None) == spec.default_weights.is_file()
    assert table.count("(default)") == 1 and values["opencv-mil"]["problem"] is None
    assert set(OPENCV_MODELS) < set(values)
