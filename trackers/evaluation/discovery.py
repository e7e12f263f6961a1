"""Find a benchmark's files in a folder, however it was unpacked; say what was expected where it is not there."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.benchmarks import BENCHMARKS, Benchmark, Layout
from onlinetada.trackers.evaluation.frames import has_images, image_folder

_DEPTH = 3
_SKIPPED = re.compile(r"\.|(att|attributes|times)$")
_NAMES = {name.lower() for b in BENCHMARKS if b.sequences for name in (b.name, *b.aliases)}
_NOT_TRUTH = re.compile(r"^(list|readme|license|testing_set|training_set|groundtruth\w*|gt)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A sequence on disk: its ground truth file, and the folder of its images where there is one."""

    name: str
    truth: Path
    images: Path | None
    zero_based: bool


def find_layout(benchmark: Benchmark, root: Path, *, images: bool) -> tuple[Found, ...]:
    """All sequences of ``benchmark`` at the first place at or below ``root`` that has any.

    Raises:
        InputError: none; the message has the expected tree and the nearest match.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder that holds {benchmark.name}")
    single = _single_sequence(benchmark, root, images=images)
    if single is not None:
        return (single,)
    found: dict[str, Found] = {}
    pictureless: list[tuple[Path, Layout, Found]] = []
    for base in _bases(benchmark, root):
        here: dict[str, Found] = {}
        used: set[Path] = set()
        for layout in benchmark.layouts:
            for item in _matches(benchmark, layout, base):
                if item.truth in used or item.name in here or _is_another(benchmark, layout, item.truth, root):
                    continue
                if images and item.images is None:
                    pictureless.append((base, layout, item))
                else:
                    used.add(item.truth)
                    here[item.name] = item
        twice = sorted(found.keys() & here.keys())
        if twice:
            raise InputError(f"{root}: two sequences are named {twice[0]!r}; give the folder that holds one of them")
        found |= here
        if found and benchmark.name != "folder":
            break
    if not found:
        raise InputError(_not_found(benchmark, root, pictureless, images=images))
    return tuple(sorted(found.values(), key=lambda f: f.name))


def _is_another(benchmark: Benchmark, layout: Layout, truth: Path, root: Path) -> bool:
    """Whether the file lies in the folder of another benchmark, so that its form alone says nothing."""
    if benchmark.name == "folder" or benchmark.name in layout.truth or layout.truth.startswith("anno_"):
        return False
    own = {n.lower() for n in (benchmark.name, *benchmark.aliases)}
    folders = {part.lower() for part in truth.relative_to(root).parts[:-1]}
    return bool(folders & _NAMES) and not folders & own


def _bases(benchmark: Benchmark, root: Path) -> Iterator[Path]:
    """Folders that may hold the benchmark: those that bear its name first, then all, nearest first."""
    wanted = {n.lower() for n in (benchmark.name, *benchmark.aliases)}
    yield root
    below = list(_folders_below(root))
    yield from (f for f in below if f.name.lower() in wanted)
    subset = [f for f in below if benchmark.name == "GOT-10k" and f.name in ("val", "test")]
    yield from subset
    yield from (f for f in below if f.name.lower() not in wanted and f not in subset)


def _folders_below(root: Path) -> Iterator[Path]:
    level = [root]
    for _ in range(_DEPTH):
        deeper: list[Path] = []
        for folder in level:
            with os.scandir(folder) as entries:
                inside = sorted(Path(e.path) for e in entries if e.is_dir() and not _SKIPPED.match(e.name))
            deeper += [f for f in inside if not has_images(f)]
        yield from deeper
        level = deeper


def _matches(benchmark: Benchmark, layout: Layout, base: Path) -> Iterator[Found]:
    pattern = re.escape(layout.truth).replace(r"\{seq\}", "(?P<seq>[^/]+)", 1).replace(r"\{part\}", "(?P<part>[^/]+)")
    pattern = pattern.replace(r"\{seq\}", "(?P=seq)")
    for file in sorted(base.glob(layout.truth.replace("{seq}", "*").replace("{part}", "*"))):
        match = re.fullmatch(pattern, file.relative_to(base).as_posix())
        if match is None or _NOT_TRUTH.match(match["seq"]) or not file.is_file() or file.stat().st_size == 0:
            continue
        name, part = match["seq"], match.groupdict().get("part") or ""
        # OTB keeps several targets of one video as groundtruth_rect.1.txt, .2.txt: Jogging-1, Jogging-2
        target = f"{name}-{part}" if part.isdigit() and "rect" in layout.truth else name
        yield Found(target, file, _images_of(benchmark, layout, base, name, part), layout.zero_based)


def _images_of(benchmark: Benchmark, layout: Layout, base: Path, name: str, part: str) -> Path | None:
    for template in layout.images:
        folder = base / template.format(seq=name, part=part, folder=image_folder(benchmark, name))
        if has_images(folder):
            return folder
    return None


def _single_sequence(benchmark: Benchmark, root: Path, *, images: bool) -> Found | None:
    """``folder`` pointed at one sequence instead of at a folder of them."""
    if benchmark.name != "folder":
        return None
    for layout in benchmark.layouts:
        if "/" in layout.truth and (root / layout.truth.split("/")[1].replace("{seq}", root.name)).is_file():
            for item in _matches(benchmark, layout, root.resolve().parent):
                if item.name == root.resolve().name and (item.images or not images):
                    return item
    return None


def _not_found(benchmark: Benchmark, root: Path, pictureless: list[tuple[Path, Layout, Found]], *, images: bool) -> str:
    if pictureless:
        base, layout, item = pictureless[0]
        expected = [t.format(seq=item.name, part="*", folder=image_folder(benchmark, item.name)) for t in layout.images]
        near = _nearest(base, expected)
        return (
            f"{benchmark.name}: ground truth found ({item.truth}) but no images for it; expected "
            f"{' or '.join(f'{base}/{e}/*.jpg' for e in expected[:3])}{near}"
        )
    trees = [layout.truth + (f" with {layout.images[0]}/*.jpg" if images else "") for layout in benchmark.layouts[:3]]
    if not images:
        trees = [f"{benchmark.name}/SEQ.txt", *trees[:2]]
    tree = "; or ".join(trees).replace("{seq}", "SEQ").replace("{part}", "*").replace("{folder}", "FOLDER")
    return (
        f"{root}: no {benchmark.name} here; expected in it: {tree}"
        f"{_nearest(root, [layout.truth for layout in benchmark.layouts[:3]])}"
    )


def _nearest(root: Path, expected: list[str]) -> str:
    there: list[str] = []
    for folder in (root, *_folders_below(root)):
        with os.scandir(folder) as entries:
            there += [Path(e.path).relative_to(root).as_posix() for _, e in zip(range(50), entries, strict=False)]
        if len(there) > 2000:
            break
    best = max(
        ((difflib.SequenceMatcher(None, e, t).ratio(), t) for e in expected for t in there), default=(0.0, "nothing")
    )
    return f"; nearest match there: {best[1]}" if best[0] > 0.3 else f"; there are {len(there)} other entries"
