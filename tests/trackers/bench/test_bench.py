"""The benchmark command: what it writes, what it refuses, and that its figures are of what it says."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import torch

from onlinetada.trackers.assemble import build_engine
from onlinetada.trackers.bench.footage import make_footage
from onlinetada.trackers.bench.subjects import stage_forms
from onlinetada.trackers.bench.timing import in_turns
from onlinetada.trackers.cli import main
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.runtime.device_looker import DeviceLooker


def test_rows_for_stages_peers_and_growth(tmp_path: Path) -> None:
    words = ["bench", "--device", "cpu", "--threads", "1", "--seconds", "0.01", "--frame", "320x240", "--batch", "2"]
    assert main([*words, "--peers", "opencv-mil", "--out", str(tmp_path)]) == 0
    with open(tmp_path / "bench.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["subject"], r["stage"]) for r in rows] == [
        ("compact", "update"),
        ("opencv-mil", "update"),
        ("compact", "camera"),
        ("compact", "crop"),
        ("compact", "network"),
        ("compact", "decide"),
        ("compact", "learn"),
    ]
    for row in rows:
        assert row["batch"] == "2" and row["frame"] == "320x240" and row["threads"] == "1"
        assert 0 < float(row["p50_ms"]) <= float(row["p95_ms"]) <= float(row["p99_ms"])
        assert float(row["targets_per_s"]) == pytest.approx(2000 / float(row["p50_ms"]), rel=0.05)
    assert json.loads((tmp_path / "bench.json").read_text())["torch"] == torch.__version__
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_a_sleep_takes_as_long_as_it_says() -> None:
    found = in_turns(
        {"short": lambda: sleep(0.002), "long": lambda: sleep(0.006)},
        device=torch.device("cpu"),
        seconds=0.1,
        rounds=2,
        warm_up=1,
    )
    assert 2 <= found["short"].p50_ms < found["long"].p50_ms
    assert found["long"].p50_ms >= 6
    assert found["short"].samples > found["long"].samples


def test_frames_of_every_size_hold_the_same_target() -> None:
    small, large = make_footage("320x240", frames=3), make_footage("1920x1080", frames=3)
    assert large.frames[0].shape == (1080, 1920, 3)
    assert large.size == "1920x1080"
    assert large.box[2] == pytest.approx(70 * 1.25, rel=0.2)
    x, y, w, h = (round(v) for v in small.box)
    inside = small.frames[0][y : y + h, x : x + w].mean()
    assert np.isfinite(inside) and small.box[2] < 70


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--frame", "720p"], "WIDTHxHEIGHT"),
        (["--batch", "0"], "--batch is 0"),
        (["--seconds", "0"], "--seconds"),
        (["--model", "opencv-mil"], "--peers opencv-mil"),
        (["--model", "tctrack"], "ships without weights"),
    ],
)
def test_what_cannot_be_measured_is_refused(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *words]) == 2
    err = capsys.readouterr().err.splitlines()
    assert says in err[-1]


def test_a_folder_that_is_no_copy_of_the_code_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "--device", "cpu", "--threads", "1", "--seconds", "0.01", "--frame", "320x240"]
    assert main([*words, "--published", str(tmp_path), "--peers", "opencv-nano"]) == 0
    captured = capsys.readouterr()
    assert "left out: opencv-nano needs a folder" in captured.err
    assert "left out: --published goes with tctrack" in captured.err
    assert "published code" not in captured.out


def test_a_look_on_the_device_is_a_stage() -> None:
    engine = build_engine("compact", device="cpu", runtime="torch")
    looker = DeviceLooker(engine.network, engine.config, engine.device)
    forms = stage_forms(Engine(engine.network, engine.config, looker=looker), make_footage("320x240", frames=3), 2)
    assert list(forms) == ["camera", "crop", "network", "decide", "learn", "whole step"]
    forms["whole step"]()


def test_the_page_is_what_the_result_files_say() -> None:
    root = Path(__file__).parents[3]
    page = runpy.run_path(str(root / "tools" / "speed_page.py"))
    assert page["page"]() == (root / "docs" / "speed.md").read_text(encoding="utf-8")
