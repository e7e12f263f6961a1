"""Packed training material: compressed pictures of targets with their boxes, in files that machines can share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
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
_FORMAT = 1
_SHARD_BYTES = 48 * 2**20
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


class ShardWriter:
    """Writes items into numbered files and, at the end, the index that names them. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        if (folder / INDEX_NAME).exists():
            raise InputError(f"{folder}: holds packed material already; choose another folder or remove it")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.groups: list[Group] = []
        self.counts: dict[str, dict[str, int]] = {}
        self._names: list[str] = []
        self._rows: list[tuple[int, int, int, Box]] = []
        self._blobs: list[npt.NDArray[np.uint8]] = []
        self._bytes = 0

    def new_group(self, name: str, source: str) -> int:
        """Number of a new group."""
        self.groups.append(Group(name, source))
        return len(self.groups) - 1

    def add(self, item: Item) -> None:
        """Compress one picture: JPEG, or PNG where there is transparency."""
        transparent = item.image.shape[2] == 4
        options = [] if transparent else [cv2.IMWRITE_JPEG_QUALITY, 88]
        _, blob = cv2.imencode(".png" if transparent else ".jpg", item.image, options)
        box = _NO_BOX if item.box is None else item.box
        self._rows.append((KINDS.index(item.kind), item.group, item.frame, box))
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

    def _flush(self) -> None:
        if not self._rows:
            return
        name = f"shard-{len(self._names):05d}.npz"
        kind, group, frame, box = zip(*self._rows, strict=True)
        np.savez(
            self.folder / name,
            blobs=np.concatenate(self._blobs),
            ends=np.cumsum([b.size for b in self._blobs]),
            kind=np.array(kind, np.uint8),
            group=np.array(group, np.int32),
            frame=np.array(frame, np.int32),
            box=np.array(box, np.float32),
        )
        self._names.append(name)
        self._rows, self._blobs, self._bytes = [], [], 0


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
        raise InputError(f"{path}: format {index.get('format')!r}, this version reads {_FORMAT}")
    return index


def read_items(folder: Path) -> Iterator[Item]:
    """All pictures of a packed folder, decoded.

    Raises:
        InputError: a shard is missing or a picture in it is broken.
    """
    for name in read_index(folder)["shards"]:
        path = folder / name
        if not path.exists():
            raise InputError(f"{path}: missing, though the index names it; pack again")
        with np.load(path) as shard:
            blobs, ends, rows = shard["blobs"], shard["ends"], {k: shard[k] for k in ("kind", "group", "frame", "box")}
        begins = np.concatenate([[0], ends[:-1]])
        for i, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            image = cv2.imdecode(blobs[begin:end], cv2.IMREAD_UNCHANGED)
            if image is None:
                raise InputError(f"{path}: picture {i} is broken; pack again")
            x, y, w, h = (float(v) for v in rows["box"][i])
            box = (x, y, w, h) if np.isfinite(x) else None
            yield Item(KINDS[rows["kind"][i]], int(rows["group"][i]), int(rows["frame"][i]), box, image)
