"""The training loop of video networks."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onlinetada.errors import InputError
from onlinetada.trackers.recognition.augment import Augmentation
from onlinetada.trackers.recognition.data import MEAN, STD, Material, training_batches
from onlinetada.trackers.recognition.recipe import OptimiserOptions, RecognitionRecipe
from onlinetada.trackers.training.checkpoint import load_checkpoint, save_checkpoint
from onlinetada.trackers.training.parallel import Team
from onlinetada.video import VideoNetwork, build, load_weights

_LAST_RATE = 0.01


@dataclass(frozen=True)
class Progress:
    """One line of the log: means since the line before.

    Attributes:
        iteration: steps done.
        loss: cross-entropy, of verbs and nouns together.
        accuracy: share of the clips whose best class is the target's; -1 where targets are mixtures.
        learning_rate: of the old parameters, now.
        clips_per_s: by all processes.
        elapsed_s: of training, earlier sittings included.
    """

    iteration: int
    loss: float
    accuracy: float
    learning_rate: float
    clips_per_s: float
    elapsed_s: float


def new_network(recipe: RecognitionRecipe, num_classes: int | tuple[int, int], base: Path) -> VideoNetwork:
    """The network that a recipe begins with; the same seed gives the same weights.

    Args:
        base: folder that the recipe's paths are relative to.
    """
    choice = recipe.network
    torch.manual_seed(recipe.seed)
    network = build(choice.name, num_classes=num_classes, tada=choice.tada, **choice.options)
    if choice.weights is not None:
        load_weights(network, read_tensors(base / choice.weights))
    return network


def read_tensors(path: Path) -> dict[str, Any]:
    """Tensors of a .safetensors file, or of a .pt, .pth or .pyth file that holds nothing but tensors."""
    if not path.exists():
        raise InputError(f"{path}: no such weights")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(path))
    loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return loaded


class RecognitionTrainer:
    """Holds what changes in training. ``run`` may be called again to go on.

    Args:
        recipe: what to do.
        material: what to do it with.
        folder: for checkpoints.
        base: folder that the recipe's paths are relative to.
        device: of the arithmetic.
        resume: go on from the checkpoint in ``folder``.
        team: the processes that train together; each sees clips of its own, gradients are averaged.
    """

    def __init__(
        self,
        recipe: RecognitionRecipe,
        material: Material,
        folder: Path,
        *,
        base: Path = Path("."),
        device: str = "cpu",
        resume: bool = False,
        team: Team | None = None,
    ) -> None:
        self.recipe, self.material, self.folder = recipe, material, folder
        self.team, self.device = team or Team(), torch.device(device)
        self.augmentation = Augmentation(recipe.augment)
        self.network = new_network(recipe, material.num_classes, base).to(self.device)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = _optimiser(self.network, recipe.optimiser)
        self.iteration, self.elapsed_s = 0, 0.0
        if resume:
            meta = load_checkpoint(self.checkpoint, **self._parts())
            self.iteration, self.elapsed_s = int(meta["iteration"]), float(meta["elapsed_s"])

    @property
    def checkpoint(self) -> Path:
        """Where the latest checkpoint lies."""
        return self.folder / "checkpoint"

    def run(self, *, report: Callable[[Progress], None] = lambda progress: None, max_s: float = math.inf) -> None:
        """Train until the recipe's last iteration, or for ``max_s`` seconds, and write a checkpoint."""
        recipe, team = self.recipe, self.team
        batches = training_batches(recipe, self.material, begin=self.iteration, rank=team.rank, size=team.size)
        begin = mark = time.monotonic()
        before, sums, lines = self.elapsed_s, torch.zeros(2, device=self.device), self.iteration
        while self.iteration < recipe.iterations and not team.agree(time.monotonic() - begin >= max_s, self.device):
            clips, labels = next(batches)
            torch.manual_seed(_step_seed(recipe.seed, self.iteration, team.rank))
            sums += self._step(clips.to(self.device), labels.to(self.device))
            self.elapsed_s = before + time.monotonic() - begin
            done = self.iteration
            if done % recipe.log_every == 0 or done == recipe.iterations:
                now = time.monotonic()
                report(self._progress(sums / (done - lines), (done - lines) / (now - mark)))
                sums, lines, mark = torch.zeros_like(sums), done, now
            if done % recipe.checkpoint_every == 0:
                self.save()
        self.save()

    def save(self) -> None:
        """Write the checkpoint; of several processes the first one does."""
        if self.team.leads:
            meta = {"iteration": self.iteration, "elapsed_s": self.elapsed_s, "recipe": asdict(self.recipe)}
            save_checkpoint(self.checkpoint, **self._parts(), meta=meta)

    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "average": self.average, "optimiser": self.optimiser}

    def _step(self, clips: Tensor, labels: Tensor) -> Tensor:
        """One iteration: loss and accuracy."""
        options = self.recipe.optimiser
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_rate"] * rate_factor(self.iteration, self.recipe)
        self.network.train()
        loss, accuracy = self._loss(clips, labels)
        loss.backward()
        self.team.average(p.grad for p in self.network.parameters())
        if options.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), options.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.iteration += 1
        self._update_average()
        return torch.stack([loss.detach(), accuracy])

    def _loss(self, clips: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        x = self.augmentation.pictures(clips.float() / 255)
        counts = self.material.num_classes
        classes = (counts,) if isinstance(counts, int) else counts
        if len(classes) == 1:
            x, target = self.augmentation.mixed(x, labels[:, 0], classes[0])
            targets = [target]
        else:
            targets = [F.one_hot(labels[:, i], n).float() for i, n in enumerate(classes)]
        mean, std = (torch.tensor(v, device=x.device).view(1, 3, 1, 1, 1) for v in (MEAN, STD))
        bfloat16 = self.recipe.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16):
            scores = self.network((x - mean) / std)
        parts = [scores] if isinstance(scores, Tensor) else list(scores.values())
        losses = [F.cross_entropy(s.float(), t) for s, t in zip(parts, targets, strict=True)]
        right = torch.stack([s.argmax(1) == labels[:, i] for i, s in enumerate(parts)]).all(0).float().mean()
        mixed = bool(self.recipe.augment.mixup or self.recipe.augment.cutmix)
        return torch.stack(losses).sum(), torch.full_like(right, -1.0) if mixed else right

    @torch.no_grad()
    def _update_average(self) -> None:
        keep = min(self.recipe.optimiser.ema, self.iteration / (10 + self.iteration))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        for old, new in zip(self.average.buffers(), self.network.buffers(), strict=True):
            old.copy_(new)

    def _progress(self, means: Tensor, steps_per_s: float) -> Progress:
        loss, accuracy = means.tolist()
        return Progress(
            iteration=self.iteration,
            loss=loss,
            accuracy=accuracy,
            learning_rate=self.recipe.optimiser.learning_rate * rate_factor(self.iteration, self.recipe),
            clips_per_s=steps_per_s * self.recipe.batch * self.team.size,
            elapsed_s=self.elapsed_s,
        )


def rate_factor(iteration: int, recipe: RecognitionRecipe) -> float:
    """Linear warm-up, then a cosine from 1 to 0.01."""
    warm_up = recipe.optimiser.warm_up * recipe.iterations
    if iteration < warm_up:
        return (iteration + 1) / (warm_up + 1)
    cosine = 0.5 * (1 + math.cos(math.pi * (iteration - warm_up) / max(1.0, recipe.iterations - warm_up)))
    return cosine * (1 - _LAST_RATE) + _LAST_RATE


def _optimiser(network: nn.Module, options: OptimiserOptions) -> torch.optim.Optimizer:
    groups = parameter_groups(network, options)
    if options.kind == "adamw":
        return torch.optim.AdamW(groups, lr=options.learning_rate)
    return torch.optim.SGD(groups, lr=options.learning_rate, momentum=options.momentum, nesterov=options.momentum > 0)


def parameter_groups(network: nn.Module, options: OptimiserOptions) -> list[dict[str, Any]]:
    """What learns how fast, and what decays: weights of two dimensions and more, and calibrations' flat ones."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        factor = options.head_factor if name.startswith("head.") else 1.0
        if ".calibration." in name or ".pool_norm." in name:
            factor = options.new_factor
        decays = parameter.dim() > 1 or name.endswith(".taps")
        groups.setdefault((factor, decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "base_rate": options.learning_rate * factor,
            "lr": options.learning_rate * factor,
            "weight_decay": options.weight_decay if decays else 0.0,
        }
        for (factor, decays), parameters in groups.items()
    ]


def _step_seed(seed: int, iteration: int, rank: int) -> int:
    return (seed * 1_000_003 + iteration) * 1_009 + rank
