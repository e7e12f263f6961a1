"""Blocks that answer in int8 as they do in float: trained with the rounding that the exported step will do.

The exported step keeps activations as bytes. What that costs is made up for by training the rounded blocks to give the
float blocks' own answers (quantisation-aware training, Jacob et al. 2018, with the network as its own teacher).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from onlinetada.trackers.models.backbone import InvertedResidual, Lite0
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.batches import BatchOptions
from onlinetada.trackers.training.narrowing import answers, cosine_rate, distance, pictures_for

_LEVELS = 255
_RANGE_DECAY = 0.999  # of the largest value seen, which a calibration would see too
_FIRST_ROUNDED = 1  # stem and first block stay float in the exported step


@dataclass(frozen=True)
class RoundingOptions:
    """How blocks are trained for int8.

    Attributes:
        iterations: steps of Adam.
        pictures: search regions in each.
        passes: how often a batch of clips is used.
        learning_rate: at its largest; a short warm-up, then a cosine.
        blocks: so many blocks are trained; the first one stays float, but for what it hands on.
    """

    iterations: int = 600
    pictures: int = 20
    passes: int = 2
    learning_rate: float = 5e-4
    blocks: int = 11


def made_for_int8(
    backbone: Lite0,
    bank: Bank,
    batch: BatchOptions,
    options: RoundingOptions | None = None,
    *,
    report: Callable[[int, float], None] = lambda iteration, error: None,
) -> Lite0:
    """A backbone whose rounded blocks answer as those of ``backbone`` do in float.

    Args:
        backbone: without calibrated blocks.
        bank: training pictures.
        batch: what clips are drawn from them.
        options: of the training.
        report: hears, before the first step and every hundredth, the error of the last rounded block's answer,
            relative to its variance.
    """
    options = options or RoundingOptions()
    made = copy.deepcopy(backbone)
    rounded = [RoundedBlock(block) for block in cast(list[InvertedResidual], list(made.blocks[: options.blocks]))]
    trained = made.blocks[: options.blocks].requires_grad_(True)
    optimiser = optim.Adam(trained.parameters(), lr=options.learning_rate)
    pictures = pictures_for(bank, batch, options.pictures, options.passes)
    spread: list[Tensor] = []
    for iteration in range(options.iterations):
        x = next(pictures)
        with torch.no_grad():
            wanted = answers(backbone, x, options.blocks)
            spread = spread or [y.var((0, 2, 3), keepdim=True) + 1e-3 for y in wanted]
            seen = made.early(x, 0)
        given = []
        for i, block in enumerate(rounded):
            seen = block(seen, inner=i >= _FIRST_ROUNDED)
            given.append(seen)
        loss, error = distance(given, wanted, spread)
        if iteration % 100 == 0:
            report(iteration, error)
        for group in optimiser.param_groups:
            group["lr"] = options.learning_rate * cosine_rate(iteration, options.iterations)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    report(options.iterations, error)
    return made.requires_grad_(False)


class RoundedBlock:
    """A block as the exported step computes it; gradients go through the rounding as if it were not there.

    Args:
        block: whose weights these are.
    """

    def __init__(self, block: InvertedResidual) -> None:
        self.block = block
        self._ranges: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(self, x: Tensor, *, inner: bool = True) -> Tensor:
        """(N, C, H, W) to the rounded answer; ``inner``: all of it is rounded, not the answer alone."""
        if not inner:
            return self._bytes("answer", self.block(x))
        block, y = self.block, x
        if block.expand is not None:
            y = round_in(F.relu6(_rounded_conv(cast(nn.Conv2d, block.expand), y)), 0.0, 6.0)
        if block.cell_centred:
            y = F.pad(y, (0, 1, 0, 1))
        y = round_in(F.relu6(_rounded_conv(block.depthwise, y)), 0.0, 6.0)
        y = self._bytes("projection", _rounded_conv(block.project, y))
        return self._bytes("answer", x + y) if block.shortcut else y

    def _bytes(self, name: str, x: Tensor) -> Tensor:
        low, high = x.detach().amin().clamp(max=0), x.detach().amax().clamp(min=0)
        if name in self._ranges:
            was_low, was_high = self._ranges[name]
            low, high = torch.minimum(low, was_low * _RANGE_DECAY), torch.maximum(high, was_high * _RANGE_DECAY)
        self._ranges[name] = low, high
        return round_in(x, float(low), float(high))


def round_in(x: Tensor, low: float, high: float) -> Tensor:
    """The nearest of 256 values between ``low`` and ``high``, one of them 0; inside, the gradient is that of ``x``."""
    step = max(high - low, 1e-6) / _LEVELS
    return torch.fake_quantize_per_tensor_affine(x, step, round(-low / step), 0, _LEVELS)


def _rounded_conv(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The convolution with weights in int8, a scale an output channel."""
    scale = conv.weight.detach().abs().amax((1, 2, 3)).clamp(min=1e-8) / 127
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    weight = torch.fake_quantize_per_channel_affine(conv.weight, scale, zeros, 0, -127, 127)
    return F.conv2d(x, weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)
