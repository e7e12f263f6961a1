"""Finding what is wrong with training material before a training does: broken files, boxes where no target can be."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from onlinetada.errors import InputError
from onlinetada.trackers.result import Box, Image
from onlinetada.trackers.training.clips import Faults
from onlinetada.trackers.training.readers import open_folder
from onlinetada.trackers.training.shards import read_index, read_items
from onlinetada.trackers.training.sheets import TRUTH_COLOUR, draw_box, tile, write_picture

_TILES = 48
_COLUMNS = 6
_TILE_SIDE = 240
_ENDS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND"}
_TAIL_BYTES = 4096  # some cameras write a little behind the end


@dataclass
class Report:
    """What a check found.

    Attributes:
        pictures: how many were read.
        boxes: how many boxes they had.
        faults: one line each.
        tiles: a sample of the pictures with their boxes, spread over all of them.
    """

    pictures: int = 0
    boxes: int = 0
    faults: list[str] = field(default_factory=list)
    tiles: list[Image] = field(default_factory=list)
    _stride: int = field(default=1, init=False, repr=False)

    def add(self, name: str, image: Image, boxes: Iterable[Box]) -> None:
        """Take in one picture."""
        height, width = image.shape[:2]
        kept = list(boxes)
        self.boxes += len(kept)
        for x, y, w, h in kept:
            if x + w <= 0 or y + h <= 0 or x >= width or y >= height:
                self.faults.append(f"{name}: box {x:g},{y:g},{w:g},{h:g} lies outside of the {width}x{height} picture")
        if self.pictures % self._stride == 0:
            self.tiles.append(_thumbnail(image, kept))
            if len(self.tiles) > 2 * _TILES:  # too many: every other one, from now on too
                self.tiles = self.tiles[::2]
                self._stride *= 2
        self.pictures += 1

    def summary(self) -> str:
        """What to print."""
        lines = [f"{self.pictures} pictures, {self.boxes} boxes, {len(self.faults)} faults"]
        lines += self.faults[:20]
        if len(self.faults) > 20:
            lines.append(f"... and {len(self.faults) - 20} more")
        return "\n".join(lines)

    def write_sheet(self, path: Path) -> None:
        """Write the sample as one picture."""
        if not self.tiles:
            raise InputError("there is no picture to put on a contact sheet")
        chosen = np.linspace(0, len(self.tiles) - 1, min(_TILES, len(self.tiles))).astype(int)
        write_picture(tile([self.tiles[i] for i in chosen], _COLUMNS, _TILE_SIDE), path)


def check_packed(folder: Path) -> Report:
    """Decode everything that was packed."""
    report = Report()
    groups = read_index(folder)["groups"]
    for item, where in read_items(folder):
        if item is None:
            report.faults.append(f"{folder}, {where}: a broken picture; pack again")
        else:
            report.add(groups[item.group]["name"], item.image, [] if item.box is None else [item.box])
    return report


def check_raw(folder: Path, data_format: str) -> Report:
    """Read every frame that has a box, and stills without. What cannot be read is named, and the rest still read."""
    report = Report()
    broken = Faults(collect=True)
    for clip in open_folder(folder, data_format, broken):
        boxes: dict[int, list[Box]] = {}
        for track in clip.tracks.values():
            for number, box in track.items():
                boxes.setdefault(number, []).append(box)
        numbers = sorted(boxes) or list(range(clip.length))
        read = set()
        for number, image in clip.read(numbers):
            read.add(number)
            report.add(f"{clip.name}, frame {number}", image, boxes.get(number, []))
        report.faults += [f"{clip.name}: {line}" for line in _missing(numbers, read)]
        report.faults += [f"{p}: cut off" for i, p in enumerate(clip.files) if i in read and _is_cut_off(p)]
    report.faults += broken.found or []
    if not report.pictures and not report.faults:
        report.faults.append(f"{folder}: nothing that the format {data_format!r} reads")
    return report


def _is_cut_off(path: Path) -> bool:
    """Whether a file ends before the picture does: OpenCV shows the rest of a JPEG grey and says nothing."""
    end = _ENDS.get(path.suffix.lower())
    if end is None:
        return False
    with path.open("rb") as file:
        file.seek(-min(_TAIL_BYTES, path.stat().st_size), os.SEEK_END)
        return end not in file.read()


def _missing(numbers: list[int], read: set[int]) -> Iterator[str]:
    missing = [n for n in numbers if n not in read]
    if missing:
        yield f"{len(missing)} frames cannot be read, the first is number {missing[0]}"
    if not numbers:
        yield "no frames"


def _thumbnail(image: Image, boxes: Iterable[Box]) -> Image:
    if image.shape[2] == 4:  # cut-outs on grey
        alpha = image[..., 3:].astype(np.float32) / 255
        image = (image[..., :3] * alpha + 96 * (1 - alpha)).astype(np.uint8)
    scale = _TILE_SIDE / max(image.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=interpolation)
    for x, y, w, h in boxes:
        draw_box(small, (x * scale, y * scale, w * scale, h * scale), TRUTH_COLOUR)
    return small
