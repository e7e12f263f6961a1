"""Narrower early blocks that answer as the wide ones do, so that the later ones can stay as they are.

The early blocks see the most pixels and are most of a step's cost; what they say can be said with fewer channels. The
channels that matter most are kept, then everything early is trained to give the wide blocks' answers (distillation
block by block, as in FitNets, Romero et al. 2015, with equal sizes on both sides).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from onlinetada.errors import InputError
from onlinetada.trackers.models.backbone import InvertedResidual, Lite0
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.batches import BatchOptions, make_batch

_LAST_SHARE = 0.01
_EARLIER_WEIGHT = 0.15  # of a block's answer that only later blocks see
_KEPT_PIXELS = 20_000  # that a kept channel's projection is fitted on
_SEEDS = (7, 11)


@dataclass(frozen=True)
class NarrowingOptions:
    """How the narrow blocks are trained.

    Attributes:
        iterations: steps of Adam.
        pictures: search regions in each.
        passes: how often a batch of clips is used.
        learning_rate: at its largest; a short warm-up, then a cosine.
        blocks: so many blocks are trained, the narrow ones and those after them that get used to their answers.
    """

    iterations: int = 3000
    pictures: int = 20
    passes: int = 2
    learning_rate: float = 2e-3
    blocks: int = 5


def narrowed(
    wide: Lite0,
    widths: Sequence[int],
    bank: Bank,
    batch: BatchOptions,
    options: NarrowingOptions | None = None,
    *,
    report: Callable[[int, float], None] = lambda iteration, error: None,
) -> Lite0:
    """A backbone whose first blocks are narrower.

    Args:
        wide: the backbone to be imitated, without calibrated blocks.
        widths: of the narrow one, see ``Lite0``.
        bank: training pictures.
        batch: what clips are drawn from them.
        options: of the training.
        report: hears every hundredth iteration and the error of the last block's answer, relative to its variance.
    """
    options = options or NarrowingOptions()
    if len(widths) > options.blocks:
        raise InputError(f"{len(widths)} widths are given, but only {options.blocks} blocks are trained")
    device = next(wide.parameters()).device
    narrow = Lite0(depth=len(wide.blocks), widths=widths).to(device)
    pictures = pictures_for(bank, batch, options.pictures, options.passes)
    _take_over(wide, narrow, next(pictures), options.blocks)
    narrow = narrow.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch leaves it out
    trained = [*narrow.stem.parameters(), *narrow.blocks[: options.blocks].parameters()]
    optimiser = optim.Adam(trained, lr=options.learning_rate)
    spread: list[Tensor] = []
    for iteration in range(options.iterations):
        x = next(pictures)
        with torch.no_grad():
            wanted = answers(wide, x, options.blocks)
            spread = spread or [y.var((0, 2, 3), keepdim=True) + 1e-3 for y in wanted]
        given = answers(narrow, x, options.blocks)
        loss, error = distance(given, wanted, spread)
        for group in optimiser.param_groups:
            group["lr"] = options.learning_rate * cosine_rate(iteration, options.iterations)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (iteration + 1) % 100 == 0:
            report(iteration + 1, error)
    return narrow


def answers(backbone: Lite0, x: Tensor, blocks: int) -> list[Tensor]:
    """What the first blocks say of pictures (N, 3, S, S), block by block."""
    x, answers = backbone.early(x, 0), []
    for block in backbone.blocks[:blocks]:
        x = block(x)
        answers.append(x)
    return answers


def distance(given: list[Tensor], wanted: list[Tensor], spread: list[Tensor]) -> tuple[Tensor, float]:
    """What is trained on, and the error of the last block's answer relative to its variance (``spread``)."""
    errors = [((a - b) ** 2 / v).mean() for a, b, v in zip(given, wanted, spread, strict=True)]
    return errors[-1] + _EARLIER_WEIGHT * torch.stack(errors[:-1]).sum(), float(errors[-1].detach())


def cosine_rate(iteration: int, iterations: int) -> float:
    """A short warm-up, then a cosine from 1 to 0.01."""
    cosine = 0.5 * (1 + math.cos(math.pi * iteration / iterations))
    return min(1.0, (iteration + 1) / 50) * (cosine * (1 - _LAST_SHARE) + _LAST_SHARE)


def pictures_for(bank: Bank, batch: BatchOptions, count: int, passes: int) -> Iterator[Tensor]:
    """Endless batches (count, 3, S, S) of search regions, each shown ``passes`` times."""
    chance, number = torch.Generator().manual_seed(_SEEDS[0]), 0
    while True:
        clip = make_batch(bank, batch, (*_SEEDS, number)).clip.round()
        pictures = clip.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        for _ in range(passes):
            order = torch.randperm(len(pictures), generator=chance).to(pictures.device)
            for rows in order.split(count):
                yield pictures[rows]
        number += 1


# --- the beginning: the channels that matter most


def _blocks(backbone: Lite0) -> list[InvertedResidual]:
    return cast(list[InvertedResidual], list(backbone.blocks))


@torch.no_grad()
def _take_over(wide: Lite0, narrow: Lite0, pictures: Tensor, blocks: int) -> None:
    """Begin with the wide backbone's own channels, where there is room for all of them or the most important ones."""
    seen = wide.early(pictures, 0)
    for i, (one, other) in enumerate(zip(_blocks(wide), _blocks(narrow), strict=True)):
        if i >= blocks or one.depthwise.weight.shape == other.depthwise.weight.shape:
            other.load_state_dict(one.state_dict())
        else:
            before = (wide.stem, narrow.stem) if one.expand is None else (one.expand, other.expand)
            _take_channels(one, other, cast(tuple[nn.Conv2d, nn.Conv2d], before), seen)
        if i < blocks:
            seen = one(seen)
    if wide.stem.weight.shape == narrow.stem.weight.shape:
        narrow.stem.load_state_dict(wide.stem.state_dict())


def _take_channels(
    one: InvertedResidual, other: InvertedResidual, before: tuple[nn.Conv2d, nn.Conv2d], seen: Tensor
) -> None:
    """The channels that say the most of a block's answer, and the projection of them that is nearest to it."""
    inner = F.relu6(one.depthwise(seen if one.expand is None else F.relu6(one.expand(seen))))
    weight = one.project.weight[:, :, 0, 0]
    count = other.depthwise.weight.shape[0]
    kept = (inner.std((0, 2, 3)) * weight.norm(dim=0)).topk(count).indices.sort().values
    for source, target in (before, (one.depthwise, other.depthwise)):
        target.weight.copy_(source.weight[kept])
        cast(Tensor, target.bias).copy_(cast(Tensor, source.bias)[kept])
    x = inner[:, kept].permute(0, 2, 3, 1).reshape(-1, count)
    y = one.project(inner).permute(0, 2, 3, 1).reshape(len(x), -1)
    step = max(1, len(x) // _KEPT_PIXELS)
    x, y = F.pad(x[::step], (0, 1), value=1.0).double(), y[::step].double()
    ridge = 1e-3 * torch.eye(count + 1, device=x.device, dtype=x.dtype) * len(x)
    solution = torch.linalg.solve(x.T @ x + ridge, x.T @ y).float()
    other.project.weight.copy_(solution[:-1].T[:, :, None, None])
    cast(Tensor, other.project.bias).copy_(solution[-1])
