"""Crops on the device: the host sends the part of a picture that is needed, the device samples it.

What is sent is bounded by the network's input, not by the frame: a large part is halved first, as for a crop on the
host, and what would still be large is cropped on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onlinetada.trackers.crop import Region, Source, crop_square, integer_source, subpixel_source
from onlinetada.trackers.result import Image

Floats = npt.NDArray[np.float64]

_MARGIN = 8  # pixels that a halved part may have beyond twice the crop's side


def room_px(size: int) -> int:
    """Pixels that the part for a crop of this side never exceeds."""
    return (2 * size + _MARGIN) ** 2


def source_for(image: Image, region: Region, size: int, fill: Floats, kind: Literal["integer", "subpixel"]) -> Source:
    """The part of a picture to send for a crop, and how it is sampled; arguments as ``crop.crop_square``."""
    make = integer_source if kind == "integer" else subpixel_source
    source = make(image, region, size)
    if source is not None and source.pixels.shape[0] * source.pixels.shape[1] <= room_px(size):
        return source
    crop, flat = crop_square(image, region, size, fill, kind)
    return Source(crop, 1.0, 0.0, 0.0, flat, limit=None)


@dataclass(frozen=True)
class Packed:
    """Sources of B rows, one after the other.

    Attributes:
        parts: of each row (n, 3) uint8, the pixels line by line; on the device they lie one after the other.
        where: (B, 3) int64: first pixel, width, height of each part.
        warp: (B, 5) float32: pixels of the part a pixel of the crop, x and y of the crop's first pixel in the part, the
            least and the largest coordinate that is looked at.
        fill: (B, 3) float32 colour outside of the part.
        flat: (B,) whether a part shows nothing.
    """

    parts: list[npt.NDArray[np.uint8]]
    where: npt.NDArray[np.int64]
    warp: npt.NDArray[np.float32]
    fill: npt.NDArray[np.float32]
    flat: npt.NDArray[np.bool_]


def pack(sources: Sequence[Source], fills: Sequence[Floats]) -> Packed:
    """Put sources together."""
    flat_parts = [np.ascontiguousarray(s.pixels).reshape(-1, 3) for s in sources]
    counts = np.array([len(part) for part in flat_parts])
    shapes = np.array([s.pixels.shape[1::-1] for s in sources])
    firsts = (np.cumsum(counts) - counts)[:, None]
    far = np.float32(1e9)
    rows = []
    for source in sources:
        low, high = (-far, far) if source.limit is None else source.limit
        rows.append((source.step, source.x, source.y, low, high))
    return Packed(
        flat_parts,
        np.concatenate([firsts, shapes], 1).astype(np.int64),
        np.array(rows, dtype=np.float32),
        np.rint(np.stack(fills)).astype(np.float32),
        np.array([s.flat for s in sources]),
    )


def sample(pixels: Tensor, where: Tensor, warp: Tensor, fill: Tensor, size: int) -> Tensor:
    """Bilinear crops (B, 3, size, size), floats with whole values, channels last in memory.

    Args:
        pixels: (N, 3) uint8, the parts one after the other.
        where, warp, fill: as in ``Packed``, on the pixels' device.
        size: side of the crops.
    """
    steps = torch.arange(size, device=pixels.device, dtype=torch.float32)
    low, high = warp[:, 3:4], warp[:, 4:5]
    x, y = (torch.minimum(torch.maximum(warp[:, :1] * steps + warp[:, i : i + 1], low), high) for i in (1, 2))
    x0, y0 = x.floor(), y.floor()
    right, down = (x - x0)[:, None, :, None], (y - y0)[:, :, None, None]
    top = _corner(pixels, where, fill, x0, y0) * (1 - right) + _corner(pixels, where, fill, x0 + 1, y0) * right
    low_row = _corner(pixels, where, fill, x0, y0 + 1) * (1 - right)
    low_row = low_row + _corner(pixels, where, fill, x0 + 1, y0 + 1) * right
    crops = (top * (1 - down) + low_row * down + 0.5).floor()
    return crops.permute(0, 3, 1, 2)


def _corner(pixels: Tensor, where: Tensor, fill: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(B, size, size, 3) of the pixels at columns x (B, size) and rows y (B, size); the fill where there are none."""
    first, width, height = where[:, :1], where[:, 1:2], where[:, 2:3]
    inside_x, inside_y = (x >= 0) & (x < width), (y >= 0) & (y < height)
    column = torch.minimum(x.clamp(min=0).long(), width - 1)
    row = torch.minimum(y.clamp(min=0).long(), height - 1)
    index = first[:, :, None] + row[:, :, None] * width[:, :, None] + column[:, None, :]
    found = pixels[index].float()
    inside = (inside_y[:, :, None] & inside_x[:, None, :])[..., None]
    return torch.where(inside, found, fill[:, None, None, :])
