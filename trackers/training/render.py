"""Pictures drawn through affine maps and laid over each other, in batches, on whatever device the pixels are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onlinetada.trackers.models.backbone import Lite0
from onlinetada.trackers.training.pictures import Pictures, upload

Floats = npt.NDArray[np.float64]
_ROWS_AT_ONCE_ON_CPU = 4  # larger pieces fall out of the cache
_LUMA = (0.3, 0.59, 0.11)


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


@dataclass(frozen=True)
class Kernels:
    """What touches every pixel of a batch. Eager PyTorch runs each operation in them as a kernel of its own.

    Attributes:
        paint: see the function of that name.
        recolour: see the function of that name.
        early: ``Lite0.early``, of a backbone whose first blocks are frozen.
    """

    paint: Callable[..., tuple[Tensor, Tensor]]
    recolour: Callable[..., Tensor]
    early: Callable[[Lite0, Tensor, int], Tensor]


def plain_kernels() -> Kernels:
    """As they are written."""
    return Kernels(paint, recolour, Lite0.early)


def compiled_kernels() -> Kernels:
    """Each fused by torch.compile; on a GPU this saves most of the traffic to memory."""
    compiled: Any = torch.compile  # torch's annotations hide the signature of what comes back
    return Kernels(compiled(paint, dynamic=True), compiled(recolour, dynamic=True), compiled(Lite0.early))


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


def draw(
    pictures: Pictures, layers: Sequence[Layer], count: int, size: int, *, kernels: Kernels | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Lay the layers over each other, the first one at the bottom, on the mean colour of its picture.

    Returns:
        (count, size, size, 3) float 0..255, and for every layer the (M, size, size) share that it covered when drawn.
    """
    device = pictures.device
    bottom = np.zeros(count, np.int64)
    bottom[layers[0].rows] = layers[0].pictures
    means = pictures.mean.index_select(0, upload(bottom, device))
    canvas = means[:, None, None].expand(-1, size, size, -1).contiguous()
    covers = []
    for layer in layers:
        canvas, cover = _lay(canvas, pictures, layer, (kernels or plain_kernels()).paint)
        covers.append(cover)
    return canvas, covers


def _lay(
    canvas: Tensor, pictures: Pictures, layer: Layer, brush: Callable[..., tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """The canvas with one layer more (changed in place, but for layers of all rows), and what it covers."""
    device, count = canvas.device, len(layer.rows)
    if not count:
        return canvas, canvas.new_zeros(0, *canvas.shape[1:3])
    rows, index = upload(layer.rows, device), upload(layer.pictures, device)
    maps = upload(layer.maps.astype(np.float32), device)
    gain = None if layer.gain is None else upload(layer.gain.astype(np.float32), device)
    where = [v.index_select(0, index) for v in (pictures.begin, pictures.width, pictures.height)]
    all_rows = count == len(canvas) and np.array_equal(layer.rows, np.arange(count))
    if device.type != "cpu" and all_rows:
        return brush(canvas, pictures.pixels, *where, maps, gain, layer.mirrored)
    covers = []
    step = _ROWS_AT_ONCE_ON_CPU if device.type == "cpu" else count
    for i in range(0, count, step):
        part = slice(i, i + step)
        below = canvas.index_select(0, rows[part])
        some_gain = None if gain is None else gain[part]
        painted, cover = brush(below, pictures.pixels, *(v[part] for v in where), maps[part], some_gain, layer.mirrored)
        canvas.index_copy_(0, rows[part], painted)
        covers.append(cover)
    return canvas, torch.cat(covers)


def paint(
    below: Tensor,
    pixels: Tensor,
    begin: Tensor,
    width: Tensor,
    height: Tensor,
    maps: Tensor,
    gain: Tensor | None,
    mirrored: bool,
) -> tuple[Tensor, Tensor]:
    """Draw one picture over each of M drawings, bilinearly.

    Args:
        below: (M, S, S, 3) what is there, 0..255.
        pixels: (P,) of all pictures, see ``Pictures``.
        begin: (M,) where the pictures begin; width, height: (M,) their size.
        maps: (M, 2, 3) from pixels of the drawing to pixels of the picture.
        gain: (M, 3) factors on the colours.
        mirrored: see ``Layer``.

    Returns:
        (M, S, S, 3), and (M, S, S) the share that was covered.
    """
    drawn = _bilinear(pixels, begin, width, height, maps, below.shape[1], mirrored)
    colour, cover = drawn[..., :3], drawn[..., 3:] / 255
    if gain is not None:
        colour = colour * gain[:, None, None]
    return torch.lerp(below, colour, cover), cover[..., 0]


def recolour(images: Tensor, gain: Tensor, offset: Tensor, grey: Tensor, noise: Tensor, grain: Tensor) -> Tensor:
    """Change light and colour and add noise.

    Args:
        images: (B, K, S, S, 3), 0..255.
        gain: (B, K, 3) contrast a colour; offset: (B, K, 1) brightness.
        grey: (B,) 1 where only the luminance stays, else 0.
        noise: (B,) standard deviation.
        grain: as images, standard normal.
    """
    red, green, blue = (images[..., i : i + 1] * share for i, share in enumerate(_LUMA))
    images = torch.lerp(images, red + green + blue, grey[:, None, None, None, None])
    images = (images - 127) * gain[:, :, None, None] + 127 + offset[:, :, None, None]
    return (images + grain * noise[:, None, None, None, None]).clamp(0, 255)


def _bilinear(
    pixels: Tensor, begin: Tensor, width: Tensor, height: Tensor, maps: Tensor, size: int, mirrored: bool
) -> Tensor:
    ticks = torch.arange(size, device=maps.device) + 0.5
    m = maps[:, :, :, None, None]
    x, y = (m[:, i, 0] * ticks + m[:, i, 1] * ticks[:, None] + m[:, i, 2] for i in (0, 1))
    width, height = width[:, None, None], height[:, None, None]
    left, right_share = _cell(x, width)
    top, lower_share = _cell(y, height)
    corner = begin[:, None, None] + top * width + left

    def colour(at: Tensor) -> Tensor:
        return _channels(pixels.index_select(0, at.flatten())).view(*at.shape, 4).float()

    upper = torch.lerp(colour(corner), colour(corner + 1), right_share)
    lower = torch.lerp(colour(corner + width), colour(corner + width + 1), right_share)
    drawn = torch.lerp(upper, lower, lower_share)
    if mirrored:
        return drawn
    inside = (x > 0) & (x < width) & (y > 0) & (y < height)
    return torch.cat([drawn[..., :3], drawn[..., 3:] * inside[..., None]], -1)


def _channels(pixels: Tensor) -> Tensor:
    """(N,) int32 to (N, 4), the bytes."""
    if torch.compiler.is_compiling():  # shifts are fused with what follows, a change of type is not
        return torch.stack([(pixels >> bits) & 255 for bits in (0, 8, 16, 24)], -1)
    return pixels.view(torch.uint8).view(-1, 4)


def _cell(position: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the pixel at or before a position, after reflection at the borders, and the share of the next one."""
    period = 2 * (length - 1)
    folded = torch.remainder(position - 0.5, period)
    folded = torch.minimum(folded, period - folded)
    first = torch.minimum(folded.floor(), length - 2)
    return first.long(), (folded - first)[..., None]
