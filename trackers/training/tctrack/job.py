"""Training of TCTrack and TCTrack++: what a recipe says, as the training loop asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim

from onlinetada.trackers.models.checkpoint import read_state_dict
from onlinetada.trackers.models.registry import find_model
from onlinetada.trackers.models.tctrack import TCTrack, TCTrackMaps
from onlinetada.trackers.result import Image
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.job import SAMPLE_SEED, Pace
from onlinetada.trackers.training.render import Kernels
from onlinetada.trackers.training.tctrack.backbone import load_backbone
from onlinetada.trackers.training.tctrack.recipe import TCTrackRecipe
from onlinetada.trackers.training.tctrack.sampling import Samples, draw_samples
from onlinetada.trackers.training.tctrack.sheet import samples_sheet
from onlinetada.trackers.training.tctrack.targets import losses, make_targets

_ALWAYS_FROZEN = ("block1", "block2")


class TCTrackJob:
    """See ``Job``.

    Args:
        recipe: what to do.
        backbone: ImageNet weights of the AlexNet. With them the first blocks stay frozen, as published; without them
            (and without ``pretrained``) all of the backbone is trained from random weights.
        pretrained: whether the training begins with weights of the whole network.
    """

    parts: tuple[str, ...] = ("score_loss", "box_loss", "iou_loss", "iou")
    steady = False  # samples get longer, and parts thaw

    def __init__(self, recipe: TCTrackRecipe, *, backbone: Path | None = None, pretrained: bool = False) -> None:
        self.recipe = recipe
        self.model: str = recipe.model
        self.seed = recipe.seed
        self.clip_norm, self.ema = recipe.schedule.clip_norm, recipe.schedule.ema
        self.frames_a_step = recipe.sampling.samples
        self.backbone = backbone
        self.freezes = backbone is not None or pretrained
        self.begins_with = "given weights, first blocks frozen" if self.freezes else "random weights, nothing frozen"
        self.pace = Pace(
            recipe.iterations, recipe.log_every, recipe.checkpoint_every, recipe.validate_every, recipe.validate_clips
        )

    def new_network(self, initial: Path | None) -> nn.Module:
        """TCTrack with random weights, on ImageNet's if there are some, or with those of a file."""
        torch.manual_seed(self.seed)
        network = TCTrack(plus_plus=self.recipe.model == "tctrackpp", quirks=self.recipe.quirks)
        if initial is not None:
            find_model(self.model).load(network, read_state_dict(initial), str(initial))
        elif self.backbone is not None:
            load_backbone(network.backbone, self.backbone)
        return network

    def new_optimiser(self, network: nn.Module, device: torch.device) -> optim.Optimizer:
        """SGD over the head and over what is ever trained of the backbone."""
        assert isinstance(network, TCTrack)  # noqa: S101
        frozen = _ALWAYS_FROZEN if self.freezes else ()
        groups = [
            ("head", 1.0, network.grader.named_parameters()),
            (
                "backbone",
                self.recipe.schedule.backbone_factor if self.freezes else 1.0,
                network.backbone.named_parameters(),
            ),
        ]
        rate = self.recipe.rate(0)
        return optim.SGD(
            [
                {
                    "params": [p for n, p in named if p.requires_grad and not n.startswith(frozen)],
                    "name": name,
                    "factor": factor,
                    "lr": rate * factor,
                }
                for name, factor, named in groups
            ],
            momentum=self.recipe.schedule.momentum,
            weight_decay=self.recipe.schedule.weight_decay,
            fused=device.type == "cuda",
        )

    def prepare(self, network: nn.Module, optimiser: optim.Optimizer, iteration: int) -> None:
        """The epoch's rate, and what of the backbone is trained in it."""
        assert isinstance(network, TCTrack)  # noqa: S101
        epoch = iteration // self.recipe.epoch_iterations
        for group in optimiser.param_groups:
            group["lr"] = self.recipe.rate(epoch) * group["factor"]
        network.train()
        if not self.freezes:
            return
        whole = epoch < self.recipe.schedule.backbone_epoch
        for name, part in network.backbone.named_children():
            trained = not whole and name not in _ALWAYS_FROZEN
            part.train(trained).requires_grad_(trained)

    def batches(self, network: nn.Module, bank: Bank, *, begin: int, rank: int, kernels: Kernels) -> Iterator[Samples]:
        """Samples, longer ones in later stages."""
        iteration = begin
        while True:
            earlier = self.recipe.earlier(iteration // self.recipe.epoch_iterations)
            yield draw_samples(bank, self.recipe.sampling, earlier, (self.seed, rank, iteration), kernels)
            iteration += 1

    def loss(self, network: nn.Module, batch: Samples) -> tuple[Tensor, Tensor]:
        """The published losses, in float32 whatever the network computes in."""
        assert isinstance(network, TCTrack)  # noqa: S101
        bfloat16 = self.recipe.precision == "bfloat16"
        with torch.autocast(batch.clip.device.type, torch.bfloat16, enabled=bfloat16):
            maps = network(batch.template, batch.clip, batch.boxes)
        maps = TCTrackMaps(*(m.float() for m in maps))
        targets = make_targets(batch.boxes, batch.present, batch.keys, network.cells)
        return losses(maps, targets, network.cells, self.recipe.loss)

    def compiled_loss(self) -> Callable[[nn.Module, Samples], tuple[Tensor, Tensor]]:
        """All of ``loss``, compiled."""
        compiled: Any = torch.compile  # torch's annotations hide the signature of what comes back
        return compiled(self.loss)

    def sheet(self, network: nn.Module, bank: Bank) -> Image:
        """Samples like those of the training with the network's best boxes."""
        assert isinstance(network, TCTrack)  # noqa: S101
        seed = (self.seed, SAMPLE_SEED)
        return samples_sheet(network, draw_samples(bank, self.recipe.sampling, self.recipe.earlier(0), seed))

    def description(self, network: nn.Module) -> dict[str, Any]:
        """How the tokens were read."""
        return {"quirks": self.recipe.quirks}
