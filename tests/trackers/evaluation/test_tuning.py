"""The search, on a tracker whose best options are known."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from onlinetada.errors import InputError
from onlinetada.trackers.commands import search as command
from onlinetada.trackers.evaluation.tuning import mean_success
from onlinetada.trackers.result import TrackResult, as_box

pytest.importorskip("optuna")


class Lazy:
    """Stays where it is; how small its box gets depends on the option: right at 0.1, and 0.2 by itself."""

    name = "lazy"

    def __init__(self, options: dict[str, float]) -> None:
        self.size = 1 - 2.5 * abs(options.get("penalty_k", 0.2) - 0.1)

    def init(self, image: Any, box_xywh: Any, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        x, y, w, h = as_box(box_xywh)
        self.box = (x, y, w * self.size, h * self.size)
        return TrackResult(0, 0.0, self.box, 1.0, "tracking", 0.0)

    def update(self, image: Any, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        return TrackResult(1, 0.0, self.box, 1.0, "tracking", 0.0)


def run(clips: Path, out: Path, *extra: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(["folder", "--root", str(clips), "--out", str(out), *extra])
    assert command.run(args, build=Lazy) == 0
    best: dict[str, Any] = json.loads((out / "best.json").read_text())
    return best


def test_finds_what_is_better_and_goes_on(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = run(clips, tmp_path / "s", "--trials", "15")
    assert best["trials"] == 15 and best["success"] > best["success_of_own_options"]
    assert abs(best["options"]["penalty_k"] - 0.1) < 0.05
    assert best["sequences"] == {"folder": ["clip0", "clip1", "clip2"]}
    first = capsys.readouterr().err
    assert first.splitlines()[0].startswith("trial 0:") and "own options" in first.splitlines()[0]

    more = run(clips, tmp_path / "s", "--trials", "18")
    assert more["trials"] == 18 and more["success"] >= best["success"]
    assert capsys.readouterr().err.count("trial ") == 3
    assert run(clips, tmp_path / "s", "--trials", "5")["trials"] == 18, "nothing is left to do"


def test_a_killed_first_trial_is_run_again(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(self: Any, *_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Lazy, "init", killed)
        with pytest.raises(KeyboardInterrupt):
            run(clips, tmp_path / "s", "--trials", "2")
    assert run(clips, tmp_path / "s", "--trials", "2")["trials"] == 2


def test_benchmarks_weigh_the_same() -> None:
    values = {"A/1": 1.0, "A/2": 0.0, "B/1": 1.0}
    assert mean_success(values) == pytest.approx(0.75)


@pytest.mark.parametrize(
    "extra",
    [
        ["--trials", "0"],
        ["--penalty-k", "0.3,0.1"],
        ["--size-lr", "much"],
        ["--also", "DTB70"],
        ["--also", "folder=x"],
        ["--model", "opencv-mil"],
    ],
)
def test_bad_arguments(clips: Path, tmp_path: Path, extra: list[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(["folder", "--root", str(clips), "--out", str(tmp_path), *extra])
    with pytest.raises(InputError):
        command.run(args)
