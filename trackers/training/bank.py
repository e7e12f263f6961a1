"""All training pictures, wherever their pixels are, and tables of what they show."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from onlinetada.errors import InputError
from onlinetada.trackers.training.pictures import Pictures, Pixels, Place, Store, Streamed
from onlinetada.trackers.training.shards import KINDS, Kind, Table, decode, open_shards, read_index, read_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_MOST_THREADS = 16


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
        frame: (N,) number within its clip.
        shape: (N, 2) width and height.
        box: (N, 4) x, y, w, h of the target; for cut-outs the tight box of what is opaque; NaN without.
        sources: kind of picture -> the data sets that have such.
        terms: data set -> its terms, for the card of what is trained on it.
    """

    pictures: Store
    frame: Ints
    shape: Floats
    box: Floats
    sources: dict[Kind, tuple[Source, ...]]
    terms: dict[str, str]

    def rows(self, kind: Kind) -> Ints:
        """All pictures of a kind."""
        return self._rows[kind]

    @cached_property
    def _rows(self) -> dict[Kind, Ints]:
        """Asked for in every batch, and the pictures stay the same."""
        return {kind: _rows_of(sources) for kind, sources in self.sources.items()}


def load_bank(folder: Path, device: torch.device | str, *, place: Place = "device") -> Bank:
    """Open packed material.

    Args:
        folder: made by ``pack``.
        device: that draws.
        place: where the pixels are kept: decoded on the device, decoded in the host's memory, or as they are on disk.
            The last two take a batch's pictures to the device when it is drawn.

    Raises:
        InputError: the folder holds no packed material, a broken picture, or nothing to train on.
    """
    index, table = read_index(folder), read_table(folder)
    if not len(table):
        raise InputError(f"{folder}: the packed material is empty")
    table = table.take(np.lexsort((table.frame, table.group)))
    about = index["sources"]
    group_source = np.array([g["source"] for g in index["groups"]])
    sources = {kind: _sources(table, number, group_source, about) for number, kind in enumerate(KINDS)}
    return Bank(
        pictures=_store(folder, table, torch.device(device), place),
        frame=table.frame,
        shape=table.size.astype(np.float64),
        box=table.box,
        sources=sources,
        terms=terms_of(folder),
    )


def _rows_of(sources: tuple[Source, ...]) -> Ints:
    spans = [np.arange(b, b + n) for s in sources for b, n in zip(s.begin, s.length, strict=True)]
    return np.concatenate(spans) if spans else np.zeros(0, np.int64)


def terms_of(folder: Path) -> dict[str, str]:
    """Data set -> its terms, of packed material."""
    about = read_index(folder)["sources"]
    return {name: about[name]["terms"] for name in about}


def _sources(table: Table, kind: int, group_source: npt.NDArray[Any], about: Mapping[str, Any]) -> tuple[Source, ...]:
    """The data sets that have pictures of a kind; the table is sorted by group."""
    rows = np.flatnonzero(table.kind == kind)
    groups, begin, length = np.unique(table.group[rows], return_index=True, return_counts=True)
    names = group_source[groups]
    found = []
    for name in dict.fromkeys(names.tolist()):
        own = names == name
        found.append(Source(name, about[name]["weight"], rows[begin[own]], length[own]))
    return tuple(found)


def _store(folder: Path, table: Table, device: torch.device, place: Place) -> Store:
    shards = open_shards(folder)

    def read(number: int) -> Pixels:
        pixels = decode(np.asarray(shards[table.shard[number]][table.begin[number] : table.end[number]]))
        if pixels is None:
            raise InputError(f"{folder}: picture {number} is broken; find it with: onlinetada data check {folder}")
        return pixels

    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    if place == "disk":
        return Streamed(table.size, table.mean, read, device, threads=threads)
    host = torch.device("cpu")
    everything, _ = Streamed(table.size, table.mean, read, host, threads=threads).fetch(np.arange(len(table)))
    if place == "host":
        pixels, begin = everything.pixels.numpy().view(np.uint8).reshape(-1, 4), everything.begin.numpy()
        sizes = table.size.prod(1)
        return Streamed(table.size, table.mean, lambda i: pixels[begin[i] : begin[i] + sizes[i]], device)
    parts = (everything.pixels, everything.begin, everything.height, everything.width, everything.mean)
    return Pictures(*(part.to(device) for part in parts))
