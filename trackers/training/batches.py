"""Clips as the network sees them: scenes drawn on the device, then made worse in the ways that cameras do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from onlinetada.errors import InputError
from onlinetada.trackers.training.bank import Bank, Floats, Ints
from onlinetada.trackers.training.pictures import Pictures, upload
from onlinetada.trackers.training.render import Kernels, draw, plain_kernels
from onlinetada.trackers.training.scenes import (
    Rng,
    Scene,
    SceneOptions,
    check_shares,
    pasted_scene,
    real_scene,
    still_scene,
)

_CARELESS = 0.1  # share of frames on which what is believed is far off
_MID_GREY = 127  # what contrast turns about, see ``recolour``
_FADES_LATER, _DARKENS = 0.3, 0.65  # shares of the clips that fade
_DRIFT = (0.22, 0.22, 0.28, 0.22)  # standard deviations: centre in sizes, log of the size


@dataclass(frozen=True)
class BatchOptions:
    """What a batch is made of.

    Attributes:
        pasted: clips with cut-out objects.
        still: clips of camera motion over stills.
        real: clips of real video.
        mismatched: share of clips whose frame 0 is of another clip, so that there is no target to find.
        absent: share of search frames that are of another clip: whatever its target looks like, it is not ours.
        drift: share of clips in which what is believed is off in the same way on all frames, as after a drift.
        faded: share of clips in little light or in haze; in some of them, only after frame 0.
        scene: how wild they are.
    """

    pasted: int = 16
    still: int = 6
    real: int = 10
    mismatched: float = 0.04
    absent: float = 0.0
    drift: float = 0.0
    faded: float = 0.0
    scene: SceneOptions = field(default_factory=SceneOptions)

    def __post_init__(self) -> None:
        check_shares(self, ("mismatched", "absent", "drift", "faded"))

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


def make_batch(
    bank: Bank, options: BatchOptions, seed: tuple[int, ...], *, kernels: Kernels | None = None
) -> ClipBatch:
    """One batch. The same seed gives the same batch."""
    return render(bank, plan_batch(bank, options, seed), kernels=kernels)


@dataclass(frozen=True)
class BatchPlan:
    """Everything about a batch but its pixels, on the host. Row b is clip b after shuffling, but in ``scenes``.

    Attributes:
        options: what was asked for.
        scenes: how many clips, and what is to be seen in them.
        order: (B,) where a clip comes from in the scenes put behind each other.
        gain: (B, K, 3) contrast a colour.
        offset: (B, K, 1) brightness.
        grey: (B,) 1 where the colour goes.
        noise: (B,) standard deviation.
        softened: (B,) clips in a random order, of which each eighth loses sharpness in another way.
        mismatched: clips that get the first frame of the clip before them.
        absent: (M, 2) clip and frame that get the same frame of the clip before it.
        error: (B, K, 4) how far off a tracker's boxes are: centre in sizes, log of the size.
        grain_seed: of the noise.
    """

    options: BatchOptions
    scenes: tuple[tuple[int, Scene], ...]
    order: Ints
    gain: Floats
    offset: Floats
    grey: Floats
    noise: Floats
    softened: Ints
    mismatched: Ints
    absent: Ints
    error: Floats
    grain_seed: int


def plan_batch(bank: Bank, options: BatchOptions, seed: tuple[int, ...]) -> BatchPlan:
    """Draw by chance what a batch shows. Touches no pixel and no device.

    Raises:
        InputError: the material has nothing for a kind of clip that is asked for.
    """
    rng = np.random.default_rng(seed)
    grain_seed = int(rng.integers(2**62))
    makers: list[tuple[Callable[[Bank, int, SceneOptions, Rng], Scene], int, bool]] = [
        (pasted_scene, options.pasted, bool(bank.sources["cutout"])),
        (still_scene, options.still, bool(bank.sources["still"] or bank.sources["boxed"])),
        (real_scene, options.real, bool(bank.sources["track"])),
    ]
    for maker, count, possible in makers:
        if count and not possible:
            raise InputError(f"the packed material has nothing for {maker.__name__}; set its count to 0")
    scenes = tuple((n, maker(bank, n, options.scene, rng)) for maker, n, _ in makers if n)
    b, k = options.clips, options.scene.frames + 1
    order = rng.permutation(b)
    # light and colour: partly the same for a whole clip, partly changing from frame to frame
    of_clip = rng.normal(0, 0.15, (b, 1, 1)) + rng.normal(0, 0.06, (b, 1, 3))
    of_frame = rng.normal(0, 0.05, (b, k, 1)) + rng.normal(0, 0.02, (b, k, 3))
    gain, offset = np.exp(of_clip + of_frame), rng.normal(0, 18, (b, 1, 1)) + rng.normal(0, 6, (b, k, 1))
    gain, offset = _faded(gain, offset, options.faded, rng)
    return BatchPlan(
        options=options,
        scenes=scenes,
        order=order,
        gain=gain,
        offset=offset,
        grey=(rng.random(b) < 0.12).astype(float),
        noise=(rng.random(b) < 0.5) * rng.uniform(0, 7, b),
        softened=rng.permutation(b),
        mismatched=np.flatnonzero(rng.random(b) < options.mismatched),
        absent=_absent_frames(b, k, options.absent, rng),
        error=_tracking_error(b, k, options.drift, rng),
        grain_seed=grain_seed,
    )


def render(bank: Bank, plan: BatchPlan, *, kernels: Kernels | None = None) -> ClipBatch:
    """Draw a batch on the bank's device. The host only hands out work and waits for nothing."""
    kernels = kernels or plain_kernels()
    device, scene = bank.pictures.device, plan.options.scene
    pictures, scenes = _fetched(bank, plan.scenes)
    drawn = [_draw_scene(pictures, s, n, scene, kernels) for n, s in scenes]
    order = upload(plan.order, device)
    images, boxes, valid = (torch.cat(parts).index_select(0, order) for parts in zip(*drawn, strict=True))
    light = (plan.gain, plan.offset, plan.grey, plan.noise)
    generator = torch.Generator(device).manual_seed(plan.grain_seed)
    grain = torch.randn(images.shape, generator=generator, device=device)
    images = kernels.recolour(images, *(upload(v.astype(np.float32), device) for v in light), grain)
    images = _degrade(images, plan.softened)
    inside = (boxes[..., :2].abs() < scene.size / 2).all(-1)
    present = valid & inside & valid[:, :1]
    images, present = _swap_frames(images, present, plan.absent)
    images, boxes, present = _mismatch(images, boxes, present, plan.mismatched)
    believed = _believed(boxes, present, upload(plan.error.astype(np.float32), device))
    return ClipBatch(images.permute(0, 4, 1, 2, 3), boxes, present, believed)


def _believed(boxes: Tensor, present: Tensor, error: Tensor) -> Tensor:
    """What a tracker takes for true: off by some hundredths of the size, and now and then by much more."""
    centre = boxes[..., :2] + error[..., :2] * boxes[..., 2:]
    believed = torch.cat([centre, boxes[..., 2:] * error[..., 2:].exp()], -1)
    return torch.where(present[..., None], believed, torch.nan)


def _fetched(bank: Bank, scenes: Sequence[tuple[int, Scene]]) -> tuple[Pictures, list[tuple[int, Scene]]]:
    """The pictures that scenes show, on the device, and the scenes with the numbers that these have there."""
    shown = [layer.pictures for _, scene in scenes for layer in scene.layers]
    pictures, rows = bank.pictures.fetch(np.concatenate(shown))
    parts = iter(np.split(rows, np.cumsum([len(s) for s in shown])[:-1]))
    return pictures, [
        (n, replace(scene, layers=[replace(layer, pictures=next(parts)) for layer in scene.layers]))
        for n, scene in scenes
    ]


def _draw_scene(
    pictures: Pictures, scene: Scene, n: int, options: SceneOptions, kernels: Kernels
) -> tuple[Tensor, Tensor, Tensor]:
    k, size = options.frames + 1, options.size
    images, covers = draw(pictures, scene.layers, n * k, size, kernels=kernels)
    if scene.boxes is None:
        corners, valid = outline_boxes(covers[scene.target_layer] > 0.5)
    else:
        corners = upload(scene.boxes.astype(np.float32), images.device)
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


def _degrade(images: Tensor, order: Ints) -> Tensor:
    """Half of the clips lose sharpness: low resolution (three in eight), motion blur, defocus."""
    b, k = images.shape[:2]
    eighth = max(1, b // 8)
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
        index = upload(rows.copy(), images.device)
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


def _tracking_error(clips: int, frames: int, drift: float, rng: Rng) -> Floats:
    """How far off a tracker's boxes are, see ``BatchPlan.error``."""
    error = rng.normal(0, 1, (clips, frames, 4)) * np.where(rng.random((clips, frames, 1)) < _CARELESS, 0.25, 0.05)
    if not drift:  # draws nothing, so that recipes without it stay what they were
        return error
    return error + np.where(rng.random((clips, 1, 1)) < drift, rng.normal(0, 1, (clips, 1, 4)) * _DRIFT, 0)


def _faded(gain: Floats, offset: Floats, share: float, rng: Rng) -> tuple[Floats, Floats]:
    """Contrast and brightness (B, K, 3 and 1) of clips of which some fade towards black or a light grey."""
    if not share:
        return gain, offset
    b, k = offset.shape[:2]
    left = np.exp(rng.uniform(np.log(0.15), np.log(0.7), (b, 1, 1)))
    left = np.where(rng.random((b, 1, 1)) < share, left, 1.0).repeat(k, 1)
    left[:, 0] = np.where(rng.random((b, 1)) < _FADES_LATER, 1.0, left[:, 0])
    towards = np.where(rng.random((b, 1, 1)) < _DARKENS, 0.0, rng.uniform(100, 255, (b, 1, 1)))
    return gain * left, left * (offset + _MID_GREY) + (1 - left) * towards - _MID_GREY


def _absent_frames(clips: int, frames: int, share: float, rng: Rng) -> Ints:
    if not share:  # draws nothing, so that recipes without it stay what they were
        return np.zeros((0, 2), np.int64)
    chosen = rng.random((clips, frames)) < share
    chosen[:, 0] = False
    return np.argwhere(chosen)


def _swap_frames(images: Tensor, present: Tensor, which: Ints) -> tuple[Tensor, Tensor]:
    if len(which):
        clip, frame, other = (upload(v.copy(), images.device) for v in (*which.T, (which[:, 0] - 1) % len(images)))
        images[clip, frame] = images[other, frame]
        gone = np.zeros(present.shape, bool)
        gone[which[:, 0], which[:, 1]] = True  # on the host: writing False through indices would wait for the device
        present = present & ~upload(gone, images.device)
    return images, present


def _mismatch(images: Tensor, boxes: Tensor, present: Tensor, rows: Ints) -> tuple[Tensor, Tensor, Tensor]:
    if len(rows):
        index = upload(rows, images.device)
        other = upload((rows - 1) % len(images), images.device)
        images[index, 0], boxes[index, 0] = images[other, 0], boxes[other, 0]
        present = present.index_fill(0, index, False)
    return images, boxes, present
