"""Raw data sets into packed material: around every box a region large enough for any crop that training takes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from onlinetada.errors import InputError
from onlinetada.trackers.config import load_config
from onlinetada.trackers.result import Box, Image
from onlinetada.trackers.training.clips import Clip
from onlinetada.trackers.training.cutouts import cut_out, largest_object, random_blob, rounded_box
from onlinetada.trackers.training.readers import FORMATS, open_folder
from onlinetada.trackers.training.shards import Item, ShardWriter

CutoutKind = Literal["none", "masks", "boxes", "grabcut"]

_STILL_SIDE = 352
_MIN_BOX_SIDE = 5.0


@dataclass(frozen=True)
class Region:
    """How much is kept around a target.

    Attributes:
        share: side of the square, in sides of the target with its context.
        most_px: it is made smaller if it has more pixels a side.
    """

    share: float = 3.53
    most_px: int = 448


@dataclass(frozen=True)
class SourceOptions:
    """One data set of the material.

    Attributes:
        name: what cards and logs call it.
        path: folder, relative to the root given to ``pack``.
        format: name of its reader.
        terms: licence or terms, as stated where it comes from.
        frame_step: keep every n-th frame of a clip.
        max_frames: keep at most so many frames a track, evenly spread.
        max_targets: keep at most so many targets a clip, chosen by chance.
        cutouts: where objects to paste come from: "masks", "boxes" (rounded), "grabcut" (photos of one object).
        blobs: number of random blobs cut from each picture, in addition.
        only: if given, only clips whose name matches one of these patterns.
        leave_out_list: file with names, one a line, relative to the root: clips whose name ends so are left out.
        weight: how often its tracks are drawn, relative to the other sources.
        gaps: what a frame without a box says of the target: that it is "absent", or nothing ("unsure").
    """

    name: str
    path: str
    format: str
    terms: str
    frame_step: int = 1
    max_frames: int = 120
    max_targets: int = 1000
    cutouts: CutoutKind = "none"
    blobs: int = 0
    only: tuple[str, ...] = ("*",)
    leave_out_list: str | None = None
    weight: float = 1.0
    gaps: Literal["absent", "unsure"] = "absent"

    def takes(self, clip: str) -> bool:
        """Whether a clip of this name belongs to the data set."""
        return any(fnmatch(clip, pattern) for pattern in self.only)

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise InputError(
                f"{self.name}: unknown data format {self.format!r}; there are: {', '.join(sorted(FORMATS))}"
            )


@dataclass(frozen=True)
class Material:
    """All data sets of a training.

    Attributes:
        sources: the data sets.
        leave_out: file that lists the clips kept for validation, relative to this one.
        validate: more data for validation, all of it, never packed.
        compare: sequences to compare trackers on, never packed.
        region: side of the kept region around a target, in sides of the target with its context.
        region_side_px: the kept region is made smaller if it has more pixels a side.
    """

    sources: tuple[SourceOptions, ...]
    leave_out: str | None = None
    validate: tuple[SourceOptions, ...] = ()
    compare: tuple[SourceOptions, ...] = ()
    region: float = Region.share
    region_side_px: int = Region.most_px

    def __post_init__(self) -> None:
        if self.region <= 1 or self.region_side_px < 64:
            raise InputError("region must be more than 1, region_side_px at least 64")


@dataclass(frozen=True)
class ClipList:
    """Clips by name."""

    clips: tuple[str, ...]


def left_out(material: Material, path: Path) -> tuple[str, ...]:
    """Names of the clips that the material at ``path`` leaves out."""
    return () if material.leave_out is None else load_config(path.parent / material.leave_out, ClipList).clips


def pack(
    sources: Collection[SourceOptions],
    *,
    root: Path,
    out: Path,
    leave_out: Collection[str] = (),
    region: Region = Region(),
    webp: int | None = None,
    report: Callable[[str], None] = print,
) -> None:
    """Pack sources into ``out``.

    Args:
        sources: the data sets.
        root: their paths are relative to it.
        out: new folder.
        leave_out: clips (of validation) that do not get in.
        region: how much is kept around a target.
        webp: see ``ShardWriter``.
        report: gets a line for each source.
    """
    writer = ShardWriter(out, webp=webp)
    skipped: dict[str, int] = {}
    for source in sources:
        trained_on = what_is_packed(source, root, leave_out)
        for clip in open_folder(root / source.path, source.format):
            if not trained_on(clip.name):
                skipped[source.name] = skipped.get(source.name, 0) + 1
                continue
            if clip.tracks:
                _pack_clip(clip, source, writer, region)
            else:
                _pack_still(clip, source, writer)
        report(f"{source.name}: {writer.counts.get(source.name, {})}, {skipped.get(source.name, 0)} clips left out")
    about = {s.name: {"terms": s.terms, "weight": s.weight, "left_out": skipped.get(s.name, 0)} for s in sources}
    writer.finish({"sources": about})


def what_is_packed(source: SourceOptions, root: Path, leave_out: Collection[str]) -> Callable[[str], bool]:
    """Tells by a clip's name whether it is packed: neither left out nor in the source's own list."""
    listed = _listed(source, root)
    return lambda clip: clip not in leave_out and clip.rpartition("/")[2] not in listed and source.takes(clip)


def _listed(source: SourceOptions, root: Path) -> set[str]:
    if source.leave_out_list is None:
        return set()
    path = root / source.leave_out_list
    if not path.is_file():
        raise InputError(f"{path}: no such list of clips to leave out, though {source.name} names it")
    return {line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}


def _pack_clip(clip: Clip, source: SourceOptions, writer: ShardWriter, kept: Region) -> None:
    rng = np.random.default_rng(zlib.crc32(clip.name.encode()))
    tracks = _chosen_tracks(clip, source, rng)
    kind: Literal["track", "boxed"] = "track" if clip.length > 1 else "boxed"
    groups = {name: writer.new_group(f"{clip.name}/{name}", source.name) for name in tracks}
    cutout_groups: dict[str, int] = {}
    for number, image in clip.read(sorted({n for boxes in tracks.values() for n in boxes})):
        for name, boxes in tracks.items():
            if number not in boxes or not _usable(boxes[number], image):
                continue
            # a target in the very middle of every still would make the middle a clue
            offset = rng.uniform(-0.2, 0.2, 2) if kind == "boxed" else np.zeros(2)
            region, box = region_around(image, boxes[number], offset, kept)
            writer.add(Item(kind, groups[name], number, box, region))
            cutout = _cut_out_target(clip, source, image, number, name, boxes[number])
            if cutout is not None:
                if name not in cutout_groups:
                    cutout_groups[name] = writer.new_group(f"{clip.name}/{name}/cutout", source.name)
                writer.add(Item("cutout", cutout_groups[name], number, None, cutout))


def _chosen_tracks(clip: Clip, source: SourceOptions, rng: np.random.Generator) -> dict[str, Mapping[int, Box]]:
    names = [n for n, boxes in clip.tracks.items() if clip.length == 1 or len(boxes) > 1]
    if len(names) > source.max_targets:
        names = sorted(rng.choice(names, source.max_targets, replace=False).tolist())
    chosen: dict[str, Mapping[int, Box]] = {}
    for name in names:
        numbers = sorted(clip.tracks[name])[:: source.frame_step]
        if len(numbers) > source.max_frames:
            numbers = [numbers[i] for i in np.linspace(0, len(numbers) - 1, source.max_frames).astype(int)]
        chosen[name] = {n: clip.tracks[name][n] for n in numbers}
    return chosen


def _cut_out_target(clip: Clip, source: SourceOptions, image: Image, number: int, name: str, box: Box) -> Image | None:
    if source.cutouts == "masks" and clip.read_mask is not None:
        mask = clip.read_mask(number, name)
        return None if mask is None else cut_out(image, mask)
    if source.cutouts == "boxes":
        return cut_out(image, rounded_box((image.shape[0], image.shape[1]), box))
    return None


def _pack_still(clip: Clip, source: SourceOptions, writer: ShardWriter) -> None:
    rng = np.random.default_rng(zlib.crc32(clip.name.encode()))
    for number, full in clip.read(range(clip.length)[:: source.frame_step]):
        scale = min(1.0, _STILL_SIDE / min(full.shape[:2]))
        image = cv2.resize(full, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else full
        if min(image.shape[:2]) < 96:
            continue
        found = largest_object(image) if source.cutouts == "grabcut" else None
        group = writer.new_group(f"{clip.name}/{number}", source.name)
        writer.add(Item("still", group, number, found[1] if found else None, image))
        cutouts = [cut_out(image, found[0]) if found else None, *(random_blob(image, rng) for _ in range(source.blobs))]
        for cutout in cutouts:
            if cutout is not None:
                group = writer.new_group(f"{clip.name}/{number}/cutout", source.name)
                writer.add(Item("cutout", group, number, None, cutout))


def _usable(box: Box, image: Image) -> bool:
    x, y, w, h = box
    inside = x >= -2 and y >= -2 and x + w <= image.shape[1] + 2 and y + h <= image.shape[0] + 2
    return inside and min(w, h) >= _MIN_BOX_SIDE


def region_around(image: Image, box: Box, offset: np.ndarray, kept: Region = Region()) -> tuple[Image, Box]:
    """A square region around a box, and the box in it.

    Args:
        image: (H, W, 3) BGR.
        box: x, y, w, h in pixels.
        offset: shift of the region's centre, in sides of the target with its context.
        kept: how large it is.
    """
    x, y, w, h = box
    pad = (w + h) / 2
    context = np.sqrt((w + pad) * (h + pad))
    cx, cy = x + w / 2 + offset[0] * context, y + h / 2 + offset[1] * context
    side = int(np.clip(round(kept.share * context), 48, kept.most_px))
    scale = side / (kept.share * context)
    source, fx, fy = image, 1.0, 1.0
    if scale < 0.6:  # average first: a bilinear look-up alone would alias
        source = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        fx, fy = source.shape[1] / image.shape[1], source.shape[0] / image.shape[0]
    # pixel i covers i .. i + 1, so its middle is i + 0.5; OpenCV's matrices speak of the middles
    shift_x = side / 2 - scale * cx + 0.5 * scale / fx - 0.5
    shift_y = side / 2 - scale * cy + 0.5 * scale / fy - 0.5
    matrix = np.array([[scale / fx, 0, shift_x], [0, scale / fy, shift_y]])
    mean = image[::4, ::4].mean((0, 1))
    region = cv2.warpAffine(source, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=tuple(mean.tolist()))
    left, top = side / 2 + scale * (x - cx), side / 2 + scale * (y - cy)
    return region, (left, top, scale * w, scale * h)
