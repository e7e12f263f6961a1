"""Pictures drawn through affine maps and laid over each other, in batches, on whatever device the pixels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onlinetada.trackers.training.bank import Pictures

Floats = npt.NDArray[np.float64]
_ROWS_AT_ONCE_ON_CPU = 4  # larger pieces fall out of the cache


@dataclass(frozen=True)
class Layer:
    """One picture in each of M drawings.

    Attributes:
        rows: (M,) the drawings.
        pictures: (M,) which picture.
        maps: (M, 2, 3) from pixels of the drawing to pixels of the picture; pixel i covers i to i + 1.
        gain: (M, 3) factors on the colours, None for 1.
        mirrored: beyond its borders the picture is continued by reflection; otherwise there is nothing.
    """

    rows: npt.NDArray[np.int64]
    pictures: npt.NDArray[np.int64]
    maps: Floats
    gain: Floats | None = None
    mirrored: bool = False


def affine_map(centre_in: Floats, centre_out: Floats, scale: Floats, angle: Floats) -> Floats:
    """Maps that take ``centre_out`` to ``centre_in``.

    Args:
        centre_in: (..., 2) in pixels of the picture.
        centre_out: (..., 2) in pixels of the drawing.
        scale: (..., 2) pixels of the drawing a pixel of the picture, along the picture's axes; negative mirrors.
        angle: (...) radians that the picture is turned by.

    Returns:
        (..., 2, 3).
    """
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2) / scale[..., :, None]
    offset = centre_in - np.einsum("...ij,...j->...i", linear, centre_out)
    return np.concatenate([linear, offset[..., None]], -1)


def draw(pictures: Pictures, layers: Sequence[Layer], count: int, size: int) -> tuple[Tensor, list[Tensor]]:
    """Lay the layers over each other, the first one at the bottom, on the mean colour of its picture.

    Returns:
        (count, size, size, 3) float 0..255, and for every layer the (M, size, size) share that it covered when drawn.
    """
    device = pictures.device
    bottom = torch.zeros(count, dtype=torch.long)
    bottom[torch.from_numpy(layers[0].rows)] = torch.from_numpy(layers[0].pictures)
    canvas = pictures.mean[bottom.to(device)][:, None, None].expand(-1, size, size, -1).contiguous()
    covers = []
    for layer in layers:
        rows = torch.from_numpy(layer.rows).to(device, non_blocking=True)
        drawn = look_up(pictures, layer, size)
        colour, cover = drawn[..., :3], drawn[..., 3:] / 255
        if layer.gain is not None:
            colour = colour * torch.from_numpy(layer.gain).float().to(device)[:, None, None]
        below = canvas.index_select(0, rows)
        canvas.index_copy_(0, rows, torch.lerp(below, colour, cover))
        covers.append(cover[..., 0])
    return canvas, covers


def look_up(pictures: Pictures, layer: Layer, size: int) -> Tensor:
    """The layer's pictures as they fall on their drawings: (M, size, size, 4) float RGBA, 0..255, bilinear."""
    device = pictures.device
    index = torch.from_numpy(layer.pictures).to(device, non_blocking=True)
    maps = torch.from_numpy(layer.maps).float().to(device, non_blocking=True)
    step = _ROWS_AT_ONCE_ON_CPU if device.type == "cpu" else max(1, len(index))
    parts = [
        _bilinear(pictures, i, m, size, layer.mirrored)
        for i, m in zip(index.split(step), maps.split(step), strict=True)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, size, size, 4, device=device)


def _bilinear(pictures: Pictures, index: Tensor, maps: Tensor, size: int, mirrored: bool) -> Tensor:
    ticks = torch.arange(size, device=maps.device) + 0.5
    m = maps[:, :, :, None, None]
    x, y = (m[:, i, 0] * ticks + m[:, i, 1] * ticks[:, None] + m[:, i, 2] for i in (0, 1))
    width, height = (v[index][:, None, None] for v in (pictures.width, pictures.height))
    left, right_share = _cell(x, width)
    top, lower_share = _cell(y, height)
    corner = pictures.begin[index][:, None, None] + top * width + left

    def colour(at: Tensor) -> Tensor:
        found = pictures.pixels.index_select(0, at.flatten()).view(torch.uint8)
        return found.view(*at.shape, 4).float()

    upper = torch.lerp(colour(corner), colour(corner + 1), right_share)
    lower = torch.lerp(colour(corner + width), colour(corner + width + 1), right_share)
    drawn = torch.lerp(upper, lower, lower_share)
    if not mirrored:
        inside = (x > 0) & (x < width) & (y > 0) & (y < height)
        drawn[..., 3] *= inside
    return drawn


def _cell(position: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the pixel at or before a position, after reflection at the borders, and the share of the next one."""
    period = 2 * (length - 1)
    folded = torch.remainder(position - 0.5, period)
    folded = torch.minimum(folded, period - folded)
    first = torch.minimum(folded.floor(), length - 2)
    return first.long(), (folded - first)[..., None]
