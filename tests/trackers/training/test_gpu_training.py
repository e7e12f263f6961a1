"""On a GPU: nothing on the host waits, and what is drawn is what the CPU draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from onlinetada.trackers.training.bank import Bank, load_bank
from onlinetada.trackers.training.batches import BatchOptions, make_batch, plan_batch, render
from onlinetada.trackers.training.compact_job import CompactJob
from onlinetada.trackers.training.recipe import OptimiserOptions, Recipe
from onlinetada.trackers.training.recorded import Recorded, gradients
from onlinetada.trackers.training.render import compiled_kernels
from onlinetada.trackers.training.scenes import SceneOptions
from onlinetada.trackers.training.tctrack.job import TCTrackJob
from onlinetada.trackers.training.tctrack.recipe import SamplingOptions, ScheduleOptions, Stage, TCTrackRecipe
from onlinetada.trackers.training.trainer import Trainer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

BATCH = BatchOptions(pasted=6, still=3, real=4, mismatched=0.5, absent=0.2, scene=SceneOptions(frames=2, size=96))
COMPACT = Recipe(
    iterations=1000,
    batch=BATCH,
    optimiser=OptimiserOptions(warm_up=2),
    imagenet=False,
    precision="bfloat16",
    log_every=10**6,
    checkpoint_every=10**6,
)
ROUNDS = dataclasses.replace(COMPACT, frozen_blocks=5, frozen_depthwise=True, round_batches=2, passes=2)
TCTRACK = TCTrackRecipe(
    model="tctrack",
    epochs=3,
    epoch_samples=4000,
    sampling=SamplingOptions(samples=4, blur=0.5, negative=0.3),
    stages=(Stage(0, 2),),
    schedule=ScheduleOptions(warm_up_epochs=1),
    log_every=10**6,
    checkpoint_every=10**6,
)


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture(scope="module")
def on_gpu(packed: Path) -> Bank:
    return load_bank(packed, "cuda")


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize(
    ("job", "recorded"),
    [
        (CompactJob(COMPACT), False),
        (CompactJob(COMPACT), True),
        (CompactJob(ROUNDS), True),
        (TCTrackJob(TCTRACK), False),
    ],
    ids=["compact", "recorded", "rounds", "tctrack"],
)
def test_nothing_on_the_host_waits(on_gpu: Bank, tmp_path: Path, job: Any, recorded: bool, ahead: int) -> None:
    trainer = Trainer(job, on_gpu, tmp_path, ahead=ahead)
    if recorded:
        trainer.gradients = Recorded(job.loss)
    trainer.save = lambda: None  # type: ignore[method-assign]  what is written to disk has to arrive
    trainer.run(report=lambda progress: None, until=5)  # libraries set themselves up, the step is recorded
    with waiting_is_an_error():
        batches = trainer._batches()
        for _ in range(4):
            trainer._step(next(batches))
        batches.close()


@pytest.mark.parametrize("place", ["host", "disk"])
def test_streaming_to_the_gpu_waits_for_nothing_and_draws_the_same(on_gpu: Bank, packed: Path, place: str) -> None:
    streamed = load_bank(packed, "cuda", place=place)  # type: ignore[arg-type]
    plan = plan_batch(on_gpu, BATCH, (1,))
    resident = render(on_gpu, plan)
    render(streamed, plan)
    with waiting_is_an_error():
        brought = render(streamed, plan)
    assert torch.equal(resident.clip, brought.clip) and torch.equal(resident.boxes, brought.boxes)


def test_the_gpu_draws_what_the_cpu_draws(bank: Bank, on_gpu: Bank) -> None:
    quiet = plan_batch(bank, BATCH, (1,))
    quiet = dataclasses.replace(quiet, noise=quiet.noise * 0)  # each device has its own random numbers
    a, b = render(bank, quiet), render(on_gpu, quiet)
    difference = (a.clip - b.clip.cpu()).abs()
    assert difference.mean() < 0.02 and (difference > 2).float().mean() < 1e-3
    assert torch.allclose(a.boxes, b.boxes.cpu(), atol=1.01) and torch.equal(a.present, b.present.cpu())


def test_compiled_kernels_draw_the_same_on_the_gpu(on_gpu: Bank) -> None:
    plain, fused = make_batch(on_gpu, BATCH, (1,)), make_batch(on_gpu, BATCH, (1,), kernels=compiled_kernels())
    assert (plain.clip - fused.clip).abs().max() < 0.5 and torch.equal(plain.present, fused.present)


@pytest.mark.parametrize("form", ["recorded", "compiled", "compiled and recorded"])
@pytest.mark.filterwarnings("error:training steps are not recorded")
def test_other_forms_of_a_step_give_its_gradients(
    on_gpu: Bank, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    job = CompactJob(dataclasses.replace(COMPACT, precision="float32"))
    trainer = Trainer(job, on_gpu, tmp_path, ahead=0)
    loss = job.compiled_loss() if "compiled" in form else job.loss
    other = Recorded(loss) if "recorded" in form else partial(gradients, loss)
    batches = trainer._batches()
    for number in range(7):  # from the fifth one on, what was recorded sees clips that it was not recorded with
        batch = next(batches)
        wanted, got = (_gradients_of(trainer.network, do, batch) for do in (partial(gradients, job.loss), other))
        least = 1e-3 * torch.stack([value.norm() for value in wanted.values()]).max()  # below, rounding is all there is
        for name, value in wanted.items():
            error = (value - got[name]).norm() / value.norm().clamp(min=least)
            assert error < 1e-2, (number, name, error.item())
        trainer._step(batch)
    batches.close()
    assert not isinstance(other, Recorded) or other.recorded


def _gradients_of(network: torch.nn.Module, do: Callable[..., torch.Tensor], batch: Any) -> dict[str, torch.Tensor]:
    network.zero_grad(set_to_none=True)
    reported = do(network, batch)
    found = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None} | {"reported": reported}
    network.zero_grad(set_to_none=True)
    return found
