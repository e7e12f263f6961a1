"""All training pictures as raw pixels in the memory of one device, and tables of what they show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onlinetada.errors import InputError
from onlinetada.trackers.training.shards import KINDS, Item, Kind, read_index, read_items

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pictures:
    """N pictures of any size, one behind the other.

    Attributes:
        pixels: (P,) int32, each the four bytes R, G, B, A; one look-up fetches a whole pixel.
        begin: (N,) index of a picture's first pixel.
        height: (N,) in pixels.
        width: (N,) in pixels.
        mean: (N, 3) mean colour, which fills what lies outside.
    """

    pixels: Tensor
    begin: Tensor
    height: Tensor
    width: Tensor
    mean: Tensor

    @property
    def device(self) -> torch.device:
        """Where the pixels are."""
        return self.pixels.device


@dataclass(frozen=True)
class Source:
    """Groups of pictures from one data set: group g is rows begin[g] to begin[g] + length[g], ordered in time."""

    name: str
    weight: float
    begin: Ints
    length: Ints


@dataclass(frozen=True)
class Bank:
    """Pictures and, on the host, what is known of them.

    Attributes:
        pictures: the pixels.
        shape: (N, 2) width and height.
        box: (N, 4) x, y, w, h of the target; for cut-outs the tight box of what is opaque; NaN without.
        sources: kind of picture -> the data sets that have such.
        terms: data set -> its terms, for the card of what is trained on it.
    """

    pictures: Pictures
    shape: Floats
    box: Floats
    sources: dict[Kind, tuple[Source, ...]]
    terms: dict[str, str]

    def rows(self, kind: Kind) -> Ints:
        """All pictures of a kind."""
        spans = [np.arange(b, b + n) for s in self.sources[kind] for b, n in zip(s.begin, s.length, strict=True)]
        return np.concatenate(spans) if spans else np.zeros(0, np.int64)


def load_bank(folder: Path, device: torch.device | str) -> Bank:
    """Decode packed material onto a device.

    Raises:
        InputError: the folder holds no packed material, or nothing to train on.
    """
    index = read_index(folder)
    items = sorted(read_items(folder), key=lambda i: (i.group, i.frame))
    if not items:
        raise InputError(f"{folder}: the packed material is empty")
    about = index["sources"]
    sources: dict[Kind, tuple[Source, ...]] = {}
    for kind in KINDS:
        by_source: dict[str, dict[int, list[int]]] = {}
        for row, item in enumerate(items):
            if item.kind == kind:
                name = index["groups"][item.group]["source"]
                by_source.setdefault(name, {}).setdefault(item.group, []).append(row)
        sources[kind] = tuple(_source(name, about[name]["weight"], groups) for name, groups in by_source.items())
    return Bank(
        pictures=_pictures(items, device),
        shape=np.array([i.image.shape[1::-1] for i in items], np.float64),
        box=np.array([_known_box(i) for i in items], np.float64),
        sources=sources,
        terms={name: about[name]["terms"] for name in about},
    )


def _source(name: str, weight: float, groups: dict[int, list[int]]) -> Source:
    rows = list(groups.values())
    return Source(name, weight, np.array([r[0] for r in rows], np.int64), np.array([len(r) for r in rows], np.int64))


def _pictures(items: list[Item], device: torch.device | str) -> Pictures:
    sizes = np.array([i.image.shape[0] * i.image.shape[1] for i in items], np.int64)
    begin = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    pixels = np.empty((int(sizes.sum()), 4), np.uint8)
    mean = np.empty((len(items), 3), np.float32)
    for row, item in enumerate(items):
        code = cv2.COLOR_BGRA2RGBA if item.image.shape[2] == 4 else cv2.COLOR_BGR2RGBA
        flat = cv2.cvtColor(item.image, code).reshape(-1, 4)
        pixels[begin[row] : begin[row] + len(flat)] = flat
        mean[row] = flat[::37, :3].mean(0)
    return Pictures(
        pixels=torch.from_numpy(pixels.view(np.int32)[:, 0]).to(device),
        begin=torch.from_numpy(begin).to(device),
        height=torch.tensor([i.image.shape[0] for i in items], device=device),
        width=torch.tensor([i.image.shape[1] for i in items], device=device),
        mean=torch.from_numpy(mean).to(device),
    )


def _known_box(item: Item) -> tuple[float, ...]:
    if item.kind == "cutout":
        rows, columns = np.where(item.image[..., 3] > 127)
        left, top = float(columns.min(initial=0)), float(rows.min(initial=0))
        return left, top, float(columns.max(initial=1)) + 1 - left, float(rows.max(initial=1)) + 1 - top
    return item.box or (float("nan"),) * 4
