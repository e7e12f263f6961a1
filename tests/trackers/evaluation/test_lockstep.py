"""Many sequences through one engine: the same boxes as one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onlinetada.trackers.evaluation.benchmarks import find_benchmark
from onlinetada.trackers.evaluation.boxfiles import read_boxes
from onlinetada.trackers.evaluation.building import TrackerChoice
from onlinetada.trackers.evaluation.running import Job, run_all
from onlinetada.trackers.evaluation.sequences import load_sequences
from onlinetada.trackers.result import TrackResult, as_box


class CountingEngine:
    """Moves every row by its own index; checks that rows get their own pictures."""

    def __init__(self) -> None:
        self.rows: dict[int, list[Any]] = {}
        self.most = 0
        self.calls = 0
        self.next = 0

    def add(self, image: Any, box_xywh: Any, *, timestamp_s: float | None = None, color: str = "bgr") -> int:
        assert timestamp_s == 0
        key, self.next = self.next, self.next + 1
        self.rows[key] = [as_box(box_xywh), image.mean(), 0]
        self.most = max(self.most, len(self.rows))
        return key

    def update(self, images: Any, *, timestamp_s: Any = None, color: str = "bgr") -> dict[int, TrackResult]:
        self.calls += 1
        assert sorted(images) == sorted(self.rows)
        results = {}
        for key, image in images.items():
            row = self.rows[key]
            assert abs(image.mean() - row[1]) < 3, "a picture of another sequence"
            row[2] += 1
            assert timestamp_s[key] == pytest.approx(row[2] / 30)
            x, y, w, h = row[0]
            results[key] = TrackResult(row[2], 0.0, (x + row[2], y, w, h), 1.0, "tracking", 0.0)
        return results

    def remove(self, key: int) -> None:
        del self.rows[key]


class Build:
    def __init__(self) -> None:
        self.made = CountingEngine()

    def __call__(self) -> Any:
        raise AssertionError("a single tracker is not wanted")

    def engine(self) -> CountingEngine:
        return self.made


def test_rows_are_refilled(clips: Path, tmp_path: Path) -> None:
    sequences = load_sequences(find_benchmark("DTB70"), clips)
    build = Build()
    assert run_all(Job(build, sequences, tmp_path, batch=2)) == []  # type: ignore[arg-type]
    assert build.made.most == 2 and not build.made.rows
    assert build.made.calls < sum(len(s) - 1 for s in sequences)
    for s in sequences:
        boxes = read_boxes(tmp_path / f"{s.name}.txt", rows=len(s))
        first = s.published([s.first_box()])[0]
        np.testing.assert_allclose(boxes, [[first[0] + i, *first[1:]] for i in range(len(s))])


def test_a_broken_sequence_does_not_stop_the_others(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clips / "clip1/img/00003.png").write_bytes(b"")
    sequences = load_sequences(find_benchmark("folder"), clips)
    assert run_all(Job(Build(), sequences, tmp_path, batch=3)) == ["clip1"]  # type: ignore[arg-type]
    assert "clip1 FAILED" in capsys.readouterr().err
    assert (tmp_path / "clip0.txt").exists() and (tmp_path / "clip2.txt").exists()


def test_the_real_engine_gives_the_same_boxes(clips: Path, tmp_path: Path) -> None:
    import torch

    from onlinetada.trackers.models.registry import find_model

    torch.manual_seed(0)
    weights = tmp_path / "random.pth"
    torch.save(find_model("compact").build("none", {}).state_dict(), weights)
    sequences = load_sequences(find_benchmark("folder"), clips)
    choice = TrackerChoice("compact", str(weights), "cpu")
    for batch in (1, 3):
        assert run_all(Job(choice, sequences, tmp_path / f"b{batch}", batch=batch)) == []
    for s in sequences:
        alone, together = (read_boxes(tmp_path / f"b{b}" / f"{s.name}.txt") for b in (1, 3))
        assert np.abs(np.diff(alone[:, 0])).max() > 0, "a tracker that moves"
        np.testing.assert_allclose(alone, together, atol=0.01)


def test_settings_name_weights_by_their_hash(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"1")
    (tmp_path / "b.pth").write_bytes(b"1")
    one, same = (TrackerChoice("compact", str(tmp_path / f), "cpu").settings() for f in ("a.pth", "b.pth"))
    assert one == same and "device" not in one
    (tmp_path / "b.json").write_text("{}")  # the card holds inference options
    assert TrackerChoice("compact", str(tmp_path / "b.pth")).settings() != one
