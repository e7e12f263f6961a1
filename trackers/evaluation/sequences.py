"""A sequence of a benchmark: frames, ground truth as published, attributes; read from any known layout."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.benchmarks import Benchmark
from onlinetada.trackers.evaluation.boxfiles import Boxes, read_boxes, read_numbers
from onlinetada.trackers.evaluation.discovery import Found, find_layout
from onlinetada.trackers.evaluation.frames import list_images, pick_frames
from onlinetada.trackers.evaluation.geometry import bounding_boxes
from onlinetada.trackers.result import Box, as_box


@dataclass(frozen=True)
class Sequence:
    """One video of a benchmark.

    Attributes:
        name: as in result file names.
        truth: (N, 4), or (N, 8) where the ground truth is a polygon, in the benchmark's published coordinates.
        index_base: number of the first pixel in ``truth`` and in result files, 0 or 1.
        fps: frames a second.
        frames: image files, N of them; empty where only annotations are known.
        attributes: those that apply.
        absent: (N,) the benchmark's own labels of frames without a visible target, where it has such.
        bounds: image width and height, where the benchmark states it (GOT-10k).
        withheld: the ground truth after the first frame is not public.
    """

    name: str
    truth: Boxes
    index_base: int = 0
    fps: float = 30.0
    frames: tuple[Path, ...] = ()
    attributes: tuple[str, ...] = ()
    absent: npt.NDArray[np.bool_] | None = None
    bounds: tuple[float, float] | None = None
    withheld: bool = False

    def __len__(self) -> int:
        return len(self.truth)

    def first_box(self) -> Box:
        """The 0-based box to start a tracker with."""
        return self.box_at(0)

    def box_at(self, index: int) -> Box:
        """The 0-based upright ground truth box of a frame."""
        row = bounding_boxes(self.truth[index : index + 1])[0]
        return as_box(row - [self.index_base, self.index_base, 0, 0])

    def published(self, boxes_0based: npt.ArrayLike) -> Boxes:
        """0-based boxes (N, 4) in the coordinates of the benchmark's files."""
        boxes = np.array(boxes_0based, dtype=np.float64).reshape(-1, 4)
        boxes[:, :2] += self.index_base
        return boxes


def load_sequences(
    benchmark: Benchmark, root: Path, *, only: Several[str] = (), images: bool = True
) -> tuple[Sequence, ...]:
    """Find the sequences of a benchmark under a folder, in whichever of the known layouts they lie there.

    Args:
        root: the benchmark's folder, or one that holds it (several levels up are tried).
        only: names to keep, all without it.
        images: the frames are wanted; without, annotations are enough.

    Raises:
        InputError: nothing found, a name is unknown, or boxes and images do not go together.
    """
    found = find_layout(benchmark, root, images=images)
    if only:
        found = _chosen(found, only, benchmark, root)
    return tuple(_load(benchmark, item, images=images) for item in found)


def split_names(text: str) -> tuple[str, ...]:
    """``"a, b"`` as on the command line."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def load_annotations(benchmark: Benchmark, annotations: Path, *, only: Several[str] = ()) -> tuple[Sequence, ...]:
    """Ground truth alone, from the folder that holds one folder a benchmark (or from a benchmark's own folder)."""
    own = annotations / benchmark.name
    return load_sequences(benchmark, own if own.is_dir() else annotations, only=only, images=False)


def with_frames(sequences: Several[Sequence], pictured: Several[Sequence]) -> tuple[Sequence, ...]:
    """The same sequences, with the frames of those of ``pictured`` that have the same name and length."""
    frames = {s.name: s.frames for s in pictured}
    return tuple(replace(s, frames=frames[s.name]) if len(frames.get(s.name, ())) == len(s) else s for s in sequences)


def _chosen(found: tuple[Found, ...], only: Several[str], benchmark: Benchmark, root: Path) -> tuple[Found, ...]:
    import difflib

    by_name = {f.name: f for f in found}
    for name in only:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, n=1)
            hint = f"; nearest is {near[0]}" if near else ""
            raise InputError(f"{benchmark.name} under {root} has no sequence {name!r}{hint}")
    return tuple(by_name[name] for name in dict.fromkeys(only))


def _load(benchmark: Benchmark, item: Found, *, images: bool) -> Sequence:
    truth = read_boxes(item.truth)
    if item.zero_based and benchmark.index_base:
        truth = truth + (benchmark.index_base * np.array([1, 1, 0, 0]) if truth.shape[1] == 4 else benchmark.index_base)
    frames: tuple[Path, ...] = ()
    if item.images is not None:
        files = list_images(item.images)
        withheld = benchmark.name == "GOT-10k" and len(truth) == 1 < len(files)
        rows = len(files) if withheld else len(truth)
        frames = pick_frames(benchmark, item.name, files, rows, strict=images)
    rows = max(len(truth), len(frames))
    withheld = len(truth) < rows
    truth = np.concatenate([truth, np.full((rows - len(truth), truth.shape[1]), np.nan)])
    return Sequence(
        name=item.name,
        truth=truth,
        index_base=benchmark.index_base,
        fps=benchmark.fps,
        frames=frames,
        attributes=_attributes(benchmark, item),
        absent=_absent(item, rows),
        bounds=_bounds(item),
        withheld=withheld,
    )


def _attributes(benchmark: Benchmark, item: Found) -> tuple[str, ...]:
    beside, above = item.truth.parent, item.truth.parent.parent
    n = item.name
    files = (
        beside / "att" / f"{n}.txt",
        beside / "att" / f"{n}_att.txt",
        above / "att" / f"{n}.txt",
        above / "att" / f"{n}_att.txt",
        above / "attributes" / f"{n}_attr.txt",
        above / "attributes" / f"{n}.txt",
    )
    for file in files:
        if file.is_file():
            flags = read_numbers(file)
            names = benchmark.attributes
            if len(names) != len(flags):
                names = tuple(f"attribute {i + 1}" for i in range(len(flags)))
            return tuple(name for name, flag in zip(names, flags, strict=True) if flag > 0)
    return ()


def _absent(item: Found, rows: int) -> npt.NDArray[np.bool_] | None:
    folder = item.truth.parent
    labels = {
        folder / "full_occlusion.txt": False,
        folder / "out_of_view.txt": False,
        folder / "absent" / f"{item.name}.txt": False,
        folder / "cover.label": True,  # GOT-10k: 0..8, how much is visible
    }
    absent = None
    for file, means_present in labels.items():
        if file.is_file():
            flags = read_numbers(file) > 0
            if len(flags) < rows:
                raise InputError(f"{file}: {len(flags)} flags, the sequence has {rows} frames")
            absent = (absent if absent is not None else np.zeros(rows, dtype=bool)) | (flags[:rows] ^ means_present)
    return absent


def _bounds(item: Found) -> tuple[float, float] | None:
    file = item.truth.parent / "meta_info.ini"
    if not file.is_file():
        return None
    for line in file.read_text(errors="replace").splitlines():
        if line.startswith("resolution"):
            words = line.partition(":")[2].strip(" ()").split(",")
            return float(words[0]), float(words[1])
    return None
