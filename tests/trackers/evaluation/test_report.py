"""Reports over made results, and the published figures of real trackers."""

from __future__ import annotations

import csv
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest

from onlinetada.trackers.cli import main
from onlinetada.trackers.evaluation.benchmarks import find_benchmark
from onlinetada.trackers.evaluation.boxfiles import format_boxes
from onlinetada.trackers.evaluation.protocols import PROTOCOLS
from onlinetada.trackers.evaluation.reporting import make_report
from onlinetada.trackers.evaluation.sequences import load_annotations


def summary(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "summary.csv") as file:
        return {row["tracker"]: row for row in csv.DictReader(file)}


@pytest.fixture
def made(clips: Path, tmp_path: Path) -> Path:
    """A good and a poor tracker on the three clips."""
    for sequence in load_annotations(find_benchmark("folder"), clips):
        for name, shift in (("good", 0), ("poor", 9)):
            file = tmp_path / "results" / "folder" / name / f"{sequence.name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(format_boxes(sequence.truth + np.array([shift, 0, 0, 0])))
    return tmp_path


def report(made: Path, *extra: str) -> int:
    folders = ["--annotations", str(made / "clips"), "--results", str(made / "results"), "--out", str(made / "out")]
    return main(["report", "folder", *folders, *extra])


def test_everything_is_written(made: Path) -> None:
    assert report(made, "--protocol", "got10k") == 0
    rows = summary(made / "out")
    assert list(rows) == ["good", "poor"] and rows["good"]["protocol"] == "got10k"
    assert float(rows["good"]["success"]) == pytest.approx(20 / 21, abs=1e-6)
    assert rows["good"]["sequences"] == "3" and float(rows["poor"]["precision"]) == 1
    parsed = json.loads((made / "out/summary.json").read_text())
    assert parsed["protocol"] == "got10k" and len(parsed["trackers"]["poor"]["success_curve"]) == 21
    with open(made / "out/pairs.csv") as file:
        (pair,) = csv.DictReader(file)
    assert (pair["tracker"], pair["against"], float(pair["wins"])) == ("good", "poor", 1.0)
    for name in ("success", "precision", "norm_precision"):
        assert (made / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_holds_everything(made: Path) -> None:
    report(made)
    page = (made / "out/report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "") and "https://" not in page
    data = json.loads(page.split("const D = ")[1].split(";\n")[0].replace("<\\/", "</"))
    assert [t["name"] for t in data["trackers"]] == ["good", "poor"]
    clip = data["sequences"][0]
    assert clip["name"] == "clip0" and set(clip["overlaps"]) == {"good", "poor"}
    assert len(clip["pictures"]) == 3
    assert {box[0] for box in clip["pictures"][0]["boxes"]} == {"", "good", "poor"}


def test_a_missing_sequence_is_said_and_counted(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (made / "results/folder/good/clip1.txt").unlink()
    assert report(made) == 0
    assert "good has no result for 1 of 3 sequences: clip1" in capsys.readouterr().err
    rows = summary(made / "out")
    assert list(rows) == ["poor", "good"], "a part of the sequences does not lead the table"
    assert (rows["good"]["sequences"], rows["good"]["missing_sequences"]) == ("2", "1")
    assert report(made, "--require-all") == 2
    assert report(made, "--require-all", "--sequences", "clip0,clip2") == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3,4\n" * 5, r"clip0\.txt, line 6: 5 boxes, but the sequence has 8 frames"),
        ("1,2,3,4\n" * 4 + "1,2\n" + "1,2,3,4\n" * 3, r"clip0\.txt, line 5: 2 numbers"),
    ],
)
def test_a_broken_file_is_refused(made: Path, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    (made / "results/folder/poor/clip0.txt").write_text(text)
    assert report(made) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1


def test_bad_arguments_are_one_line(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for extra in (["--protocol", "auc"], ["--trackers", "goood"], ["--sequences", "clip7"]):
        assert report(made, *extra) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.data
def test_published_figures_are_reproduced(data: Path) -> None:
    with open(data / "results/published.csv") as file:
        rows = list(csv.DictReader(file))
    reports = {}
    for row in rows:
        ope = "OPE" in row["by"]
        key = (row["benchmark"], "ope" if ope else "pysot")
        if key not in reports:
            benchmark = find_benchmark(key[0])
            sequences = load_annotations(benchmark, data / "annotations")
            made = make_report(benchmark, PROTOCOLS[key[1]], sequences, data / "results")
            reports[key] = {t.name: t.total for t in made.trackers}
        score = reports[key][row["tracker"]]
        value = score.success if row["metric"] == "AUC" else score.precision
        assert value == pytest.approx(float(row["published"]), abs=0.0006 if ope else 0.0022), row
    assert len(rows) >= 24


@pytest.mark.data
def test_nanotrack_on_dtb70(data: Path) -> None:
    benchmark = find_benchmark("DTB70")
    sequences = load_annotations(benchmark, data / "annotations")
    figures = {}
    for protocol in ("pysot", "got10k"):
        made = make_report(benchmark, PROTOCOLS[protocol], sequences, data / "results", trackers=("NanoTrackV3",))
        figures[protocol] = made.trackers[0].total
    pysot, got10k = figures["pysot"], figures["got10k"]
    assert (pysot.success, pysot.precision, pysot.norm_precision) == pytest.approx((0.6287, 0.8133, 0.7481), abs=2e-4)
    assert (got10k.success, got10k.precision) == pytest.approx((0.6288, 0.8126), abs=2e-4)


@pytest.mark.data
@pytest.mark.slow
def test_fifty_trackers_take_seconds(data: Path, tmp_path: Path) -> None:
    for index in range(50):
        link = tmp_path / "results" / "DTB70" / f"tracker{index:02d}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(data / "results/DTB70/NanoTrackV3")
    benchmark = find_benchmark("DTB70")
    start = time.perf_counter()
    made = make_report(
        benchmark, PROTOCOLS["ope"], load_annotations(benchmark, data / "annotations"), tmp_path / "results"
    )
    assert len(made.trackers) == 50 and len({t.total.success for t in made.trackers}) == 1
    assert time.perf_counter() - start < 30


def test_polygon_results_are_scored(made: Path) -> None:
    boxes = load_annotations(find_benchmark("folder"), made / "clips")[0].truth
    x, y, w, h = boxes.T
    corners = np.stack([x, y, x + w, y, x + w, y + h, x, y + h], axis=1)
    (made / "results/folder/poor/clip0.txt").write_text("\n".join("\t".join(map(str, r)) for r in corners))
    assert report(made) == 0
    with open(made / "out/sequences.csv") as file:
        scores = {(r["tracker"], r["sequence"]): float(r["success"]) for r in csv.DictReader(file)}
    assert scores["poor", "clip0"] == pytest.approx(20 / 21, abs=1e-6)


def test_names_that_differ_in_signs_only(made: Path) -> None:
    folder = made / "results/folder/good"
    (folder / "clip1.txt").rename(folder / "CLIP1.txt")
    assert report(made, "--require-all") == 0


def test_realtime_records_are_reported(made: Path) -> None:
    lines = ["frame,finished_s,x,y,w,h", "0,0.0,10,12,14,12", "1,0.05,13,13,14,12"]
    for name in ("good", "live-only"):
        folder = made / "results/folder" / name / "realtime"
        folder.mkdir(parents=True)
        (folder / "clip0.csv").write_text("\n".join(lines) + "\n")
    (made / "results/folder/good/realtime/run.json").write_text('{"fps": 10.0}')
    assert report(made) == 0
    with open(made / "out/latency.csv") as file:
        rows = {r["tracker"]: r for r in csv.DictReader(file)}
    assert set(rows) == {"good", "live-only"}
    assert float(rows["good"]["success"]) > float(rows["live-only"]["success"]), "its frames come more slowly"
    assert '"latency":[{' in (made / "out/report.html").read_text()
