"""Text outputs: formats, gaps, several targets, and a disk that is full."""

from __future__ import annotations

import csv
import errno
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onlinetada import InputError
from onlinetada.trackers.io.appendfile import AppendFile
from onlinetada.trackers.io.frames import Frame
from onlinetada.trackers.io.outputs import Outputs, check_outputs, path_of_target
from onlinetada.trackers.io.records import CSV_HEADER, BoxesSink, CsvSink, JsonlSink
from onlinetada.trackers.result import TrackResult

IMAGE = np.zeros((8, 8, 3), np.uint8)


def frame(index: int) -> Frame:
    return Frame(IMAGE, index, index / 4)


def result(index: int, x: float = 1.0, state: str = "tracking") -> TrackResult:
    return TrackResult(index, index / 4, (x, 2.0, 3.25, 4.0), 0.875, state, 1.5)  # type: ignore[arg-type]


def test_boxes_have_a_line_a_frame_and_nan_while_lost(tmp_path: Path) -> None:
    sink = BoxesSink({0: tmp_path / "new" / "b.txt"}, fill_gaps=True)
    sink.write(frame(0), {0: result(0)})
    sink.write(frame(1), {0: result(1, state="lost")})
    sink.write(frame(4), {0: result(2, x=-7.5, state="uncertain")})
    assert (tmp_path / "new" / "b.txt").read_text().splitlines() == [  # before it is closed
        "1.000,2.000,3.250,4.000",
        "nan,nan,nan,nan",
        "nan,nan,nan,nan",
        "nan,nan,nan,nan",
        "-7.500,2.000,3.250,4.000",
    ]
    sink.close()
    sink.close()


def test_boxes_of_a_live_source_have_a_line_for_each_frame_that_was_seen(tmp_path: Path) -> None:
    sink = BoxesSink({0: tmp_path / "b.txt"}, fill_gaps=False)
    for index in (3, 9, 10):
        sink.write(frame(index), {0: result(index)})
    assert len((tmp_path / "b.txt").read_text().splitlines()) == 3


def test_boxes_of_several_targets_go_to_a_file_each(tmp_path: Path) -> None:
    paths = {n: path_of_target(tmp_path / "boxes.txt", n) for n in (0, 1)}
    assert [p.name for p in paths.values()] == ["boxes_0.txt", "boxes_1.txt"]
    sink = BoxesSink(paths, fill_gaps=True)
    sink.write(frame(0), {0: result(0), 1: result(0, x=50)})
    sink.write(frame(1), {1: result(1, x=51)})
    assert paths[0].read_text().splitlines()[1] == "nan,nan,nan,nan"
    assert paths[1].read_text().splitlines()[1] == "51.000,2.000,3.250,4.000"


def test_csv_has_a_header_and_every_value(tmp_path: Path) -> None:
    sink = CsvSink(tmp_path / "r.csv")
    sink.write(frame(2), {0: result(2), 1: result(2, state="lost")})
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert ",".join(rows[0]) == CSV_HEADER
    assert [float(rows[0][k]) for k in ("timestamp_s", "x", "w", "score", "latency_ms")] == [0.5, 1, 3.25, 0.875, 1.5]
    assert rows[1]["target_id"] == "1" and rows[1]["state"] == "lost" and math.isnan(float(rows[1]["x"]))


def test_json_lines_in_a_file_and_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for sink in (JsonlSink(tmp_path / "r.jsonl"), JsonlSink(None)):
        sink.write(frame(1), {0: result(1), 1: result(1, state="lost")})
        sink.close()
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "r.jsonl").read_text()
    first, second = map(json.loads, printed.splitlines())
    assert first["box_xywh"] == [1, 2, 3.25, 4] and first["frame_index"] == 1 and first["timestamp_s"] == 0.25
    assert second["box_xywh"] is None and second["state"] == "lost" and second["target_id"] == 1


class FullDisk:
    """A file on a disk that takes a part of the next record and then no more."""

    def __init__(self, file: Any) -> None:
        self.file, self.truncate, self.seek = file, file.truncate, file.seek

    def write(self, data: bytes) -> int:
        if len(data) <= 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self.file.write(data[:2]))


def test_a_record_that_does_not_fit_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AppendFile(tmp_path / "r.txt")
    file.append(b"first\n")
    with monkeypatch.context() as patched:
        patched.setattr(file, "_file", FullDisk(file._file))
        with pytest.raises(OSError, match="No space") as error:
            file.append(b"second\n")
    assert error.value.filename == str(tmp_path / "r.txt")
    assert (tmp_path / "r.txt").read_bytes() == b"first\n"
    file.append(b"third\n")
    assert (tmp_path / "r.txt").read_bytes() == b"first\nthird\n"


class Failing:
    """A sink that fails on its third frame."""

    names = ("bad.txt",)

    def __init__(self) -> None:
        self.written, self.closed = 0, False

    def write(self, frame: Frame, results: Any) -> None:
        if self.written == 2:
            raise OSError(errno.ENOSPC, "No space left on device", "bad.txt")
        self.written += 1

    def close(self) -> None:
        self.closed = True


def test_an_output_that_fails_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    told: list[str] = []
    bad, good = Failing(), BoxesSink({0: tmp_path / "b.txt"}, fill_gaps=True)
    outputs = Outputs([bad, good], notify=told.append)
    for index in range(5):
        outputs.write(frame(index), {0: result(index)})
    outputs.close()
    assert outputs.failed and bad.closed and len((tmp_path / "b.txt").read_text().splitlines()) == 5
    assert told == ["cannot write bad.txt: No space left on device; its first 2 frames are kept"]
    assert Outputs([], notify=told.append).alive is False


def test_outputs_are_checked_before_work_starts(tmp_path: Path) -> None:
    there = tmp_path / "there.csv"
    there.write_text("precious")
    check_outputs([tmp_path / "a.csv", tmp_path / "deep" / "b.csv"], overwrite=False)
    check_outputs([there], overwrite=True)
    for paths, said in (
        ([there], "--overwrite"),
        ([tmp_path], "is a folder"),
        ([tmp_path / "a", tmp_path / "a"], "two outputs"),
        ([there / "below.csv"], "cannot be written"),
        ([Path("-")], "--save-jsonl"),
    ):
        with pytest.raises(InputError, match=said):
            check_outputs(paths, overwrite=False)
    with pytest.raises(InputError, match="is the source"):
        check_outputs([there], overwrite=True, source=there)
    assert there.read_text() == "precious"
