"""Clips as the network sees them: scenes drawn on the device, then made worse in the ways that cameras do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from onlinetada.errors import InputError
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.render import draw
from onlinetada.trackers.training.scenes import Rng, Scene, SceneOptions, pasted_scene, real_scene, still_scene

_LUMA = (0.3, 0.59, 0.11)
_CARELESS = 0.1  # share of frames on which what is believed is far off


@dataclass(frozen=True)
class BatchOptions:
    """What a batch is made of.

    Attributes:
        pasted: clips with cut-out objects.
        still: clips of camera motion over stills.
        real: clips of real video.
        mismatched: share of clips whose frame 0 is of another clip, so that there is no target to find.
        scene: how wild they are.
    """

    pasted: int = 16
    still: int = 6
    real: int = 10
    mismatched: float = 0.04
    scene: SceneOptions = field(default_factory=SceneOptions)

    @property
    def clips(self) -> int:
        """Number of clips."""
        return self.pasted + self.still + self.real


@dataclass(frozen=True)
class ClipBatch:
    """B clips of K frames; the target is given on frame 0.

    Attributes:
        clip: (B, 3, K, S, S) RGB, 0..255.
        boxes: (B, K, 4) cx, cy, w, h in pixels from the middle of the picture.
        present: (B, K) bool, the target is there and its centre within the picture.
        believed: (B, K, 4) boxes as a tracker would have them, a little off; NaN where the target is not there.
    """

    clip: Tensor
    boxes: Tensor
    present: Tensor
    believed: Tensor


def make_batch(bank: Bank, options: BatchOptions, seed: tuple[int, ...]) -> ClipBatch:
    """One batch. The same seed gives the same batch."""
    rng = np.random.default_rng(seed)
    device = bank.pictures.device
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
    makers: list[tuple[Callable[[Bank, int, SceneOptions, Rng], Scene], int, bool]] = [
        (pasted_scene, options.pasted, bool(bank.sources["cutout"])),
        (still_scene, options.still, bool(bank.sources["still"] or bank.sources["boxed"])),
        (real_scene, options.real, bool(bank.sources["track"])),
    ]
    for maker, count, possible in makers:
        if count and not possible:
            raise InputError(f"the packed material has nothing for {maker.__name__}; set its count to 0")
    drawn = [_draw_scene(bank, maker(bank, n, options.scene, rng), n, options.scene) for maker, n, _ in makers if n]
    images, boxes, valid = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    order = torch.from_numpy(rng.permutation(options.clips)).to(device)
    images, boxes, valid = images[order], boxes[order], valid[order]
    images = _degrade(_recolour(images, rng, generator), rng)
    inside = (boxes[..., :2].abs() < options.scene.size / 2).all(-1)
    present = valid & inside & valid[:, :1]
    images, boxes, present = _mismatch(images, boxes, present, options.mismatched, rng)
    return ClipBatch(images.permute(0, 4, 1, 2, 3), boxes, present, _believed(boxes, present, rng))


def _believed(boxes: Tensor, present: Tensor, rng: Rng) -> Tensor:
    """What a tracker takes for true: off by some hundredths of the size, and now and then by much more."""
    spread = np.where(rng.random((*present.shape, 1)) < _CARELESS, 0.25, 0.05)
    off = rng.normal(0, 1, (*present.shape, 4)) * spread
    off_device = torch.from_numpy(off).float().to(boxes.device)
    centre = boxes[..., :2] + off_device[..., :2] * boxes[..., 2:]
    believed = torch.cat([centre, boxes[..., 2:] * off_device[..., 2:].exp()], -1)
    return torch.where(present[..., None], believed, torch.nan)


def _draw_scene(bank: Bank, scene: Scene, n: int, options: SceneOptions) -> tuple[Tensor, Tensor, Tensor]:
    k, size = options.frames + 1, options.size
    images, covers = draw(bank.pictures, scene.layers, n * k, size)
    if scene.boxes is None:
        corners, valid = outline_boxes(covers[scene.target_layer] > 0.5)
    else:
        corners = torch.from_numpy(scene.boxes).float().to(images.device)
        valid = torch.ones(n * k, dtype=torch.bool, device=images.device)
    centre = (corners[:, :2] + corners[:, 2:]) / 2 - size / 2
    boxes = torch.cat([centre, corners[:, 2:] - corners[:, :2]], 1)
    return images.unflatten(0, (n, k)), boxes.unflatten(0, (n, k)), valid.unflatten(0, (n, k))


def outline_boxes(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Tight boxes of masks (M, S, S): corners (M, 4), and (M,) whether enough is to be seen."""
    size = masks.shape[-1]
    ticks = torch.arange(size, device=masks.device, dtype=torch.float32)
    corners = []
    for axis in (2, 1):  # sideways, then downwards: first what is highest up in the list of corners
        used = masks.any(3 - axis)
        low = torch.where(used, ticks, float(size)).amin(1)
        high = torch.where(used, ticks + 1, 0.0).amax(1)
        corners.append((low, high))
    (x1, x2), (y1, y2) = corners
    valid = (masks.sum((1, 2)) > 12) & (x2 - x1 > 4) & (y2 - y1 > 4)
    box = torch.stack([x1, y1, x2, y2], 1)
    return torch.where(valid[:, None], box, size / 2), valid


def _recolour(images: Tensor, rng: Rng, generator: torch.Generator) -> Tensor:
    """Light, colour and noise, partly the same for a whole clip, partly changing from frame to frame."""
    b, k = images.shape[:2]
    device = images.device
    clip = rng.normal(0, 0.15, (b, 1, 1)) + rng.normal(0, 0.06, (b, 1, 3))
    frame = rng.normal(0, 0.05, (b, k, 1)) + rng.normal(0, 0.02, (b, k, 3))
    gain = torch.from_numpy(np.exp(clip + frame)).float().to(device)
    offset = torch.from_numpy(rng.normal(0, 18, (b, 1, 1)) + rng.normal(0, 6, (b, k, 1))).float().to(device)
    grey = torch.from_numpy(rng.random(b) < 0.12).to(device)
    noise = torch.from_numpy((rng.random(b) < 0.5) * rng.uniform(0, 7, b)).float().to(device)
    luma = (images * torch.tensor(_LUMA, device=device)).sum(-1, keepdim=True)
    images = torch.where(grey[:, None, None, None, None], luma, images)
    images = (images - 127) * gain[:, :, None, None] + 127 + offset[:, :, None, None]
    grain = torch.randn(images.shape, generator=generator, device=device)
    return (images + grain * noise[:, None, None, None, None]).clamp_(0, 255)


def _degrade(images: Tensor, rng: Rng) -> Tensor:
    """Half of the clips lose sharpness: low resolution (three in eight), motion blur, defocus."""
    b, k = images.shape[:2]
    eighth = max(1, b // 8)
    order = rng.permutation(b)
    for part, (first_too, soften) in enumerate(
        [
            (True, _low(4)),
            (True, _low(2)),
            (True, _low(2)),
            (False, _box_blur(1, 9)),
            (False, _box_blur(9, 1)),
            (True, _box_blur(3, 3)),
        ]
    ):
        rows = order[part * eighth : (part + 1) * eighth]
        if not len(rows):
            break
        index = torch.from_numpy(rows).to(images.device)
        begin = 0 if first_too else 1
        chosen = images[index, begin:].flatten(0, 1).permute(0, 3, 1, 2)
        images[index, begin:] = soften(chosen).permute(0, 2, 3, 1).unflatten(0, (len(rows), k - begin))
    return images


def _low(factor: int) -> Callable[[Tensor], Tensor]:
    def soften(x: Tensor) -> Tensor:
        small = F.avg_pool2d(x, factor)
        return F.interpolate(small, size=x.shape[-2:], mode="bilinear", align_corners=False)

    return soften


def _box_blur(height: int, width: int) -> Callable[[Tensor], Tensor]:
    padding = (height // 2, width // 2)
    return lambda x: F.avg_pool2d(x, (height, width), 1, padding, count_include_pad=False)


def _mismatch(images: Tensor, boxes: Tensor, present: Tensor, share: float, rng: Rng) -> tuple[Tensor, Tensor, Tensor]:
    rows = np.flatnonzero(rng.random(len(images)) < share)
    if len(rows):
        index = torch.from_numpy(rows).to(images.device)
        other = torch.roll(torch.arange(len(images), device=images.device), 1)[index]
        images[index, 0], boxes[index, 0] = images[other, 0], boxes[other, 0]
        present[index] = False
    return images, boxes, present
