"""The published samples, drawn in batches on the device: a template, and search regions that end with a judged one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from onlinetada.errors import InputError
from onlinetada.trackers.models.tctrack import GRID_SIZE
from onlinetada.trackers.training.bank import Bank, Floats, Ints
from onlinetada.trackers.training.pictures import Pictures, upload
from onlinetada.trackers.training.render import Kernels, Layer, affine_map, draw
from onlinetada.trackers.training.scenes import Rng, context_side, pick_groups
from onlinetada.trackers.training.tctrack.recipe import SamplingOptions

TEMPLATE_SIZE = 127
SEARCH_SIZE = 287
_BLUR_SIZES = np.arange(5, 46, 2)
_LUMA = (0.3, 0.59, 0.11)
# how R, G, B vary together, in grey levels: light, from blue to red, green against the others (as SiamRPN, CVPR 2018)
_COLOUR_AXES = np.array([[4.88, 4.74, 4.64], [-1.83, 0.20, 1.72], [-0.42, 0.98, -0.56]])


@dataclass(frozen=True)
class Samples:
    """B samples of T search regions, of which the last one is judged. Pictures are BGR, 0..255.

    Attributes:
        template: (B, 3, 127, 127).
        clip: (B, 3, T, 287, 287).
        boxes: (B, 4) cx, cy, w, h of the target in the judged region, in pixels from its middle.
        present: (B,) bool, the template shows the target of the search regions.
        keys: (B, 2, 121) uniform random numbers, by which the targets of training choose cells.
    """

    template: Tensor
    clip: Tensor
    boxes: Tensor
    present: Tensor
    keys: Tensor


@dataclass(frozen=True)
class Crops:
    """B x K crops around targets, and how their colours change.

    Attributes:
        layer: what is drawn.
        boxes: (B, K, 4) cx, cy, w, h in pixels from the middle.
        offset: (B, K, 3) added to R, G, B.
        grey: (B,) 1 where the colour goes.
    """

    layer: Layer
    boxes: Floats
    offset: Floats
    grey: Floats


def draw_samples(
    bank: Bank, options: SamplingOptions, earlier: int, seed: tuple[int, ...], kernels: Kernels | None = None
) -> Samples:
    """A batch with ``earlier`` search regions before the judged one. The same seed gives the same batch.

    Raises:
        InputError: there is no picture with a box in the material.
    """
    rng = np.random.default_rng(seed)
    templates, regions = _chosen_pictures(bank, options, earlier, rng)
    present = np.ones(options.samples, bool)
    foreign = np.flatnonzero(rng.random(options.samples) < options.negative)
    if len(foreign):
        templates[foreign] = _chosen_pictures(bank, options, earlier, rng)[0][foreign]
        present[foreign] = False
    mirror = np.where(rng.random((options.samples, 1)) < options.flip, -1.0, 1.0)
    grey = (rng.random(options.samples) < options.grey).astype(float)
    draws = rng.uniform(-1, 1, (2, options.samples, 1, 4))  # the search regions of a sample share theirs
    small = (TEMPLATE_SIZE, options.template_shift_px, options.template_scale)
    large = (SEARCH_SIZE, options.search_shift_px, options.search_scale)
    first = _crops(bank, templates[:, None], *small, draws[0], mirror, grey, options.colour, rng)
    later = _crops(bank, regions, *large, draws[1], mirror, grey, options.colour, rng)
    blurred = np.flatnonzero(rng.random(regions.size) < options.blur)
    lines = _line_kernels(len(blurred), rng)
    keys = rng.random((options.samples, 2, GRID_SIZE**2), dtype=np.float32)

    device = bank.pictures.device
    pictures, numbers = bank.pictures.fetch(np.concatenate([templates, regions.ravel()]))
    template = _drawn(pictures, first, numbers[: len(templates)], TEMPLATE_SIZE, kernels)
    clip = _drawn(pictures, later, numbers[len(templates) :], SEARCH_SIZE, kernels)
    clip = _blurred(clip.flatten(0, 1), blurred, lines).unflatten(0, regions.shape)
    return Samples(
        template=template[:, 0],
        clip=clip.transpose(1, 2),
        boxes=upload(later.boxes[:, -1].astype(np.float32), device),
        present=upload(present, device),
        keys=upload(keys, device),
    )


def _chosen_pictures(bank: Bank, options: SamplingOptions, earlier: int, rng: Rng) -> tuple[Ints, Ints]:
    """Rows of the templates (B,) and of the search regions (B, earlier + 1), in the order of time."""
    sources = (*bank.sources["track"], *bank.sources["boxed"])
    if not sources:
        raise InputError("the packed material has no picture with a box, which a tracker learns from")
    begin, length = pick_groups(sources, options.samples, rng, by_weight=True)
    template = rng.integers(0, length)
    first = np.maximum(template - options.frame_range, 0)
    last = np.minimum(template + options.frame_range, length - 1)
    judged = rng.integers(first, last + 1)
    before = np.stack([_frames_before(a, b, earlier, rng) for a, b in zip(first, judged, strict=True)])
    return begin + template, begin[:, None] + np.concatenate([before, judged[:, None]], 1)


def _frames_before(first: int, judged: int, count: int, rng: Rng) -> Ints:
    """Ascending frames from ``first`` on, the last of them just before the judged one if there is any."""
    span = judged - first
    if not span:
        return np.full(count, judged)
    frames = first + np.sort(rng.choice(span, count, replace=span < 1.5 * count))
    frames[-1] = judged - 1
    return np.asarray(frames, np.int64)


def _crops(
    bank: Bank,
    rows: Ints,
    size: int,
    shift_px: float,
    scale: float,
    draws: Floats,
    mirror: Floats,
    grey: Floats,
    colour: float,
    rng: Rng,
) -> Crops:
    """Crops of pictures (B, K) in which a target with its context is 127 px wide, but for shift and scale."""
    box = bank.box[rows]
    wh = box[..., 2:]
    growth = 1 / (1 + draws[..., :2] * scale)
    zoom = TEMPLATE_SIZE / context_side(wh)[..., None] * growth
    centre = -draws[..., 2:] * shift_px * growth * np.ones((*rows.shape, 1))
    maps = affine_map(
        box[..., :2] + wh / 2,
        size / 2 + centre,
        zoom * np.stack([mirror, np.ones_like(mirror)], -1),
        np.zeros(rows.shape),
    )
    offset = rng.normal(0, 1, (*rows.shape, 3)) @ _COLOUR_AXES * (rng.random((*rows.shape, 1)) < colour)
    layer = Layer(np.arange(rows.size), rows.ravel(), maps.reshape(-1, 2, 3))
    return Crops(layer, np.concatenate([centre, wh * zoom], -1), offset, grey)


def _drawn(pictures: Pictures, crops: Crops, numbers: Ints, size: int, kernels: Kernels | None) -> Tensor:
    """(B, K, 3, size, size) BGR."""
    device = pictures.device
    b, k = crops.boxes.shape[:2]
    layer = Layer(crops.layer.rows, numbers, crops.layer.maps)
    images, _ = draw(pictures, [layer], b * k, size, kernels=kernels)
    images = images.unflatten(0, (b, k)).permute(0, 1, 4, 2, 3)
    red, green, blue = (images[:, :, i : i + 1] * share for i, share in enumerate(_LUMA))
    grey = upload(crops.grey.astype(np.float32), device)[:, None, None, None, None]
    images = torch.lerp(images, red + green + blue, grey)
    offset = upload(crops.offset.astype(np.float32), device)
    return (images + offset[..., None, None]).clamp(0, 255).flip(2)


def _line_kernels(count: int, rng: Rng) -> Floats:
    """(M, 2, 45) weights of a vertical and of a horizontal line through each pixel, which together make the blur."""
    half = rng.choice(_BLUR_SIZES, count) // 2
    share = rng.random(count)
    ticks = np.abs(np.arange(45) - 22)
    line = (ticks <= half[:, None]) / (2 * half[:, None] + 1)
    return np.stack([line * share[:, None], line * (1 - share[:, None])], 1)


def _blurred(images: Tensor, rows: Ints, lines: Floats) -> Tensor:
    """Pictures (N, 3, S, S), of which ``rows`` are blurred."""
    if not len(rows):
        return images
    index = upload(rows, images.device)
    chosen = images.index_select(0, index).flatten(0, 1)[None]  # a channel for every colour of every picture
    weights = upload(lines.astype(np.float32), images.device).repeat_interleave(3, 0)
    channels = chosen.shape[1]
    down = F.conv2d(F.pad(chosen, (0, 0, 22, 22), mode="reflect"), weights[:, 0, None, :, None], groups=channels)
    across = F.conv2d(F.pad(chosen, (22, 22, 0, 0), mode="reflect"), weights[:, 1, None, None, :], groups=channels)
    return images.index_copy(0, index, (down + across)[0].unflatten(0, (len(rows), 3)))
