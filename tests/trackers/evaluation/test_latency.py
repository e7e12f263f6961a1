"""Frames that do not wait: who sees which frame, and what it is judged by, on a clock that is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.benchmarks import find_benchmark
from onlinetada.trackers.evaluation.latency import (
    Clock,
    LiveRecord,
    Realtime,
    latency_score,
    pair,
    read_record,
    record_file,
    run_live,
)
from onlinetada.trackers.evaluation.protocols import PROTOCOLS
from onlinetada.trackers.evaluation.sequences import Sequence, load_sequences
from onlinetada.trackers.result import TrackResult


@dataclass
class Oracle:
    """Knows the truth by the time of the frame."""

    sequence: Sequence
    fps: float = 30.0
    name: str = "oracle"
    seen: list[int] = field(default_factory=list)

    def init(self, image: Any, box_xywh: Any, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        return self._answer(0)

    def update(self, image: Any, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        assert timestamp_s is not None
        return self._answer(round(timestamp_s * self.fps))

    def _answer(self, index: int) -> TrackResult:
        self.seen.append(index)
        return TrackResult(index, 0.0, self.sequence.box_at(index), 1.0, "tracking", 0.0)


@pytest.fixture
def clip(clips: Path) -> Sequence:
    return load_sequences(find_benchmark("folder"), clips)[0]  # 8 frames, 30 fps


def live(clip: Sequence, frames_each: float) -> LiveRecord:
    return run_live(Oracle(clip), clip, fps=30, times_s=np.full(8, frames_each / 30))


def test_a_fast_tracker_sees_every_frame(clip: Sequence) -> None:
    record = live(clip, 0.5)
    assert record.frames.tolist() == list(range(8))
    np.testing.assert_allclose(record.finished_s[1:] * 30, np.arange(1, 8) + 0.5)
    assert pair(record, 8, fps=30).tolist() == [0, 0, 1, 2, 3, 4, 5, 6], "half a frame late is late"
    assert pair(record, 8, fps=30, eta=0.5).tolist() == list(range(8))
    assert pair(record, 8, fps=30, eta=1).tolist() == list(range(8))


def test_a_slow_tracker_takes_the_newest(clip: Sequence) -> None:
    """2.5 frames an update: init ends at 2.5; frame 2 takes until 5, frame 5 until 7.5, frame 7 until 10."""
    record = live(clip, 2.5)
    assert record.frames.tolist() == [0, 2, 5, 7]
    np.testing.assert_allclose(record.finished_s * 30, [0, 5, 7.5, 10])
    assert record.frames[pair(record, 8, fps=30)].tolist() == [0, 0, 0, 0, 0, 2, 2, 2]
    assert record.frames[pair(record, 8, fps=30, eta=0.5)].tolist() == [0, 0, 0, 0, 0, 2, 2, 5]


def test_exactly_one_frame_an_update(clip: Sequence) -> None:
    """An answer that is ready just when the next frame comes is one frame late, and in time with eta = 1."""
    record = live(clip, 1.0)
    assert record.frames.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert pair(record, 8, fps=30).tolist() == [0, 0, 1, 2, 3, 4, 5, 6]
    assert pair(record, 8, fps=30, eta=1).tolist() == list(range(8))


def test_eta_is_not_negative(clip: Sequence) -> None:
    with pytest.raises(InputError, match="0 or more"):
        pair(live(clip, 1), 8, fps=30, eta=-1)


def test_measured_time_is_used_without_a_record(clip: Sequence) -> None:
    record = run_live(Oracle(clip, fps=1), clip, fps=1.0)
    assert record.frames.tolist() == list(range(8))
    assert (np.diff(record.finished_s[1:]) > 0.9).all()


def test_replay_is_the_same_every_time_and_scales(clip: Sequence, tmp_path: Path) -> None:
    (tmp_path / "fast/times").mkdir(parents=True)
    (tmp_path / "fast/times/clip0_time.txt").write_text("0.0166\n" * 8)
    for scale, seen in ((1.0, list(range(8))), (5.0, [0, 2, 4, 7])):
        mode = Realtime(clock=Clock(tmp_path / "fast", scale))
        oracle = Oracle(clip)
        first, second = mode.run(oracle, clip), mode.run(Oracle(clip), clip)
        assert first == second and oracle.seen == seen
    with pytest.raises(InputError, match="no recorded times"):
        Realtime(clock=Clock(tmp_path)).run(Oracle(clip), clip)
    (tmp_path / "fast/times/clip0_time.txt").write_text("0.1\n")
    with pytest.raises(InputError, match="1 times, the sequence has 8 frames"):
        mode.run(Oracle(clip), clip)


def test_the_rate_of_the_benchmark_counts(clip: Sequence) -> None:
    """40 ms an update is too slow at 30 fps, in time at 10."""
    times = np.full(8, 0.04)
    at_30 = run_live(Oracle(clip), clip, fps=30, times_s=times)
    at_10 = run_live(Oracle(clip, fps=10), clip, fps=10, times_s=times)
    assert len(at_30.frames) < 8 and len(at_10.frames) == 8
    assert [find_benchmark(n).fps for n in ("UAV123", "UAV123@10fps")] == [30, 10]


def test_scores_over_eta(clip: Sequence, tmp_path: Path, write_record: Callable[[float], None]) -> None:
    """0.5 frames an update: late below eta = 0.5, perfect from there on."""
    write_record(0.5)
    score = latency_score(PROTOCOLS["pysot"], [clip], tmp_path)
    curve = np.array(score["success_over_eta"])
    assert curve[24] < 0.9 and curve[25] == pytest.approx(20 / 21, abs=1e-6)
    assert score["mAUC"] == pytest.approx((25 * curve[0] + 26 * 20 / 21) / 51, abs=1e-5)
    assert score["frames_behind"] == pytest.approx(7 / 8, abs=1e-4)
    assert score["success"] == curve[0]


@pytest.fixture
def write_record(clip: Sequence, tmp_path: Path) -> Callable[[float], None]:
    def write(frames_each: float) -> None:
        (tmp_path / "times").mkdir()
        (tmp_path / "times/clip0_time.txt").write_text(f"{frames_each / 30 - 1e-6:.7f}\n" * 8)
        files = Realtime(clock=Clock(tmp_path)).run(Oracle(clip), clip)
        file = record_file(tmp_path, clip)
        file.parent.mkdir()
        file.write_text(files["realtime/clip0.csv"])

    return write


def test_a_broken_record_is_refused(tmp_path: Path) -> None:
    for text in (
        "",
        "1,2,3\n",
        "frame,finished_s,x,y,w,h\n1,2\n",
        "frame,finished_s,x,y,w,h\n0,1,1,1,1,1\n1,0,1,1,1,1\n",
    ):
        (tmp_path / "r.csv").write_text(text)
        with pytest.raises(InputError, match=r"r\.csv"):
            read_record(tmp_path / "r.csv")
