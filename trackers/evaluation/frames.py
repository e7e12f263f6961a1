"""Image files of a sequence: listing them in order, and picking those that the ground truth is of."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
from pathlib import Path

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.benchmarks import Benchmark

_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_NUMBER = re.compile(r"(\d+)(?=\D*$)")
# OTB publishes no table; these sequences begin at a later image, the others at 1.
_OTB_STARTS = {"David": 300, "BlurCar1": 247, "BlurCar3": 3, "BlurCar4": 18}


def list_images(folder: Path) -> list[Path]:
    """The images of a folder by their number."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.lower().endswith(_IMAGES) and not e.name.startswith(".")]
    return [folder / name for name in sorted(names, key=lambda n: (_number(n), n))]


def has_images(folder: Path) -> bool:
    """Whether there is an image directly in the folder."""
    try:
        with os.scandir(folder) as entries:
            return any(e.name.lower().endswith(_IMAGES) for e in entries)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False


def image_folder(benchmark: Benchmark, sequence: str) -> str:
    """The name of the image folder of a sequence; UAV123 keeps several sequences in one."""
    return _uav123_ranges(benchmark.name).get(sequence, (sequence, 1, 0))[0]


def pick_frames(
    benchmark: Benchmark, sequence: str, files: list[Path], rows: int, *, strict: bool = True
) -> tuple[Path, ...]:
    """The images that the ``rows`` boxes of a sequence are of.

    Raises:
        InputError: there is no such set of images (without ``strict``: an empty answer).
    """
    if len(files) == rows:
        return tuple(files)
    picked: list[Path | None] = []
    if benchmark.image_numbers:
        by_number = {_number(f.name): f for f in files}
        picked = [by_number.get(n) for n in _numbers(benchmark, sequence, rows, max(by_number, default=0))]
    elif benchmark.spare_images:
        picked = list(files[:rows])
    present = tuple(p for p in picked if p is not None)
    if len(present) == rows:
        return present
    if not strict:
        return ()
    where = files[0].parent if files else "its folder"
    raise InputError(
        f"{benchmark.name} {sequence}: {rows} boxes but {len(files)} images in {where}"
        + (f", of which {len(present)} have the right numbers" if picked else "")
        + "; is the copy complete?"
    )


def _numbers(benchmark: Benchmark, sequence: str, rows: int, last: int) -> range:
    if benchmark.name == "OTB100":
        first = _OTB_STARTS.get(sequence, 1)
        return range(first, first + rows)
    ranges = _uav123_ranges(benchmark.name)
    folder, first, end = ranges.get(sequence, (sequence, 1, 0))
    if benchmark.name == "UAV123_10fps":
        # Either its own images, renumbered 1, 2, 3 ..., or every third image of the 30 fps set.
        thirty_fps_end = max((e for f, _, e in ranges.values() if f == folder), default=end)
        if last >= thirty_fps_end > 0:
            return range(first, first + 3 * rows, 3)
        first = (first - 1) // 3 + 1
    return range(first, first + rows)


@functools.cache
def _uav123_ranges(benchmark: str) -> dict[str, tuple[str, int, int]]:
    """Sequence -> (image folder, numbers of the first and last image), from the table that got10k carries."""
    if benchmark not in ("UAV123", "UAV123_10fps", "UAV20L"):
        return {}
    spec = importlib.util.find_spec("got10k")
    if spec is None or spec.origin is None:
        return {}
    table = Path(spec.origin).parent / "datasets" / "uav123.json"
    if not table.is_file():
        return {}
    rows = json.loads(table.read_text())["UAV20L" if benchmark == "UAV20L" else "UAV123"]
    return {name: (row["folder_name"], int(row["start_frame"]), int(row["end_frame"])) for name, row in rows.items()}


def _number(name: str) -> int:
    match = _NUMBER.search(name.rpartition(".")[0])
    return int(match[1]) if match else -1
