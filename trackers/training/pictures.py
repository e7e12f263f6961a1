"""Where the pixels of training pictures are, and how the ones that a batch needs get onto the device that draws.

Three places: all on the device; all in the host's memory, from where a batch's pictures are copied; or in the shards
on disk, from where they are read and decoded. What is drawn is the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
Place = Literal["device", "host", "disk"]


def upload(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """An array's copy on a device; the host does not wait for it to arrive."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


@dataclass(frozen=True)
class Pictures:
    """N pictures of any size on a device, one behind the other.

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

    def fetch(self, rows: Ints) -> tuple[Pictures, Ints]:
        """Themselves: all of them are there, under their own numbers."""
        return self, rows


class Store(Protocol):
    """Pictures by number."""

    @property
    def device(self) -> torch.device:
        """Where ``fetch`` puts them."""

    def fetch(self, rows: Ints) -> tuple[Pictures, Ints]:
        """At least the pictures ``rows``, on the device, and their numbers there."""


@dataclass(frozen=True)
class Streamed:
    """Pictures that do not fit the device: each batch's own are brought there.

    Attributes:
        shape: (N, 2) width and height.
        mean: (N, 3) mean colour.
        read: row -> (H * W, 4) RGBA.
        device: where they are brought.
        threads: how many read at a time; decoding needs several.
    """

    shape: Ints
    mean: npt.NDArray[np.float32]
    read: Callable[[int], Pixels]
    device: torch.device
    threads: int = 1

    def fetch(self, rows: Ints) -> tuple[Pictures, Ints]:
        """The pictures ``rows`` and no others."""
        needed, renumbered = np.unique(rows, return_inverse=True)
        shape = self.shape[needed]
        sizes = shape.prod(1)
        ends = np.cumsum(sizes)
        staged = torch.empty(int(ends[-1]), dtype=torch.int32, pin_memory=self.device.type == "cuda")
        pixels = staged.numpy().view(np.uint8).reshape(-1, 4)

        def put(i: int) -> None:
            pixels[ends[i] - sizes[i] : ends[i]] = self.read(int(needed[i]))

        if self.threads == 1:
            for i in range(len(needed)):
                put(i)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(put, range(len(needed))))
        there = Pictures(
            pixels=staged.to(self.device, non_blocking=True),
            begin=upload(ends - sizes, self.device),
            height=upload(shape[:, 1].copy(), self.device),
            width=upload(shape[:, 0].copy(), self.device),
            mean=upload(self.mean[needed], self.device),
        )
        return there, renumbered.astype(np.int64).reshape(-1)
