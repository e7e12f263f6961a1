"""The confidence is fitted and scored; a frame without a box may say that the target is absent, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.training.clips import Clip
from onlinetada.trackers.training.pack import SourceOptions
from onlinetada.trackers.training.validation import (
    GONE,
    SEEN,
    HeldOut,
    fit_confidence,
    held_out_clips,
    score_loss,
    seen_clips,
)


@pytest.mark.parametrize("tells", [True, False])
def test_gaps_tell_of_absence_only_where_the_data_set_says_so(matcher: Any, scene: Any, tells: bool) -> None:
    def read(numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        for t in numbers:
            yield t, scene.frame(60 + t, 60, visible=not 20 <= t < 40)

    # the last 15 boxes are of something else
    boxes = {t: (60.0 + t, 60.0 if t < 65 else 180.0, 32.0, 32.0) for t in range(80) if not 20 <= t < 40}
    clip = Clip("clip", 80, read, {"empty": {}, "0": boxes})
    made, config = [HeldOut("made", clip, tells)], InferenceConfig()
    fitted = fit_confidence(matcher, config, made)
    assert fitted is not None and fitted.peak > 0
    score = score_loss(matcher, replace(config, confidence=fitted), made)
    (kind,) = score  # frames that say nothing are left out
    assert kind == (GONE if tells else SEEN)
    assert score[kind]["returns"] == int(tells) and ("recall" in score[kind]) == tells


def test_clips_that_say_nothing_give_nothing(matcher: Any, scene: Any) -> None:
    def read(numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        for t in numbers:
            yield t, scene.frame(60 + t, 60)

    easy = HeldOut("made", Clip("clip", 12, read, {"0": {t: (60.0 + t, 60.0, 32.0, 32.0) for t in range(12)}}))
    for seen in ([], [easy]):  # never off the target
        assert fit_confidence(matcher, InferenceConfig(), seen) is None
    assert score_loss(matcher, InferenceConfig(), [easy]) == {}  # short


def test_the_material_says_what_gaps_mean(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    source = SourceOptions("birds", "set", "sequences", "made here", gaps="unsure")
    (tmp_path / "set/one").mkdir()
    for n in (1, 2):
        cv2.imwrite(str(tmp_path / f"set/one/{n:04}.png"), np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "set/one/groundtruth.txt").write_text("1,1,9,9\nnan,nan,nan,nan\n")
    (held,) = held_out_clips([source], tmp_path)
    assert not held.tells_absence


def test_what_is_seen_is_what_is_packed(tmp_path: Path) -> None:
    source = SourceOptions("birds", "set", "sequences", "made here", leave_out_list="same.txt")
    for name in ("one", "two", "three"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for n in (1, 2):
            cv2.imwrite(str(tmp_path / "set" / name / f"{n:04}.png"), np.zeros((40, 40, 3), np.uint8))
        (tmp_path / "set" / name / "groundtruth.txt").write_text("1,1,9,9\n2,1,9,9\n")
    (tmp_path / "same.txt").write_text("two\n")
    names = [held.clip.name for held in held_out_clips([source], tmp_path)]
    (left_out,) = (name for name in names if name.endswith("one"))
    (kept,) = seen_clips([source], tmp_path, [left_out])
    assert len(names) == 3 and kept.clip.name.endswith("three")
