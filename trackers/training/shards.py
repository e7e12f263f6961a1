"""Packed training material: compressed pictures of targets with their boxes, in files that machines can share.

A shard is two files that are never written again: ``shard-00000.bin`` holds JPEG and PNG (or WebP) files behind each
other, and ``shard-00000.npz`` a row for each: where it ends, what it shows, its size, its mean colour. Readers map
them, so any number of processes and machines can train from one folder at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from onlinetada.errors import InputError
from onlinetada.trackers.result import Box, Image

Kind = Literal["track", "boxed", "still", "cutout"]
KINDS: tuple[Kind, ...] = ("track", "boxed", "still", "cutout")
INDEX_NAME = "index.json"
_FORMAT = 2
_SHARD_BYTES = 48 * 2**20
_MEAN_STEP = 37  # every so many-th pixel counts for the mean colour
_NO_BOX = (float("nan"),) * 4


@dataclass(frozen=True)
class Group:
    """Pictures that show one target (a track, the cut-outs of one object) or one still.

    Attributes:
        name: of clip and target.
        source: which data set it is from.
    """

    name: str
    source: str


@dataclass(frozen=True)
class Item:
    """One packed picture.

    Attributes:
        kind: "track" a frame of a track, "boxed" a still with a box, "still" one without, "cutout" BGRA.
        group: index into the groups.
        frame: its number within the clip.
        box: x, y, w, h of the target in pixels of the picture; None in stills.
        image: (H, W, 3) BGR or (H, W, 4) BGRA uint8.
    """

    kind: Kind
    group: int
    frame: int
    box: Box | None
    image: Image


@dataclass(frozen=True)
class Table:
    """What is known of N packed pictures without decoding them, in the order in which they were packed.

    Attributes:
        kind: (N,) index into KINDS.
        group: (N,) index into the groups.
        frame: (N,) number within the clip.
        box: (N, 4) x, y, w, h of the target; in cut-outs, of what is opaque; NaN in stills.
        size: (N, 2) width and height in pixels.
        mean: (N, 3) R, G, B.
        shard: (N,) number of the file that a picture lies in.
        begin: (N,) its first byte there.
        end: (N,) the byte after its last.
    """

    kind: npt.NDArray[np.uint8]
    group: npt.NDArray[np.int64]
    frame: npt.NDArray[np.int64]
    box: npt.NDArray[np.float64]
    size: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float32]
    shard: npt.NDArray[np.int64]
    begin: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: npt.NDArray[np.int64]) -> Table:
        """Chosen rows, in the order given."""
        return Table(*(getattr(self, f.name)[rows] for f in fields(self)))


class ShardWriter:
    """Writes items into numbered shards and, at the end, the index that names them.

    Args:
        folder: a new one.
        webp: quality, 1 to 100, of WebP files for everything; without it JPEG, and PNG where there is transparency.
    """

    def __init__(self, folder: Path, *, webp: int | None = None) -> None:
        if (folder / INDEX_NAME).exists():
            raise InputError(f"{folder}: holds packed material already; choose another folder or remove it")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.webp = folder, webp
        self.groups: list[Group] = []
        self.counts: dict[str, dict[str, int]] = {}
        self._names: list[str] = []
        self._rows: list[tuple[Any, ...]] = []
        self._blobs: list[npt.NDArray[np.uint8]] = []
        self._bytes = 0

    def new_group(self, name: str, source: str) -> int:
        """Number of a new group."""
        self.groups.append(Group(name, source))
        return len(self.groups) - 1

    def add(self, item: Item) -> None:
        """Compress one picture."""
        blob = self._compressed(item.image)
        box = _opaque_box(item.image) if item.kind == "cutout" else item.box or _NO_BOX
        mean = mean_colour(decode(blob.reshape(-1)))
        self._rows.append((KINDS.index(item.kind), item.group, item.frame, box, item.image.shape[1::-1], mean))
        self._blobs.append(blob.reshape(-1))
        self._bytes += blob.size
        by_kind = self.counts.setdefault(self.groups[item.group].source, {})
        by_kind[item.kind] = by_kind.get(item.kind, 0) + 1
        if self._bytes >= _SHARD_BYTES:
            self._flush()

    def finish(self, about: dict[str, Any]) -> None:
        """Write what is left and the index. ``about`` is kept in it as it is."""
        self._flush()
        index = {
            "format": _FORMAT,
            "shards": self._names,
            "counts": self.counts,
            "groups": [asdict(g) for g in self.groups],
            **about,
        }
        (self.folder / INDEX_NAME).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")

    def _compressed(self, image: Image) -> npt.NDArray[np.uint8]:
        if self.webp is not None:
            return cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, self.webp])[1]
        if image.shape[2] == 4:
            return cv2.imencode(".png", image)[1]
        return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]

    def _flush(self) -> None:
        if not self._rows:
            return
        name = f"shard-{len(self._names):05d}"
        kind, group, frame, box, size, mean = zip(*self._rows, strict=True)
        np.concatenate(self._blobs).tofile(self.folder / f"{name}.bin")
        np.savez(
            self.folder / f"{name}.npz",
            ends=np.cumsum([b.size for b in self._blobs]),
            kind=np.array(kind, np.uint8),
            group=np.array(group, np.int32),
            frame=np.array(frame, np.int32),
            box=np.array(box, np.float32),
            size=np.array(size, np.int32),
            mean=np.array(mean, np.float32),
        )
        self._names.append(name)
        self._rows, self._blobs, self._bytes = [], [], 0


def decode(blob: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """(H * W, 4) RGBA of a compressed picture; None if it is broken."""
    image = cv2.imdecode(blob, cv2.IMREAD_UNCHANGED)
    return None if image is None else _rgba(image).reshape(-1, 4)


def mean_colour(pixels: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.float32]:
    """(3,) R, G, B, from a part of (P, 4) pixels."""
    return np.zeros(3, np.float32) if pixels is None else pixels[::_MEAN_STEP, :3].astype(np.float32).mean(0)


def _rgba(image: Image) -> Image:
    converted: Image = cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGBA)
    return converted


def _opaque_box(image: Image) -> Box:
    rows, columns = np.where(image[..., 3] > 127)
    left, top = float(columns.min(initial=0)), float(rows.min(initial=0))
    return left, top, float(columns.max(initial=1)) + 1 - left, float(rows.max(initial=1)) + 1 - top


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a packed folder.

    Raises:
        InputError: there is none, or it is of another format.
    """
    path = folder / INDEX_NAME
    if not path.exists():
        raise InputError(f"{folder}: no packed material (no {INDEX_NAME}); make it with: onlinetada data pack")
    index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if index.get("format") != _FORMAT:
        raise InputError(f"{path}: format {index.get('format')!r}, this version reads {_FORMAT}; pack again")
    return index


def open_shards(folder: Path) -> list[npt.NDArray[np.uint8]]:
    """The files of compressed pictures, mapped, not read.

    Raises:
        InputError: a shard is missing.
    """
    return [np.memmap(_existing(folder / f"{name}.bin"), np.uint8, "r") for name in read_index(folder)["shards"]]


def read_table(folder: Path) -> Table:
    """What is known of all packed pictures.

    Raises:
        InputError: a shard is missing.
    """
    parts: dict[str, list[npt.NDArray[Any]]] = {f.name: [] for f in fields(Table)}
    for number, name in enumerate(read_index(folder)["shards"]):
        with np.load(_existing(folder / f"{name}.npz")) as shard:
            for key in ("kind", "group", "frame", "box", "size", "mean"):
                parts[key].append(shard[key])
            ends = shard["ends"].astype(np.int64)
        parts["shard"].append(np.full(len(ends), number))
        parts["begin"].append(np.concatenate([[0], ends[:-1]]))
        parts["end"].append(ends)
    kinds = {"kind": np.uint8, "box": np.float64, "mean": np.float32}
    empty: dict[str, tuple[int, ...]] = {"box": (0, 4), "size": (0, 2), "mean": (0, 3)}
    return Table(
        **{
            key: np.concatenate([np.zeros(empty.get(key, (0,))), *columns]).astype(kinds.get(key, np.int64))
            for key, columns in parts.items()
        }
    )


def read_items(folder: Path) -> Iterator[tuple[Item | None, str]]:
    """All pictures of a packed folder, decoded, and where they lie; None for a broken one.

    Raises:
        InputError: a shard is missing.
    """
    shards, table = open_shards(folder), read_table(folder)
    for i in range(len(table)):
        shard, begin, end = int(table.shard[i]), int(table.begin[i]), int(table.end[i])
        image = cv2.imdecode(np.asarray(shards[shard][begin:end]), cv2.IMREAD_UNCHANGED)
        kind, where = KINDS[table.kind[i]], f"shard {shard}, bytes {begin} to {end}"
        x, y, w, h = table.box[i].tolist()
        box = None if kind == "cutout" or x != x else (x, y, w, h)
        yield None if image is None else Item(kind, int(table.group[i]), int(table.frame[i]), box, image), where


def _existing(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path}: missing, though the index names it; pack again")
    return path
