"""How fast a recipe trains, and what bounds it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from onlinetada.trackers.training.bank import Bank, Source
from onlinetada.trackers.training.batches import plan_batch, render
from onlinetada.trackers.training.job import Job
from onlinetada.trackers.training.pictures import Pictures
from onlinetada.trackers.training.recipe import Recipe
from onlinetada.trackers.training.recorded import Recorded
from onlinetada.trackers.training.render import compiled_kernels, plain_kernels
from onlinetada.trackers.training.shards import KINDS, Kind
from onlinetada.trackers.training.trainer import Progress, Trainer, device_name

_REPEATS = 5
_SHARES: dict[Kind, float] = {"track": 0.5, "boxed": 0.1, "still": 0.2, "cutout": 0.2}


@dataclass(frozen=True)
class Speed:
    """What was measured. Times are medians of single runs after which the device was waited for.

    Attributes:
        device: that trained.
        torch: its version.
        threads: of the CPU.
        compiled: whether torch.compile was used.
        recorded: whether steps were replayed as a CUDA graph.
        batches_ahead: made by a thread beside the training.
        frames_a_step: search frames an iteration.
        start_s: until the first iteration was done, compilation included.
        search_frames_per_s: of whole iterations as in training.
        iteration_ms: of those.
        host_ms: processor time of this process an iteration, threads added up; well below ``iteration_ms``, the host
            is not what bounds a GPU, and on a CPU it is what the same iteration takes on an idle machine.
        batch_ms: to make a batch.
        plan_ms: the part of it that the host does (compact recipes).
        gradients_ms: network, loss and gradients as they are trained with.
        forward_ms: network and loss, not recorded.
        backward_ms: gradients, not recorded.
        update_ms: clipping, optimiser, averaged weights.
        device_memory_mb: largest; None on a CPU.
        bound: what the iterations wait for.
    """

    device: str
    torch: str
    threads: int
    compiled: bool
    recorded: bool
    batches_ahead: int
    frames_a_step: int
    start_s: float
    search_frames_per_s: float
    iteration_ms: float
    host_ms: float
    batch_ms: float
    plan_ms: float | None
    gradients_ms: float
    forward_ms: float
    backward_ms: float
    update_ms: float
    device_memory_mb: float | None
    bound: str

    def as_values(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure(job: Job, bank: Bank, *, compiled: bool, iterations: int, ahead: int | None = None) -> Speed:
    """Train for a while, then take an iteration apart.

    Args:
        job: of a recipe; its weights are thrown away.
        bank: material on the device to measure.
        compiled: use torch.compile.
        iterations: to measure over, after some to warm up; more if a round of batches has more.
        ahead: see ``Trainer``.
    """
    device = bank.pictures.device
    begin = time.monotonic()
    with TemporaryDirectory() as folder:
        trainer = Trainer(job, bank, Path(folder), compiled=compiled, ahead=ahead)
        trainer.run(report=_ignore, until=1)
        _wait(device)
        start_s = time.monotonic() - begin
        trainer.run(report=_ignore, until=6)  # the last of what is done once
        iteration_ms, host_ms = _iteration_ms(trainer, iterations)
        parts = _parts(trainer, compiled)
        plan_ms = _plan_ms(job, bank)
    memory = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None
    return Speed(
        device=device_name(device),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        compiled=compiled,
        recorded=isinstance(trainer.gradients, Recorded) and trainer.gradients.recorded,
        batches_ahead=trainer.ahead,
        frames_a_step=job.frames_a_step,
        start_s=start_s,
        search_frames_per_s=job.frames_a_step / iteration_ms * 1000,
        iteration_ms=iteration_ms,
        host_ms=host_ms,
        plan_ms=plan_ms,
        device_memory_mb=memory,
        bound=bound(iteration_ms, parts, plan_ms, ahead=trainer.ahead > 0),
        **parts,
    )


def bound(iteration_ms: float, parts: dict[str, float], plan_ms: float | None, *, ahead: bool) -> str:
    """What an iteration waits for, in a sentence."""
    network_ms = parts["gradients_ms"] + parts["update_ms"]
    batch_ms = parts["batch_ms"]
    share = f"the network takes {network_ms:.1f} ms, a batch {batch_ms:.1f} ms, an iteration {iteration_ms:.1f} ms"
    if not ahead:
        slower = "the network" if network_ms >= batch_ms else "making batches"
        return f"bound by {slower}: {share}, one after the other"
    if plan_ms is not None and plan_ms > 0.8 * iteration_ms:
        return f"bound by planning on the host ({plan_ms:.1f} ms a batch): {share}"
    if iteration_ms > 1.2 * max(network_ms, batch_ms):
        return f"bound by the device, which makes batches and trains at the same time: {share}"
    return f"bound by {'the network' if network_ms >= batch_ms else 'making batches'}: {share}"


def _ignore(progress: Progress) -> None:
    pass


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _iteration_ms(trainer: Trainer, iterations: int) -> tuple[float, float]:
    """Time and processor time of whole iterations, without the checkpoint at the end."""
    device = trainer.bank.pictures.device
    marks: list[float] = []

    def mark(progress: Progress) -> None:
        _wait(device)
        marks.append(time.monotonic())

    trainer.save = lambda: None  # type: ignore[method-assign]
    a_round = _round_iterations(trainer.job)
    iterations = -(-iterations // a_round) * a_round  # whole rounds: their first iteration pays for all
    trainer.iteration = 0
    _wait(device)
    begin, busy = time.monotonic(), time.process_time()
    trainer.run(report=mark, until=iterations)
    busy = time.process_time() - busy
    return (marks[-1] - begin) / iterations * 1000, busy / iterations * 1000


def _parts(trainer: Trainer, compiled: bool) -> dict[str, float]:
    """Milliseconds of the parts of an iteration."""
    job, device, network, optimiser = trainer.job, trainer.bank.pictures.device, trainer.network, trainer.optimiser
    trainer.iteration = 0
    kernels = compiled_kernels() if compiled else plain_kernels()
    batches = job.batches(network, trainer.bank, begin=trainer.iteration, rank=0, kernels=kernels)
    loss_of = job.compiled_loss() if compiled else job.loss
    times: dict[str, list[float]] = {
        name: [] for name in ("batch_ms", "gradients_ms", "forward_ms", "backward_ms", "update_ms")
    }

    def timed(name: str, do: Callable[[], Any]) -> Any:
        _wait(device)
        begin = time.monotonic()
        result = do()
        _wait(device)
        times[name].append((time.monotonic() - begin) * 1000)
        return result

    def update() -> None:
        nn.utils.clip_grad_norm_(network.parameters(), job.clip_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        trainer.update_average()

    a_round = _round_iterations(job)
    for _ in range(-(-_REPEATS // a_round) * a_round):
        batch = timed("batch_ms", partial(next, batches))
        job.prepare(network, optimiser, trainer.iteration)
        timed("gradients_ms", partial(trainer.gradients, network, batch))
        optimiser.zero_grad(set_to_none=True)
        loss, _ = timed("forward_ms", partial(loss_of, network, batch))
        timed("backward_ms", loss.backward)
        timed("update_ms", update)
    batch_ms = times.pop("batch_ms")  # of a round the first one takes the time for all
    middle = float(np.mean(batch_ms) if a_round > 1 else np.median(batch_ms))
    return {"batch_ms": middle} | {name: float(np.median(values[1:])) for name, values in times.items()}


def _round_iterations(job: Job) -> int:
    """Iterations that one round of drawing serves."""
    return job.recipe.round_batches * job.recipe.passes if isinstance(job.recipe, Recipe) else 1


def _plan_ms(job: Job, bank: Bank) -> float | None:
    if not isinstance(job.recipe, Recipe):
        return None
    times = []
    for i in range(_REPEATS):
        begin = time.monotonic()
        plan_batch(bank, job.recipe.batch, (job.seed, i))
        times.append((time.monotonic() - begin) * 1000)
    return float(np.median(times))


def draw_ms(recipe: Recipe, bank: Bank, *, compiled: bool) -> float:
    """Milliseconds to draw one batch that is planned already."""
    kernels = compiled_kernels() if compiled else plain_kernels()
    plan = plan_batch(bank, recipe.batch, (recipe.seed, 0))
    times = []
    for _ in range(_REPEATS):
        _wait(bank.pictures.device)
        begin = time.monotonic()
        render(bank, plan, kernels=kernels)
        _wait(bank.pictures.device)
        times.append((time.monotonic() - begin) * 1000)
    return float(np.median(times[1:]))


def made_up_bank(pictures: int, side: int, device: torch.device | str) -> Bank:
    """Pictures of noise: as much work as real ones, for machines that have no material.

    Args:
        pictures: how many, shared out among tracks of 8 frames, boxed stills, stills and cut-outs.
        side: of the square pictures in pixels.
        device: for the pixels.
    """
    count = {kind: max(8, round(pictures * share) // 8 * 8) for kind, share in _SHARES.items()}
    total = sum(count.values())
    generator = torch.Generator(device).manual_seed(0)
    pixels = torch.randint(0, 2**31 - 1, (total * side * side,), generator=generator, device=device, dtype=torch.int32)
    sources: dict[Kind, tuple[Source, ...]] = {}
    begin = 0
    for kind in KINDS:
        length = 8 if kind == "track" else 1
        rows = np.arange(begin, begin + count[kind], length)
        sources[kind] = (Source("made up", 1.0, rows, np.full(len(rows), length)),)
        begin += count[kind]
    box = np.tile([side * 0.36, side * 0.36, side * 0.28, side * 0.28], (total, 1))
    size = torch.full((total,), side, device=device)
    return Bank(
        pictures=Pictures(
            pixels,
            torch.arange(total, device=device) * side * side,
            size,
            size,
            torch.full((total, 3), 127.0).to(device),
        ),
        frame=np.arange(total) % 8,
        shape=np.full((total, 2), float(side)),
        box=box,
        sources=sources,
        terms={"made up": "noise"},
    )
