from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.boxfiles import format_boxes, read_boxes, write_atomic

EXPECTED = np.array([[1, 2, 3, 4], [np.nan] * 4, [5.5, -6, 7, 8]])


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3,4\nNaN,NaN,NaN,NaN\n5.5,-6,7,8\n",
        "1, 2, 3, 4\r\nnan, nan, nan, nan\r\n5.5, -6, 7, 8\r\n\r\n",
        "1\t2\t3\t4\nNAN\tNAN\tNAN\tNAN\n5.5\t-6\t7\t8",
        "  1   2 3 4\nnan nan nan nan\n5.5e0 -6 7 8\n",
        "\ufeff1;2;3;4\nnan;nan;nan;nan\n5.5;-6;7;8\n",
    ],
    ids=["commas", "windows", "tabs", "spaces", "semicolons, byte order mark"],
)
def test_reads_what_people_have(tmp_path: Path, text: str) -> None:
    file = tmp_path / "boxes.txt"
    file.write_bytes(text.encode())
    np.testing.assert_array_equal(read_boxes(file, rows=3), EXPECTED)


def test_reads_polygons(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("0,0,4,0,4,2,0,2\n1,1,5,1,5,3,1,3\n")
    assert read_boxes(tmp_path / "p.txt").shape == (2, 8)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1,2,3,4\n1,2,3\n", 2),
        ("1,2,3,4\n1,2,x,4\n1,2,3,4\n", 2),
        ("1,2,3,4\n\n1,2,3,4\n", 2),
        ("1,2,,4,5\n", 1),
        ("1,2,3,4,0.9\n", 1),
        ("1,2,3,4\n1,2,3,4\n", 3),
        ("1,2,3,4\n1,2,3,4\n1,2,3,4\n1,2,3,4\n", 4),
        ("x,y,w,h\n1,2,3,4\n1,2,3,4\n", 1),
    ],
)
def test_refuses_with_file_and_line(tmp_path: Path, text: str, line: int) -> None:
    file = tmp_path / "broken.txt"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"broken\.txt, line {line}:") as error:
        read_boxes(file, rows=3)
    assert "\n" not in str(error.value)


def test_refuses_empty_and_binary(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(InputError, match="empty"):
        read_boxes(tmp_path / "empty.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="not a text file"):
        read_boxes(tmp_path / "binary.txt")


def test_format_is_short_and_reads_back(tmp_path: Path) -> None:
    boxes = np.array([[1, 2, 3, 4], [0.12345, 100, 20.5, 7], [-0.00001, 10, 1, 1]])
    text = format_boxes(boxes)
    assert text.splitlines()[:2] == ["1,2,3,4", "0.1235,100,20.5,7"]
    write_atomic(tmp_path / "a" / "b.txt", text)
    np.testing.assert_allclose(read_boxes(tmp_path / "a" / "b.txt"), boxes, atol=6e-5)
    assert [f.name for f in (tmp_path / "a").iterdir()] == ["b.txt"]
