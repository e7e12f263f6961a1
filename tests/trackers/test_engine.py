"""The whole tracker against the published one, and rows of the engine against trackers of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onlinetada.errors import InputError
from onlinetada.trackers.build import build_multi_tracker, build_tracker

TOLERANCE_PX = 0.1  # the stored boxes carry 0.03 px of float32 noise


@pytest.fixture(scope="module")
def checkpoint(published: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seeded weights as a file such as users have."""
    path = tmp_path_factory.mktemp("weights") / f"{published.model}.pth"
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in published.checkpoint.items()}}, path)
    return path


def options(published: Any) -> dict[str, Any]:
    k, influence, rate = published["hp"].tolist()
    return {"quirks": "published", "penalty_k": k, "window_influence": influence, "size_lr": rate, "device": "cpu"}


@pytest.mark.parametrize("case", ["", "_border"])
def test_boxes_are_the_published_ones(published: Any, checkpoint: Path, case: str) -> None:
    tracker = build_tracker(published.model, weights=checkpoint, **options(published))
    video, start = published["video"], published[f"init_box{case}"]
    first = tracker.init(video[0], start)
    assert first.box_xywh == tuple(start)
    for t, image in enumerate(video[1:]):
        result = tracker.update(image)
        np.testing.assert_allclose(result.box_xywh, published[f"boxes{case}"][t], atol=TOLERANCE_PX)
        if not case:
            raw = tracker.engine.targets[tracker._key].raw_score
            assert abs(raw - published["best_scores"][t]) < 5e-4
        assert result.state != "lost"


def test_rows_join_and_leave(published: Any, checkpoint: Path) -> None:
    """Three targets at different times of their streams, each with the boxes of a tracker of its own."""
    multi = build_multi_tracker(published.model, weights=checkpoint, **options(published))
    video, boxes = published["video"], {"": published["boxes"], "_border": published["boxes_border"]}
    a = multi.add(video[0], published["init_box"])
    np.testing.assert_allclose(multi.update(video[1])[a].box_xywh, boxes[""][0], atol=TOLERANCE_PX)
    # the others see the video from its start, so every row has its own image
    b = multi.add(video[0], published["init_box_border"])
    answers = multi.engine.update({a: video[2], b: video[1]})
    np.testing.assert_allclose(answers[a].box_xywh, boxes[""][1], atol=TOLERANCE_PX)
    np.testing.assert_allclose(answers[b].box_xywh, boxes["_border"][0], atol=TOLERANCE_PX)
    c = multi.add(video[0], published["init_box"])
    answers = multi.engine.update({a: video[3], b: video[2], c: video[1]})
    np.testing.assert_allclose(answers[a].box_xywh, boxes[""][2], atol=TOLERANCE_PX)
    np.testing.assert_allclose(answers[b].box_xywh, boxes["_border"][1], atol=TOLERANCE_PX)
    np.testing.assert_allclose(answers[c].box_xywh, boxes[""][0], atol=TOLERANCE_PX)
    multi.remove(a)
    answers = multi.engine.update({c: video[2]})  # b is left as it is
    np.testing.assert_allclose(answers[c].box_xywh, boxes[""][1], atol=TOLERANCE_PX)
    answers = multi.engine.update({b: video[3], c: video[3]})
    np.testing.assert_allclose(answers[b].box_xywh, boxes["_border"][2], atol=TOLERANCE_PX)
    np.testing.assert_allclose(answers[c].box_xywh, boxes[""][2], atol=TOLERANCE_PX)
    assert multi.ids == [b, c] and answers[b].frame_index == answers[c].frame_index == 3


def test_wrong_weights_are_one_line(published: Any, checkpoint: Path, tmp_path: Path) -> None:
    other = "tctrackpp" if published.model == "tctrack" else "tctrack"
    with pytest.raises(InputError) as caught:
        build_tracker(other, weights=checkpoint)
    assert "\n" not in str(caught.value) and str(checkpoint) in str(caught.value)
    fewer = dict(published.checkpoint)
    del fewer["grader.cls2.bias"]
    torch.save(fewer, tmp_path / "fewer.pth")
    with pytest.raises(InputError, match=r"grader\.cls2\.bias"):
        build_tracker(published.model, weights=tmp_path / "fewer.pth")


def test_our_own_saved_names_load_too(published: Any, checkpoint: Path, tmp_path: Path) -> None:
    from onlinetada.published import load_published
    from onlinetada.trackers.models.tctrack import TCTrack

    network = TCTrack(plus_plus=published.model == "tctrackpp")
    load_published(network, published.checkpoint)
    torch.save(network.state_dict(), tmp_path / "ours.pth")
    video, answers = published["video"], []
    for path in (checkpoint, tmp_path / "ours.pth"):
        tracker = build_tracker(published.model, weights=path, device="cpu")
        tracker.init(video[0], published["init_box"])
        answers.append(tracker.update(video[1]).box_xywh)
    assert answers[0] == answers[1]


def test_importing_the_engine_needs_no_window_nor_network(tmp_path: Path) -> None:
    code = "import sys, onlinetada.trackers.build; assert not {'matplotlib', 'got10k', 'shapely'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@pytest.mark.parametrize("stamp", [float("nan"), float("inf")])
def test_a_time_that_is_no_time_is_refused(stamp: float) -> None:
    tracker = build_tracker(device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    tracker.init(image, (40, 40, 20, 20))
    with pytest.raises(InputError, match="timestamp_s must be a finite number"):
        tracker.update(image, timestamp_s=stamp)
