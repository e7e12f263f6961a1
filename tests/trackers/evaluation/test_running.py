"""Runs: the same files whatever happens on the way."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onlinetada.errors import InputError
from onlinetada.trackers.cli import main
from onlinetada.trackers.commands import evaluate
from onlinetada.trackers.evaluation.benchmarks import find_benchmark
from onlinetada.trackers.evaluation.boxfiles import read_boxes
from onlinetada.trackers.evaluation.claims import Claims
from onlinetada.trackers.evaluation.modes import track
from onlinetada.trackers.evaluation.running import Job, note_settings, run_all, shard_of
from onlinetada.trackers.evaluation.sequences import Sequence, load_sequences

# A real, if simple, tracker: template matching. A script of its own, so that spawned workers find it.
SCRIPT = """
import argparse, os, sys, time
import cv2
import numpy as np
from onlinetada.trackers.cli import main
from onlinetada.trackers.commands import evaluate
from onlinetada.trackers.result import TrackResult, as_box

PAUSE = float(os.environ.get("MATCHER_PAUSE", 0))

class Matcher:
    name = "matcher"

    def init(self, image, box_xywh, *, timestamp_s=None, color="bgr"):
        x, y, w, h = (int(v) for v in box_xywh)
        self.template, self.size, self.index = image[y:y + h, x:x + w].copy(), (w, h), 0
        return TrackResult(0, timestamp_s, as_box(box_xywh), 1.0, "tracking", 0.0)

    def update(self, image, *, timestamp_s=None, color="bgr"):
        time.sleep(PAUSE)
        self.index += 1
        scores = cv2.matchTemplate(image, self.template, cv2.TM_SQDIFF)
        y, x = np.unravel_index(int(scores.argmin()), scores.shape)
        return TrackResult(self.index, timestamp_s, as_box((x, y, *self.size)), 1.0, "tracking", 0.0)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    sys.exit(evaluate.run(parser.parse_args(), build=Matcher))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "matcher.py").write_text(SCRIPT)
    return tmp_path / "matcher.py"


@pytest.fixture
def matcher(script: Path) -> Any:
    """The class itself, for runs in this process."""
    spec = importlib.util.spec_from_file_location("matcher", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Matcher


def run(build: Any, clips: Path, results: Path, *extra: str, benchmark: str = "folder") -> int:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    options = [benchmark, "--root", str(clips), "--results", str(results), "--name", "matcher", *extra]
    return evaluate.run(parser.parse_args(options), build=build)


def start(script: Path, clips: Path, results: Path, *extra: str, pause: float = 0.0) -> subprocess.Popen[str]:
    """The same in a process of its own."""
    options = ["folder", "--root", str(clips), "--results", str(results), "--name", "matcher", *extra]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MATCHER_PAUSE": str(pause)}
    return subprocess.Popen(
        [sys.executable, str(script), *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=environment,
    )


def files(results: Path) -> dict[str, bytes]:
    """Everything that does not hold times."""
    folder = results / "folder" / "matcher"
    return {
        str(f.relative_to(folder)): f.read_bytes()
        for f in folder.rglob("*")
        if f.is_file() and "times" not in f.relative_to(folder).parts
    }


def test_a_run_and_its_files(matcher: Any, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(matcher, clips, tmp_path / "r") == 0
    said = capsys.readouterr()
    assert "[3/3]" in said.err and "ms a frame" in said.err and "success 0.9524" in said.out
    folder = tmp_path / "r/folder/matcher"
    boxes = read_boxes(folder / "clip0.txt", rows=8)
    assert boxes[7].tolist() == [31, 19, 14, 12]
    for kind in ("time", "decode"):
        assert len((folder / f"times/clip0_{kind}.txt").read_text().split()) == 8
    assert json.loads((folder / "scores_pysot.json").read_text())["protocol"] == "pysot"
    assert run(matcher, clips, tmp_path / "r", "--protocol", "got10k") == 0
    again = capsys.readouterr()
    assert "3 of 3 sequences are done already" in again.err and "protocol got10k" in again.out
    assert not (folder / ".claims").exists()


def test_published_coordinates(matcher: Any, clips: Path, tmp_path: Path) -> None:
    """Under the name of a benchmark that counts from 1, files do; the tracker does not."""
    assert run(matcher, clips, tmp_path / "r", benchmark="DTB70") == 0
    folder = tmp_path / "r/DTB70/matcher"
    assert read_boxes(folder / "clip0.txt")[0].tolist() == [11, 13, 14, 12]
    assert json.loads((folder / "scores_pysot.json").read_text())["success"] == pytest.approx(20 / 21, abs=1e-6)


def test_shards_together_are_the_whole(matcher: Any, clips: Path, tmp_path: Path) -> None:
    assert run(matcher, clips, tmp_path / "whole") == 0
    for shard in ("2/2", "1/2"):
        assert run(matcher, clips, tmp_path / "parts", "--shard", shard) == 0
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_at_random_moments(script: Path, matcher: Any, clips: Path, tmp_path: Path, workers: str) -> None:
    """kill -9 again and again, then once to the end: the files of an undisturbed run, and nothing else."""
    assert run(matcher, clips, tmp_path / "undisturbed") == 0
    rng = random.Random(int(workers))
    for _ in range(6):
        process = start(script, clips, tmp_path / "killed", "--workers", workers, pause=0.08)
        while process.poll() is None and not any((tmp_path / "killed/folder/matcher/.claims").glob("*")):
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 0.5))
        process.kill()
        process.communicate()
    resumed = start(script, clips, tmp_path / "killed", "--workers", workers)
    messages = resumed.communicate(timeout=120)[1]
    assert resumed.returncode == 0, messages
    assert files(tmp_path / "killed") == files(tmp_path / "undisturbed")


def test_random_trackers_repeat(clips: Path, tmp_path: Path) -> None:
    """OpenCV's MIL draws from the C library; what ran before must not matter, or resuming would change results."""
    for name, order in (("a", ["clip0,clip1,clip2"]), ("b", ["clip2", "clip1", "clip0"])):
        for only in order:
            options = ["--sequences", only, "--model", "opencv-mil", "--results", str(tmp_path / name)]
            assert main(["eval", "folder", "--root", str(clips), *options]) == 0
    for clip in ("clip0", "clip1", "clip2"):
        one, other = (tmp_path / n / "folder/opencv-mil" / f"{clip}.txt" for n in ("a", "b"))
        assert one.read_text() == other.read_text()
        assert len(set(one.read_text().split())) > 1


@pytest.mark.slow
def test_many_share_one_folder(script: Path, matcher: Any, clips: Path, tmp_path: Path) -> None:
    """Several commands at a time on one folder, as on several machines: every sequence is run once."""
    processes = [start(script, clips, tmp_path / "r", pause=0.05) for _ in range(3)]
    messages = [p.communicate(timeout=120)[1] for p in processes]
    assert [p.returncode for p in processes] == [0, 0, 0]
    assert sum(m.count("frames,") for m in messages) == 3
    assert run(matcher, clips, tmp_path / "alone") == 0
    assert files(tmp_path / "r") == files(tmp_path / "alone")


def test_what_is_broken_is_run_again_or_said(
    matcher: Any, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(matcher, clips, tmp_path / "r")
    file = tmp_path / "r/folder/matcher/clip1.txt"
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2])
    assert run(matcher, clips, tmp_path / "r") == 0
    assert file.read_text() == whole

    (clips / "clip2/img/00004.png").write_bytes(b"not an image")
    capsys.readouterr()
    assert run(matcher, clips, tmp_path / "r2") == 1
    said = capsys.readouterr().err
    assert "00004.png: cannot be decoded" in said and "no result for clip2" in said
    assert (tmp_path / "r2/folder/matcher/clip0.txt").exists()


def test_got10k_test_split_is_packed(
    matcher: Any, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clips / "clip0/img").rename(tmp_path / "GOT-10k_Test_000001")
    (tmp_path / "test").mkdir()
    (tmp_path / "GOT-10k_Test_000001").rename(tmp_path / "test/GOT-10k_Test_000001")
    (tmp_path / "test/GOT-10k_Test_000001/groundtruth.txt").write_text("10,12,14,12\n")
    assert run(matcher, tmp_path / "test", tmp_path / "r", benchmark="GOT-10k") == 0
    assert "withheld; submit" in capsys.readouterr().out
    with zipfile.ZipFile(tmp_path / "r/GOT-10k/matcher.zip") as archive:
        name = "GOT-10k_Test_000001"
        assert sorted(archive.namelist()) == [f"{name}/{name}_001.txt", f"{name}/{name}_time.txt"]
        assert len(archive.read(f"{name}/{name}_001.txt").split()) == 8


def test_settings_do_not_mix(tmp_path: Path) -> None:
    note_settings(tmp_path, {"model": "a", "penalty_k": 0.1})
    note_settings(tmp_path, {"model": "a", "penalty_k": 0.1})
    with pytest.raises(InputError, match=r"penalty_k = 0.1, now it is 0.2"):
        note_settings(tmp_path, {"model": "a", "penalty_k": 0.2})


def test_claims(tmp_path: Path) -> None:
    first, second = Claims(tmp_path / "c"), Claims(tmp_path / "c")
    assert first.take("s") and not second.take("s")
    first.release("s")
    assert second.take("s")
    claim = tmp_path / "c" / "s.claim"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    claim.write_text(json.dumps({**json.loads(claim.read_text()), "pid": gone.pid}))
    assert first.take("s"), "the owner is dead"
    claim.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    assert not second.take("s"), "another machine may be alive"
    os.utime(claim, (time.time() - 3600,) * 2)
    assert second.take("s"), "nobody has renewed it for an hour"


def test_shards_are_a_partition() -> None:
    sequences = [Sequence(str(i), np.ones((2, 4))) for i in range(10)]
    for shards in (("1/3", "2/3", "3/3"), ("0/3", "1/3", "2/3")):
        names = [s.name for shard in shards for s in shard_of(sequences, shard)]
        assert sorted(names, key=int) == [str(i) for i in range(10)]
    for wrong in ("3", "4/3", "a/b", "1/0", "-1/3"):
        with pytest.raises(InputError, match="expected i/n"):
            shard_of(sequences, wrong)


def test_bad_arguments_are_one_line(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["eval", "folder", "--root", str(clips), "--results", str(tmp_path / "r")]
    for extra in (
        ["--model", "nothing"],
        ["--weights", str(tmp_path / "no.pth"), "--model", "tctrack"],
        ["--protocol", "auc"],
        ["--workers", "0"],
        ["--shard", "5/2"],
        ["--name", "a/b"],
        ["--fps", "10"],
        ["--realtime", "--fps", "-1"],
        ["--realtime", "--protocol", "vot"],
        ["--realtime", "--replay-times", str(tmp_path)],
        ["--batch", "2", "--realtime"],
        ["--sequences", "clip9"],
    ):
        assert main([*base, *extra]) == 2, extra
        assert capsys.readouterr().err.count("\n") == 1, extra
    assert not (tmp_path / "r").exists()


def test_a_first_frame_without_target_is_refused(clips: Path) -> None:
    sequence = load_sequences(find_benchmark("folder"), clips)[0]
    sequence.truth[0] = np.nan
    with pytest.raises(InputError, match="no target in the first frame"):
        track(None, sequence)  # type: ignore[arg-type]


def test_nothing_to_do_needs_no_tracker(clips: Path, tmp_path: Path) -> None:
    sequences = load_sequences(find_benchmark("folder"), clips)
    for s in sequences:
        (tmp_path / f"{s.name}.txt").write_text("1,2,3,4\n" * len(s))

    def never() -> None:
        raise AssertionError

    assert run_all(Job(never, sequences, tmp_path)) == []  # type: ignore[arg-type]
