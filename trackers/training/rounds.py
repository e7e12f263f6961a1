"""Batches in rounds: drawn once, sent through the frozen part of the network once, shown several times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor, nn

from onlinetada.trackers.models.backbone import Lite0
from onlinetada.trackers.models.compact import CompactNetwork
from onlinetada.trackers.training.bank import Bank, Ints
from onlinetada.trackers.training.batches import ClipBatch, make_batch
from onlinetada.trackers.training.pictures import upload
from onlinetada.trackers.training.recipe import Recipe
from onlinetada.trackers.training.render import Kernels, plain_kernels

_ORDER_SEED = 1


@dataclass(frozen=True)
class TrainingBatch:
    """What one iteration sees.

    Attributes:
        clip: (B, C, K, S, S) pictures, or features of the frozen blocks.
        boxes: (B, K, 4) cx, cy, w, h in pixels from the middle.
        present: (B, K) bool.
        believed: (B, K, 4) boxes that the memory learns from, NaN where it does not.
    """

    clip: Tensor
    boxes: Tensor
    present: Tensor
    believed: Tensor


def training_batches(
    network: nn.Module,
    bank: Bank,
    recipe: Recipe,
    *,
    begin: int = 0,
    rank: int = 0,
    kernels: Kernels | None = None,
) -> Iterator[TrainingBatch]:
    """Endless batches from iteration ``begin`` on; batch i is the same however often training was interrupted.

    Args:
        rank: number of this process; each one draws its own clips.
        kernels: that draw.
    """
    per_round = recipe.round_batches * recipe.passes
    number, skip = divmod(begin, per_round)
    while True:
        clips = _draw_round(network, bank, recipe, number, rank, kernels)
        for place in range(skip, per_round):
            part, batch = divmod(place, recipe.round_batches)
            rows = upload(_order(recipe, number, part)[batch], clips.clip.device)
            chosen = {f.name: getattr(clips, f.name).index_select(0, rows) for f in fields(clips)}
            yield TrainingBatch(**chosen | {"clip": chosen["clip"].float()})
        number, skip = number + 1, 0


def _draw_round(
    network: nn.Module, bank: Bank, recipe: Recipe, number: int, rank: int, kernels: Kernels | None
) -> ClipBatch:
    parts = []
    for i in range(recipe.round_batches):
        drawn = make_batch(bank, recipe.batch, (recipe.seed, rank, number, i), kernels=kernels)
        clip = drawn.clip.to(torch.uint8)  # what a camera gives; also a quarter of the memory
        if recipe.frozen_blocks is not None:
            assert isinstance(network, CompactNetwork)  # noqa: S101  no other has blocks
            clip = _frozen_features(network, clip, recipe, (kernels or plain_kernels()).early)
        parts.append(replace(drawn, clip=clip))
    return ClipBatch(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(ClipBatch)))


@torch.no_grad()
def _frozen_features(
    network: CompactNetwork, clip: Tensor, recipe: Recipe, early: Callable[[Lite0, Tensor, int], Tensor]
) -> Tensor:
    assert recipe.frozen_blocks is not None  # noqa: S101  the caller has looked
    pictures = clip.transpose(1, 2).flatten(0, 1).float().contiguous(memory_format=torch.channels_last)
    with torch.autocast(clip.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        features = early(network.backbone, pictures, recipe.frozen_blocks)
    return features.half().unflatten(0, (clip.shape[0], clip.shape[2])).transpose(1, 2)


def _order(recipe: Recipe, number: int, part: int) -> Ints:
    """(round_batches, B) rows of the round's clips, shuffled anew for every pass but the first."""
    count = recipe.round_batches * recipe.batch.clips
    rows = np.arange(count)
    if part:
        rows = np.random.default_rng((recipe.seed, _ORDER_SEED, number, part)).permutation(count)
    return rows.reshape(recipe.round_batches, -1)
