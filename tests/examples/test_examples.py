"""Every example as a user runs it: as a program of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name, folder, *arguments):
    return subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def state_bytes(done):
    assert done.returncode == 0, done.stderr
    return int(re.search(r"state of one stream +(\d+) bytes", done.stdout)[1])


def make_sequences(folder):
    rng = np.random.default_rng(0)
    for sequence in ("a", "b"):
        images = folder / "benchmark" / sequence / "img"
        images.mkdir(parents=True)
        for t in range(5):
            cv2.imwrite(str(images / f"{t:04d}.jpg"), rng.integers(0, 255, (90, 120, 3), dtype=np.uint8))
    return folder


def test_classify_on_a_folder_of_short_sequences(tmp_path):
    done = run_example("classify_stream", tmp_path, "--quick", "--data", make_sequences(tmp_path))
    # 2 descriptors of each of the four layers' inputs, four counters, one flag
    assert state_bytes(done) == 4 * 2 * (16 + 32 + 32 + 64) + 4 * 8 + 1
    assert "1.conv1: OnlineTAdaConv2d 16->32 3x3" in done.stdout


def test_segment_writes_a_picture_of_its_own_video(tmp_path):
    done = run_example("segment_stream", tmp_path, "--quick")
    # descriptors of 3 and 16 channels; two whole frames of 16 x 32 x 32 and of 32 x 16 x 16; counters and flag
    assert state_bytes(done) == 4 * 2 * (3 + 16 + 16 * 32**2 + 32 * 16**2) + 4 * 8 + 1
    assert cv2.imread(str(tmp_path / "out" / "segment_stream.png")).shape == (4 * 128, 6 * 128, 3)


@pytest.mark.slow  # the exporter
def test_pyramid(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    done = run_example("pyramid_stream", tmp_path, "--quick")
    assert state_bytes(done) == 4 * 2 * (64 + 96 + 96 + 128 + 3 * 64) + 7 * 8 + 1


def test_folder_without_sequences(tmp_path):
    done = run_example("classify_stream", tmp_path, "--data", tmp_path)
    assert done.returncode == 2
    assert "no sequences below" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["classify_stream", "segment_stream", "pyramid_stream"])
def test_real_footage_in_full(name, tmp_path):
    data = os.environ.get("ONLINETADA_DATA")
    if not data:
        pytest.skip("ONLINETADA_DATA is not set: no real video")
    if name == "pyramid_stream":
        pytest.importorskip("onnxruntime")
    assert state_bytes(run_example(name, tmp_path, "--data", data)) > 0
