"""What the training loop has to know of a network that it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn, optim

from onlinetada.errors import InputError
from onlinetada.trackers.result import Image
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.render import Kernels

SAMPLE_SEED = 2**31  # of clips to look at, none of which is trained on


@dataclass(frozen=True)
class Pace:
    """What is done when.

    Attributes:
        iterations: steps of the optimiser.
        log_every: iterations between lines of the log.
        checkpoint_every: iterations between checkpoints and contact sheets.
        validate_every: iterations between validations by tracking; 0 for none before the end.
        validate_clips: how many of the held-out clips these track.
    """

    iterations: int
    log_every: int
    checkpoint_every: int
    validate_every: int
    validate_clips: int

    def __post_init__(self) -> None:
        for name in ("iterations", "log_every", "checkpoint_every", "validate_clips"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.validate_every < 0:
            raise InputError(f"validate_every must not be negative, it is {self.validate_every}")


class Job(Protocol):
    """A network, what it is shown and what it should say.

    Attributes:
        recipe: everything that decides what comes out, a frozen dataclass.
        model: the network's name in the registry.
        pace: what is done when.
        seed: of weights and clips.
        frames_a_step: search frames that one process shows in an iteration.
        clip_norm: largest norm of the gradient.
        ema: share of the averaged weights that stays in every iteration; 0 for no averaging.
        parts: names of what ``loss`` reports.
        steady: every iteration does the same operations to batches of the same shapes.
        begins_with: what kind of weights the training began with, where that changes what it does.
    """

    recipe: Any
    model: str
    pace: Pace
    seed: int
    frames_a_step: int
    clip_norm: float
    ema: float
    parts: tuple[str, ...]
    steady: bool
    begins_with: str

    def new_network(self, initial: Path | None) -> nn.Module:
        """The network to begin with; ``initial`` are weights to begin with instead of the recipe's own."""

    def new_optimiser(self, network: nn.Module, device: torch.device) -> optim.Optimizer:
        """Its parameter groups have a "name"."""

    def prepare(self, network: nn.Module, optimiser: optim.Optimizer, iteration: int) -> None:
        """Set modes, what is frozen and learning rates before an iteration."""

    def batches(self, network: nn.Module, bank: Bank, *, begin: int, rank: int, kernels: Kernels) -> Iterator[Any]:
        """Endless batches from iteration ``begin`` on; batch i follows from the seed, the rank and i alone."""

    def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        """What is minimised, and (len(parts),) what is reported, without gradient."""

    def compiled_loss(self) -> Callable[[nn.Module, Any], tuple[Tensor, Tensor]]:
        """``loss`` with what takes a GPU's time sent through torch.compile."""

    def sheet(self, network: nn.Module, bank: Bank) -> Image:
        """A picture of what the network is shown and says, of clips that are never trained on."""

    def description(self, network: nn.Module) -> dict[str, Any]:
        """What a card needs to build the network again."""
