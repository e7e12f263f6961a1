"""Text files of boxes: reading what people really have, writing atomically."""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path

import numpy as np
import numpy.typing as npt

from onlinetada.errors import InputError

Boxes = npt.NDArray[np.float64]
"""(N, 4) x, y, w, h, or (N, 8) corners x1, y1 ... x4, y4; a row may be NaN."""

_SEPARATORS = str.maketrans(",;\t", "   ")
_SHAPES = {4: "x,y,w,h", 8: "four corners"}


def read_boxes(path: Path, *, rows: int | None = None) -> Boxes:
    """Read boxes separated by commas, semicolons, tabs or spaces, with any line ends; ``NaN`` in any case.

    Args:
        path: text file with one box a line: 4 numbers, or 8 for a polygon of four corners.
        rows: how many lines the file must have.

    Returns:
        (N, 4) or (N, 8) float64.

    Raises:
        InputError: names the file and the line.
    """
    lines = _lines(path)
    if not lines:
        raise InputError(f"{path}: the file is empty; expected one box (x,y,w,h) a line")
    fields = [line.translate(_SEPARATORS).split() for line in lines]
    width = len(fields[0])
    for number, (line, row) in enumerate(zip(lines, fields, strict=True), start=1):
        if len(row) != width or width not in _SHAPES or ",," in line:
            raise InputError(f"{path}, line {number}: {_what_is_wrong(line, len(row), width)}")
    try:
        boxes = np.array(fields, dtype=np.float64)
    except ValueError:
        raise InputError(f"{path}, line {_first_bad_line(fields)}: not a number; expected x,y,w,h") from None
    if rows is not None and len(boxes) != rows:
        raise InputError(
            f"{path}, line {min(len(boxes), rows) + 1}: {len(boxes)} boxes, but the sequence has {rows} frames; "
            "it needs one line a frame, the first frame included"
        )
    return boxes


def read_numbers(path: Path) -> npt.NDArray[np.float64]:
    """All numbers of a small text file (attributes, flags, times) as one vector."""
    words = " ".join(_lines(path)).translate(_SEPARATORS).split()
    try:
        return np.array(words, dtype=np.float64)
    except ValueError:
        raise InputError(f"{path}: expected numbers only") from None


def format_boxes(boxes: npt.ArrayLike) -> str:
    """One ``x,y,w,h`` line a box, four decimals, no trailing zeros."""
    return "".join(",".join(_number(v) for v in row) + "\n" for row in np.asarray(boxes, dtype=np.float64).tolist())


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file that is either there whole or not at all, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.{socket.gethostname()}.{os.getpid()}.part"
    data = content.encode() if isinstance(content, str) else content
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep_parts(folder: Path) -> None:
    """Remove the unfinished files of writers on this machine that were killed."""
    for part in list(folder.rglob(".*.part")) if folder.is_dir() else []:
        host, _, pid = part.name.removesuffix(".part").rpartition(".")
        if host.endswith(f".{socket.gethostname()}") and not is_alive(int(pid)):
            part.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether there is a process of that number on this machine; true where that cannot be asked."""
    if os.name == "nt":
        return True  # os.kill would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file") from None
    lines = text.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _what_is_wrong(line: str, count: int, width: int) -> str:
    if not line.strip():
        return "the line is empty; write nan,nan,nan,nan for a frame without a box"
    if count != width and width in _SHAPES:
        return f"{count} numbers where the lines above have {width}"
    if width in _SHAPES:
        return "a field is empty; expected x,y,w,h"
    return f"{count} numbers; expected 4 (x,y,w,h) or 8 (four corners of a polygon)"


def _first_bad_line(fields: list[list[str]]) -> int:
    for number, row in enumerate(fields, start=1):
        try:
            [float(word) for word in row]
        except ValueError:
            return number
    return 1


def _number(value: float) -> str:
    text = f"{value:.4f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
