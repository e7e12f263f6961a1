"""Measuring loss: the arithmetic by hand, and a run over a target that goes and returns."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onlinetada.trackers.absence import Watched, labelled_signals, score_absence, watch, without_recovery
from onlinetada.trackers.confidence import ConfidenceCalibration, fit_calibration
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.loss import LossPolicy
from onlinetada.trackers.options import InferenceConfig

CONFIG = InferenceConfig(
    confidence=ConfidenceCalibration(bias=-14.0, peak=20.0), loss=LossPolicy(min_lost_ms=60, min_found_ms=30)
)


def run(present: str, overlaps: list[float], lost: str) -> Watched:
    flags = [np.array([c == "1" for c in text]) for text in (present, lost)]
    count = len(overlaps)
    return Watched(flags[0], np.array(overlaps), flags[1], np.zeros(count), np.arange(4.0 * count).reshape(count, 4))


def test_scores_by_hand() -> None:
    one = run("1110001111", [0.9, 0.8, 0.7, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.2], "0000111100")
    score = score_absence([one])
    assert score.precision == 1.0  # the one present frame on which lost was said had the box elsewhere
    assert score.recall == pytest.approx(2 / 3)
    assert score.false_alarms == pytest.approx(2 / 6)  # on it or lost: frames 0, 1, 2, 6, 7, 8
    assert (score.returns, score.found, score.frames_to_find) == (1, 1, 2)
    assert score.mean_overlap == pytest.approx(3.1 / 7)
    never = run("1011", [0.9, 0, 0, 0], "0111")
    assert score_absence([one, never]).returns == 2 and score_absence([one, never]).found == 1
    signals, on = labelled_signals([one])
    assert len(signals) == 9 and on.sum() == 4  # an overlap of 0.2 is debatable


def test_a_target_that_goes_and_returns(matcher: Any, scene: Any) -> None:
    shown = [not 20 <= t < 40 for t in range(80)]
    frames = [(t, scene.frame(60 + t, 60, visible=here)) for t, here in enumerate(shown)]
    boxes = {t: (60.0 + t, 60.0, 32.0, 32.0) for t, here in enumerate(shown) if here}
    engine = Engine(matcher, CONFIG)
    score = score_absence([watch(engine, frames, boxes)])
    assert engine.targets == {} and (score.returns, score.found) == (1, 1)
    assert score.recall > 0.8 and score.precision > 0.7 and score.mean_overlap > 0.6
    signals, on = labelled_signals([watch(without_recovery(engine), frames, boxes, restart=True)])
    fitted = fit_calibration(signals, on)
    assert fitted(signals[on]).mean() > 0.8 > 0.3 > fitted(signals[~on]).mean()


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif("ONLINETADA_DATA" not in os.environ, reason="ONLINETADA_DATA names no folder of real video")
@pytest.mark.parametrize("name", ["TLD_04_pedestrian2", "TLD_06_car"])
def test_real_targets_that_leave_and_return(name: str) -> None:
    from onlinetada.trackers.assemble import build_engine
    from onlinetada.trackers.models.registry import find_model
    from onlinetada.trackers.training.readers import read_videos

    if not find_model("default").default_weights.is_file():
        pytest.skip("the default model ships without weights")
    folder = Path(os.environ["ONLINETADA_DATA"]) / "train" / "video"
    clip = next(clip for clip in read_videos(folder) if clip.name == name)
    score = score_absence([watch(build_engine(device="cpu"), clip.read(range(clip.length)), clip.tracks["0"])])
    assert score.returns >= 2 and score.found >= score.returns - 1
    assert score.precision > 0.5
