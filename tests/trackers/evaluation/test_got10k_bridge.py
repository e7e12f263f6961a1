"""The got10k toolkit's own code on our sequences, and its datasets and trackers in our runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onlinetada.trackers.evaluation.benchmarks import find_benchmark
from onlinetada.trackers.evaluation.got10k_bridge import FromGot10k, Got10kDataset, got10k_experiment, sequences_of
from onlinetada.trackers.evaluation.modes import OnePass
from onlinetada.trackers.evaluation.protocols import PROTOCOLS
from onlinetada.trackers.evaluation.running import Job, run_all
from onlinetada.trackers.evaluation.scores import score_sequence, total
from onlinetada.trackers.evaluation.sequences import Sequence, load_sequences

pytest.importorskip("got10k")


@pytest.fixture(autouse=True)
def no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")


def shifting(shift: float) -> Any:
    from got10k.trackers import Tracker

    class Shifting(Tracker):
        """The first box, moved a little to the right in every frame."""

        def init(self, image: Any, box: Any) -> None:
            assert image.mode == "RGB"
            self.box = np.array(box, dtype=float)

        def update(self, image: Any) -> Any:
            self.box = self.box + np.array([shift, 0, 0, 0])
            return self.box

    return Shifting("shifting", is_deterministic=True)


def test_its_experiment_and_our_protocol_agree(clips: Path, tmp_path: Path) -> None:
    sequences = load_sequences(find_benchmark("DTB70"), clips)
    experiment = got10k_experiment(sequences, name="made", results=tmp_path / "r", reports=tmp_path / "p")
    experiment.run(shifting(2.0))
    theirs = experiment.report(["shifting"])["shifting"]["overall"]
    assert (tmp_path / "p/made/shifting/success_plots.png").exists()

    job = Job(lambda: FromGot10k(shifting(2.0)), sequences, tmp_path / "ours", OnePass())
    assert run_all(job) == []
    scores = []
    for s in sequences:
        boxes = np.loadtxt(tmp_path / "ours" / f"{s.name}.txt", delimiter=",")
        np.testing.assert_allclose(
            s.published(np.loadtxt(tmp_path / f"r/made/shifting/{s.name}.txt", delimiter=",")), boxes
        )
        scores.append(score_sequence(PROTOCOLS["got10k"], s, boxes))
    ours = total(PROTOCOLS["got10k"], scores)
    assert 0.2 < ours.success < 0.9
    assert ours.success == pytest.approx(theirs["success_score"])
    assert ours.precision == pytest.approx(theirs["precision_score"])
    np.testing.assert_allclose(ours.precision_curve, theirs["precision_curve"])


def test_our_tracker_in_its_experiment(clips: Path, tmp_path: Path) -> None:
    from onlinetada.trackers.build import build_tracker
    from onlinetada.trackers.got10k_adapter import Got10kTracker

    sequences = load_sequences(find_benchmark("folder"), clips)
    experiment = got10k_experiment(sequences, name="made", results=tmp_path / "r", reports=tmp_path / "p")
    experiment.run(Got10kTracker(build_tracker("opencv-mil")))
    overall = experiment.report(["opencv-mil"])["opencv-mil"]["overall"]
    assert 0.3 < overall["success_score"] < 0.96


def test_its_dataset_in_our_run(clips: Path) -> None:
    from got10k.datasets import DTB70

    for clip in clips.iterdir():  # as DTB70 publishes: jpg, counted from 1
        boxes = np.loadtxt(clip / "groundtruth.txt", delimiter=",") + np.array([1, 1, 0, 0])
        np.savetxt(clip / "groundtruth_rect.txt", boxes, delimiter=",", fmt="%d")
        for image in (clip / "img").iterdir():
            os.rename(image, image.with_suffix(".jpg"))
    sequences = sequences_of(DTB70(str(clips)), find_benchmark("DTB70"))
    assert [s.name for s in sequences] == ["clip0", "clip1", "clip2"]
    assert sequences[0].first_box() == (10, 12, 14, 12) and len(sequences[0].frames) == 8


def test_the_dataset_face() -> None:
    sequence = Sequence("a", np.array([[11.0, 21, 5, 5]] * 2), 1, frames=(Path("1.jpg"), Path("2.jpg")))
    files, anno = Got10kDataset([sequence])["a"]
    assert files == ["1.jpg", "2.jpg"] and anno[0].tolist() == [10, 20, 5, 5]
    assert len(list(Got10kDataset([sequence]))) == 1


def test_got10k_ao_agrees_with_its_own_evaluation(tmp_path: Path, clips: Path) -> None:
    """Against the arithmetic in got10k's ``rect_iou`` with its bounds, over frames with cover above 0."""
    from got10k.utils.metrics import rect_iou

    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 200, (40, 4)) + np.array([0, 0, 10, 10])
    result = truth + rng.normal(0, 8, (40, 4))
    absent = rng.random(40) < 0.3
    sequence = Sequence("v", truth, absent=absent, bounds=(220.0, 160.0))
    theirs = rect_iou(result[1:].copy(), truth[1:].copy(), bound=(220.0, 160.0))[~absent[1:]]
    protocol = PROTOCOLS["got10k-ao"]
    ours = total(protocol, [score_sequence(protocol, sequence, result)])
    assert ours.success == pytest.approx(theirs.mean())
    assert ours.sr50 == pytest.approx((theirs > 0.5).mean())
