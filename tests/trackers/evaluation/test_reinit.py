from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onlinetada.trackers.evaluation.benchmarks import find_benchmark
from onlinetada.trackers.evaluation.boxfiles import write_atomic
from onlinetada.trackers.evaluation.reinit import Supervised, run_supervised, vot_score
from onlinetada.trackers.evaluation.sequences import Sequence, load_sequences
from onlinetada.trackers.result import TrackResult, as_box


@dataclass
class Scripted:
    """Answers with the truth, shifted to the right by so many pixels in the frames that are named."""

    sequence: Sequence
    shifts: dict[int, float]
    name: str = "scripted"

    def init(self, image: Any, box_xywh: Any, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        assert as_box(box_xywh) == self.sequence.box_at(round((timestamp_s or 0) * self.sequence.fps))
        return TrackResult(0, 0.0, as_box(box_xywh), 1.0, "tracking", 0.0)

    def update(self, image: Any, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        index = round((timestamp_s or 0) * self.sequence.fps)
        x, y, w, h = self.sequence.box_at(index)
        return TrackResult(index, 0.0, (x + self.shifts.get(index, 0), y, w, h), 1.0, "tracking", 0.0)


@pytest.fixture
def long(clips: Path) -> Sequence:
    """30 frames of one picture, counted from 1."""
    sequence = load_sequences(find_benchmark("DTB70"), clips)[0]
    truth = np.tile([21.0, 11, 20, 10], (30, 1))
    return replace(sequence, truth=truth, frames=sequence.frames[:1] * 30)


def test_failures_and_starts(long: Sequence) -> None:
    rows = run_supervised(Scripted(long, {4: 50.0, 5: 50.0}), long)
    assert rows[0] == "1" and rows[3] == "21,11,20,10"
    assert rows[4:10] == ["2", "0", "0", "0", "0", "1"]


def test_no_start_while_the_target_is_absent(long: Sequence) -> None:
    long.truth[8:12] = np.nan
    rows = run_supervised(Scripted(long, {4: 50.0}), long)
    assert rows[9:13] == ["0", "0", "0", "1"]
    assert rows[13] == "21,11,20,10"


def test_accuracy_and_robustness(long: Sequence, tmp_path: Path) -> None:
    """Shifted by half its width all the time (overlap 1/3), lost once in 30 frames."""
    shifts = dict.fromkeys(range(30), 10.0) | {4: 50.0}
    for name, text in Supervised().run(Scripted(long, shifts), long).items():
        write_atomic(tmp_path / name, text)
    assert Supervised().is_done(tmp_path, long)
    score = vot_score([long], tmp_path)
    assert score["accuracy"] == pytest.approx(1 / 3, abs=1e-6)
    assert (score["failures"], score["robustness"]) == (1, pytest.approx(100 / 30, abs=1e-5))


def test_the_first_frames_after_a_start_do_not_count(long: Sequence, tmp_path: Path) -> None:
    shifts = dict.fromkeys(range(20, 30), 10.0)
    for name, text in Supervised().run(Scripted(long, shifts), long).items():
        write_atomic(tmp_path / name, text)
    assert vot_score([long], tmp_path, burn_in=20)["accuracy"] == pytest.approx(1 / 3, abs=1e-6)
    assert vot_score([long], tmp_path)["accuracy"] == pytest.approx((10 + 10 / 3) / 20, abs=1e-6)
