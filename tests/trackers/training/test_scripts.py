"""The scripts that a stranger runs, on material made here."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.benchmark import bound, made_up_bank, measure
from onlinetada.trackers.training.clips import Clip
from onlinetada.trackers.training.compact_job import CompactJob
from onlinetada.trackers.training.failures import failure_sheet, find_failures
from onlinetada.trackers.training.readers import open_folder
from onlinetada.trackers.training.recipe import Recipe
from onlinetada.trackers.training.validation import HeldOut, Run

ROOT = Path(__file__).parents[3]


def write_parts(folder: Path) -> dict[str, str]:
    """Tiny recipes in the parts of the real ones, with their material; name -> its model's options."""
    (folder / "held.yaml").write_text("clips: [held]\n")
    (folder / "tiny_material.yaml").write_text(
        "leave_out: held.yaml\nsources:\n"
        "  - {name: videos, path: videos, format: videos, terms: made here}\n"
        "  - {name: stills, path: stills, format: stills, terms: made here, blobs: 1}\n"
    )
    narrow = "memory: learned\n  widths: [16, 3]"
    (folder / "more_material.yaml").write_text((folder / "tiny_material.yaml").read_text())
    parts = {"tiny": "memory: fixed", "tiny_2": "memory: learned"}
    parts |= {f"tiny_{part}": narrow for part in ("3", "3b", "4", "4b", "5", "5b", "6", "7")}
    for seed, (name, model) in enumerate(parts.items()):
        (folder / f"{name}.yaml").write_text(
            f"iterations: 2\nseed: {seed}\nname: tiny\nmodel:\n  {model}\nimagenet: false\n"
            f"material: {'more' if '4' in name else 'tiny'}_material.yaml\n"
            "narrowing: {iterations: 2, pictures: 4}\n"
            "frozen_blocks: 5\nfrozen_depthwise: true\n"
            "batch: {pasted: 2, still: 1, real: 1, scene: {frames: 2, size: 96}}\n"
        )
    return parts


@pytest.mark.slow
def test_raw_data_to_shipped_weights_is_one_script_that_goes_on_after_a_stop(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = write_parts(tmp_path)
    out, shipped = tmp_path / "out", tmp_path / "shipped"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    command = [
        "bash",
        str(ROOT / "tools/make_weights.sh"),
        str(raw),
        str(out),
        ",".join(str(tmp_path / f"{name}.yaml") for name in parts)
        .replace(f",{tmp_path}/tiny_3b", f"+{tmp_path}/tiny_3b")
        .replace(f",{tmp_path}/tiny_4b", f"+{tmp_path}/tiny_4b")
        .replace(f",{tmp_path}/tiny_5b", f"*{tmp_path}/tiny_5b")
        + "+",
        str(shipped),
    ]

    stopped = subprocess.run([*command, "--max-minutes", "0"], env=environment, capture_output=True, text=True)
    assert stopped.returncode != 0 and "go on with --resume" in stopped.stdout and not shipped.exists()
    packed_at = (out / "packed/tiny_material/index.json").stat().st_mtime_ns
    subprocess.run(command, env=environment, check=True)
    assert (out / "packed/tiny_material/index.json").stat().st_mtime_ns == packed_at, "packed once"
    card = json.loads((shipped / "tiny.json").read_text())
    assert card["sha256"] == hashlib.sha256((shipped / "tiny.safetensors").read_bytes()).hexdigest()
    assert card["network"]["widths"] == [16, 3]
    seventh, sixth = card["training"]["begins_with"]  # one run, averaged with what it began with
    assert seventh["iterations"] == 2 == seventh["begins_with"]["iterations"]
    assert sixth == {"sha256": seventh["begins_with"]["sha256"]}, "told already"
    alone = seventh["begins_with"]["begins_with"]["begins_with"]  # the fifth, without what it began with
    assert len(alone) == 2 and all(run["iterations"] == 2 for run in alone)
    *last, beginning = alone[0]["begins_with"]["begins_with"]  # all are averaged
    assert len(last) == 2 and all(run["iterations"] == 2 for run in last)
    assert all(run["begins_with"]["sha256"] == beginning["sha256"] for run in last)
    assert set(beginning) == {"sha256"} == set(alone[1]["begins_with"]), "told already"
    first, second, narrowed = last[0]["begins_with"]["begins_with"]
    assert first["iterations"] == 2 == second["iterations"] and set(narrowed) == {"sha256"}
    assert first["begins_with"]["narrowing"]["iterations"] == 2 and second["begins_with"] == narrowed
    assert first["begins_with"]["begins_with"]["begins_with"]["iterations"] == 2
    assert card["validation"]["scores"]["all"]["tracks"] == 1

    (out / "final/tiny.safetensors").write_bytes(b"something else")
    arguments = ["ship_weights.py", str(out / "final/tiny.safetensors"), "--into", str(shipped)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match="is not the file that"):
        runpy.run_path(str(ROOT / "tools/ship_weights.py"), run_name="__main__")


def test_harder_video_is_measured_and_told(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parts(tmp_path)
    script = runpy.run_path(str(ROOT / "tools/robustness.py"))
    script["main"].__globals__["LONG"] = 4  # the videos made here are short
    table = tmp_path / "robustness.csv"
    options = ["--root", raw, "--material", tmp_path / "tiny_material.yaml", "--out", table, "--models"]
    monkeypatch.setattr(sys, "argv", ["robustness.py", *map(str, options), "default", "opencv-mil"])
    assert script["main"]() == 0
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == {"compact", "opencv-mil"}
    assert len({row["disturbance"] for row in rows}) * 2 == len(rows)
    assert all(0 <= float(row["success"]) <= 1 and int(row["runs"]) >= 1 for row in rows)
    plain = {row["model"]: float(row["success"]) for row in rows if row["disturbance"] == "as it is"}
    assert plain["compact"] > 0.4

    page = runpy.run_path(str(ROOT / "tools/model_page.py"))
    page["on_harder_video"].__globals__["HARDER"] = table
    weights = next(row["weights"] for row in rows if row["weights"])
    said = page["on_harder_video"](weights + "0" * 56)
    assert "| compact |" in said and f"{plain['compact']:.3f} /" in said
    assert page["on_harder_video"]("f" * 64) is None, "figures of other weights are not shown"

    monkeypatch.setattr(sys, "argv", ["robustness.py", *map(str, options), "no-such-model"])
    assert script["main"]() == 2


def run_of(name: str, good: list[bool], source: str = "a") -> Run:
    truth = np.tile([40.0, 40, 20, 20], (len(good), 1))
    boxes = np.where(np.array(good)[:, None], truth, truth + np.array([100.0, 0, 0, 0]))
    return Run(source, name, truth, boxes)


def test_failures_are_the_frames_on_which_a_target_is_lost_for_good() -> None:
    runs = [
        run_of("fine/0", [True] * 9),
        run_of("blink/0", [True, True, False, True, True, True, True, True, True]),
        run_of("late/0", [True] * 6 + [False] * 3),
        run_of("soon/0", [True] * 2 + [False] * 7),
        run_of("other/0", [True] * 5 + [False] * 4, source="b"),
    ]
    found = find_failures(runs, 2)
    assert [(f.name, f.index) for f in found] == [("soon/0", 2), ("other/0", 5)], "the worst of each source"
    assert len(find_failures(runs, 9)) == 3
    assert find_failures(runs[:1], 9) == []


def test_a_failure_is_drawn_with_truth_and_answer(raw: Path) -> None:
    clip: Clip = next(c for c in open_folder(raw / "videos", "videos") if c.name == "one")
    truth = np.array([clip.tracks["0"][i] for i in range(8)], float)
    boxes = truth + np.array([60.0, 0, 0, 0]) * (np.arange(8) >= 4)[:, None]
    run = Run("videos", "one/0", truth, boxes)
    sheet = failure_sheet(find_failures([run], 4), [run], [HeldOut("videos", clip)])
    hue = cv2.cvtColor(sheet, cv2.COLOR_BGR2HSV)
    assert ((abs(hue[..., 0].astype(int) - 60) < 5) & (hue[..., 1] > 120)).sum() > 100, "a green box"
    assert ((abs(hue[..., 0].astype(int) - 26) < 4) & (hue[..., 1] > 220)).sum() > 100, "a yellow box"


@pytest.mark.parametrize("ahead", [0, 1])
def test_training_speed_is_taken_apart(ahead: int) -> None:
    batch = {"pasted": 1, "still": 1, "real": 1, "scene": {"frames": 1, "size": 64}}
    from onlinetada.trackers.config import from_values

    recipe = from_values(Recipe, {"iterations": 50, "batch": batch, "imagenet": False})
    bank: Bank = made_up_bank(40, 64, "cpu")
    speed = measure(CompactJob(recipe), bank, compiled=False, iterations=2, ahead=ahead)
    assert speed.frames_a_step == 3 and speed.search_frames_per_s == pytest.approx(3000 / speed.iteration_ms)
    times = (speed.gradients_ms, speed.forward_ms, speed.backward_ms, speed.batch_ms, speed.update_ms)
    assert min(times) > 0 and speed.plan_ms and not speed.recorded
    assert speed.bound.startswith("bound by")


def test_what_bounds_it_is_the_larger_part() -> None:
    parts = {"gradients_ms": 30.0, "update_ms": 2.0, "batch_ms": 5.0}
    assert bound(37.0, parts, 1.0, ahead=False).startswith("bound by the network:")
    assert bound(33.0, parts | {"batch_ms": 50.0}, 1.0, ahead=False).startswith("bound by making batches:")
    assert bound(60.0, parts, 55.0, ahead=True).startswith("bound by planning on the host (55.0 ms")
    assert bound(33.0, parts, 1.0, ahead=True).startswith("bound by the network:")
    assert bound(60.0, parts, 1.0, ahead=True).startswith("bound by the device, which makes batches and trains")
