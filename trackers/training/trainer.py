"""The training loop: one network, one averaged copy, one optimiser, batches made ahead."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onlinetada.errors import InputError
from onlinetada.trackers.training.ahead import ahead
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.checkpoint import load_checkpoint, save_checkpoint
from onlinetada.trackers.training.job import Job
from onlinetada.trackers.training.jobs import AnyRecipe, job_for
from onlinetada.trackers.training.parallel import Team
from onlinetada.trackers.training.pictures import Pictures
from onlinetada.trackers.training.recipe import Recipe
from onlinetada.trackers.training.recorded import Recorded, gradients
from onlinetada.trackers.training.render import compiled_kernels, plain_kernels
from onlinetada.trackers.training.tctrack.recipe import TCTrackRecipe

_ITERATIONS_BETWEEN_AGREEMENTS = 10
_BATCHES_AHEAD_ON_GPU = 2


@dataclass(frozen=True)
class Progress:
    """One line of the log: means since the line before.

    Attributes:
        iteration: steps done.
        parts: what the loss consists of, and how good the answers are.
        gradient_norm: before clipping.
        learning_rate: the highest of ``rates``.
        rates: learning rate of each group of parameters, now.
        search_frames: shown so far, by all processes.
        search_frames_per_s: since the line before.
        elapsed_s: of training, earlier sittings included.
        remaining_s: at this speed.
    """

    iteration: int
    parts: dict[str, float]
    gradient_norm: float
    learning_rate: float
    rates: dict[str, float]
    search_frames: int
    search_frames_per_s: float
    elapsed_s: float
    remaining_s: float

    def line(self) -> dict[str, Any]:
        """As it is logged: flat, with the parts under their own names."""
        values = asdict(self)
        iteration, parts = values.pop("iteration"), values.pop("parts")
        return {"iteration": iteration, **parts, **values}


class Trainer:
    """Holds what changes in training. ``run`` may be called again to go on.

    Args:
        recipe: what to do, or the job that does it.
        bank: material, drawn on the device that trains.
        folder: for checkpoints.
        initial: weights to begin with.
        resume: go on from the checkpoint in ``folder``.
        team: the processes that train together; each draws clips of its own, gradients are averaged.
        compiled: compile the drawing and what ``Job.compiled_loss`` says, see ``use_compiler_cache``; on a GPU also
            record steps, see ``Recorded``.
        ahead: batches that a thread of its own makes ahead; by default none on a CPU, whose cores train already, and
            none where recorded steps leave the host the time to make them.
    """

    def __init__(
        self,
        recipe: AnyRecipe | Job,
        bank: Bank,
        folder: Path,
        *,
        initial: Path | None = None,
        resume: bool = False,
        team: Team | None = None,
        compiled: bool = False,
        ahead: int | None = None,
    ) -> None:
        self.job: Job = job_for(recipe, initial=initial) if isinstance(recipe, Recipe | TCTrackRecipe) else recipe
        self.recipe, self.bank, self.folder = self.job.recipe, bank, folder
        self.team = team or Team()
        device = bank.pictures.device
        recorded = compiled and self.job.steady and device.type == "cuda"
        self.ahead = _batches_ahead(bank, recorded) if ahead is None else ahead
        layout: Any = {"memory_format": torch.channels_last}  # torch's annotations leave it out
        self.network = self.job.new_network(initial).to(device).to(**layout)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = self.job.new_optimiser(self.network, device)
        self._kernels = compiled_kernels() if compiled else plain_kernels()
        loss = self.job.compiled_loss() if compiled else self.job.loss
        self.gradients = Recorded(loss) if recorded else partial(gradients, loss)
        self.iteration, self.elapsed_s = 0, 0.0
        if resume:
            meta = load_checkpoint(
                self.checkpoint, network=self.network, average=self.average, optimiser=self.optimiser
            )
            self._take_over(meta)

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
        at_validation: Callable[[int], None] = lambda iteration: None,
    ) -> None:
        """Train, and write a checkpoint at the end.

        Args:
            report: called every ``log_every`` iterations.
            until: iteration to stop at; by default the recipe's last one.
            max_s: seconds after which to stop.
            at_checkpoint: called with the iteration after every checkpoint but the last one.
            at_validation: called with the iteration every ``validate_every`` iterations.

        Raises:
            InputError: the loss is no longer finite. The latest checkpoint stays.
        """
        pace, device = self.job.pace, self.bank.pictures.device
        last = min(pace.iterations, pace.iterations if until is None else until)
        begin = mark = time.monotonic()
        before, logged = self.elapsed_s, self.iteration
        sums = torch.zeros(len(self.job.parts) + 1, device=device)
        with closing(self._batches()) as batches:
            while self.iteration < last and not self._out_of_time(time.monotonic() - begin, max_s):
                sums += self._step(next(batches))
                self.elapsed_s = before + time.monotonic() - begin
                done = self.iteration
                if done % pace.log_every == 0 or done == last:
                    now = time.monotonic()
                    report(self._progress(sums / (done - logged), (now - mark) / (done - logged)))
                    sums, logged, mark = torch.zeros_like(sums), done, now
                if done % pace.checkpoint_every == 0:
                    self._require_finite(sums.tolist())
                    self.save()
                    at_checkpoint(done)
                if pace.validate_every and done % pace.validate_every == 0 and done < pace.iterations:
                    at_validation(done)
        self._require_finite(sums.tolist())
        self.save()

    def _out_of_time(self, spent_s: float, max_s: float) -> bool:
        """Whether to stop. Processes must agree on it, for which they have to wait: only now and then."""
        if max_s == math.inf:
            return False
        if self.team.size > 1 and self.iteration % _ITERATIONS_BETWEEN_AGREEMENTS:
            return False
        return self.team.agree(spent_s >= max_s, self.bank.pictures.device)

    def _batches(self) -> Generator[Any, None, None]:
        made = self.job.batches(
            self.network, self.bank, begin=self.iteration, rank=self.team.rank, kernels=self._kernels
        )
        return ahead(made, self.bank.pictures.device, depth=self.ahead)

    def _take_over(self, meta: dict[str, Any]) -> None:
        began = meta.get("begins_with", "")
        if began != self.job.begins_with:
            raise InputError(f"{self.folder}: began with {began}; now it would go on as if with {self.job.begins_with}")
        self.iteration, self.elapsed_s = int(meta["iteration"]), float(meta["elapsed_s"])

    def save(self) -> None:
        """Write the checkpoint; of several processes the first one does."""
        if not self.team.leads:
            return
        meta = {
            "iteration": self.iteration,
            "elapsed_s": self.elapsed_s,
            "begins_with": self.job.begins_with,
            "recipe": asdict(self.recipe),
        }
        save_checkpoint(
            self.checkpoint, network=self.network, average=self.average, optimiser=self.optimiser, meta=meta
        )

    def summary(self) -> dict[str, Any]:
        """What was done, for the card."""
        return {
            "iterations": self.iteration,
            "search_frames": self.iteration * self._frames_a_step(),
            "processes": self.team.size,
            "seconds": round(self.elapsed_s),
            "device": device_name(self.bank.pictures.device),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }

    def _frames_a_step(self) -> int:
        return self.job.frames_a_step * self.team.size

    def _step(self, batch: Any) -> Tensor:
        """One iteration: what the job reports, and the norm of the gradient."""
        self.job.prepare(self.network, self.optimiser, self.iteration)
        # dropout draws the same after a stop as without, and differs between processes
        torch.manual_seed(self.job.seed + 1_000_003 * self.iteration + self.team.rank)
        parts = self.gradients(self.network, batch)
        self.team.average(p.grad for p in self.network.parameters())
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.job.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.update_average()
        self.iteration += 1
        return torch.cat([parts, norm.detach()[None]])

    @torch.no_grad()
    def update_average(self) -> None:
        """Take the weights of now into the averaged ones."""
        keep = min(self.job.ema, (1 + self.iteration) / (10 + self.iteration))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        torch._foreach_copy_(list(self.average.buffers()), list(self.network.buffers()))

    def _progress(self, means: Tensor, seconds: float) -> Progress:
        *parts, norm = means.tolist()
        self._require_finite([*parts, norm])
        frames = self._frames_a_step()
        rates = {group["name"]: float(group["lr"]) for group in self.optimiser.param_groups}
        return Progress(
            iteration=self.iteration,
            parts=dict(zip(self.job.parts, parts, strict=True)),
            gradient_norm=norm,
            learning_rate=max(rates.values()),
            rates=rates,
            search_frames=self.iteration * frames,
            search_frames_per_s=frames / seconds,
            elapsed_s=self.elapsed_s,
            remaining_s=(self.job.pace.iterations - self.iteration) * seconds,
        )

    def _require_finite(self, values: Sequence[float]) -> None:
        """Weights that came of something else must not take the place of the latest checkpoint."""
        if not all(math.isfinite(value) for value in values):
            raise InputError(
                f"the loss is no longer finite at iteration {self.iteration}; go on from the latest checkpoint with a "
                "lower learning rate"
            )


def _batches_ahead(bank: Bank, recorded: bool) -> int:
    """A GPU is faster on one stream than shared by two, if the host keeps up; where it reads pictures it does not."""
    if bank.pictures.device.type != "cuda" or (recorded and isinstance(bank.pictures, Pictures)):
        return 0
    return _BATCHES_AHEAD_ON_GPU


def device_name(device: torch.device) -> str:
    """What trains: the GPU's name, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
