"""Trackers by name: what is refused, and the memory of long runs."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch

from onlinetada.errors import InputError
from onlinetada.trackers.build import build_tracker
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.models.registry import find_model, list_models, read_card
from onlinetada.trackers.multi import MultiTracker
from onlinetada.trackers.result import Tracker
from onlinetada.trackers.single import SingleTracker


def test_wrong_arguments_are_one_line() -> None:
    for arguments, message in (
        ({"model": "tctrak"}, "did you mean 'tctrack'"),
        ({"model": "tctrack", "quirks": "some"}, "quirks must be one of"),
        ({"model": "tctrack"}, "ships without weights: give a file"),
        ({"model": "tctrack", "weights": "/nowhere/x.pth"}, "there is no weights file"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            build_tracker(**arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="unexpected keyword"):
        build_tracker("tctrack", weigths="x")


def test_every_model_is_listed_with_a_default_first() -> None:
    names = [spec.name for spec in list_models()]
    assert {"tctrack", "tctrackpp"} < set(names) and find_model("default").name == names[0]


def test_options_and_cards_reach_the_engine(published: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save(published.checkpoint, path)
    card = {"inference": {"penalty_k": 0.2, "size_lr": 0.1}, "confidence": {"peak": 7.0}, "loss": {"min_lost_ms": 900}}
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    config = build_tracker(published.model, weights=path, device="cpu", size_lr=0.4).engine.config
    assert (config.penalty_k, config.size_lr, config.confidence.peak) == (0.2, 0.4, 7.0)
    assert config.loss.min_lost_ms == 900 and config.recover
    as_published = build_tracker(published.model, weights=path, device="cpu", quirks="published").engine.config
    assert not as_published.recover and as_published.loss.enter_lost == 0
    path.with_suffix(".json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="is no JSON"):
        read_card(path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(published: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save(published.checkpoint, path)
    for device, message in (("cuda", "0 CUDA devices"), ("gpu", "there is no device 'gpu'")):
        with pytest.raises(InputError, match=message):
            build_tracker(published.model, weights=path, device=device)


def test_several_targets_come_and_go(published: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save(published.checkpoint, path)
    multi = MultiTracker(published.model, weights=path, device="cpu")
    video = published["video"]
    assert multi.update(video[0]) == {}
    a = multi.add(video[0], (97, 85, 47, 31))
    b = multi.add(video[0], (10, 20, 40, 60))
    assert multi.result(b).frame_index == 0 and multi.result(b).box_xywh == (10, 20, 40, 60)
    alone = build_tracker(published.model, weights=path, device="cpu")
    alone.init(video[0], (97, 85, 47, 31))
    assert isinstance(alone, Tracker)
    for image in video[1:3]:
        answers, own = multi.update(image), alone.update(image)
        assert list(answers) == [a, b]
        assert answers[a].box_xywh == pytest.approx(own.box_xywh, abs=0.5)
        assert answers[a].score == pytest.approx(own.score, abs=1e-3)
    multi.remove(a)
    assert list(multi.update(video[3])) == [b]
    with pytest.raises(InputError, match="no target 0"):
        multi.remove(a)


@pytest.mark.slow
def test_memory_stays_constant_over_a_long_stream(matcher: Any, scene: Any) -> None:
    tracker = SingleTracker(Engine(matcher), name="matcher")
    frames = [scene.frame(60 + 4 * abs(10 - t), 60, visible=t < 18) for t in range(20)]
    tracker.init(frames[0], (100, 60, 32, 32))
    assert tracker.engine.state is not None
    nbytes, peaks = tracker.engine.state.nbytes, []
    tracemalloc.start()
    for round_ in range(3):
        for t in range(1000):
            tracker.update(frames[t % 20])
        peaks.append(tracemalloc.get_traced_memory()[0])
        assert tracker.engine.state.nbytes == nbytes, round_
    tracemalloc.stop()
    assert peaks[2] - peaks[1] < 50_000
