"""Wherever the pixels are kept, and whoever makes the batches, what is drawn is the same."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from onlinetada.trackers.training.ahead import ahead
from onlinetada.trackers.training.bank import Bank, load_bank
from onlinetada.trackers.training.batches import BatchOptions, make_batch, plan_batch
from onlinetada.trackers.training.compiling import use_compiler_cache
from onlinetada.trackers.training.pictures import Pictures, Streamed
from onlinetada.trackers.training.scenes import SceneOptions
from onlinetada.trackers.training.tctrack.recipe import SamplingOptions
from onlinetada.trackers.training.tctrack.sampling import draw_samples

OPTIONS = BatchOptions(pasted=4, still=2, real=3, mismatched=0.5, scene=SceneOptions(frames=2, size=64))
CPU = torch.device("cpu")


@pytest.mark.parametrize("place", ["host", "disk"])
def test_streamed_pictures_draw_the_same(bank: Bank, packed: Path, place: str) -> None:
    streamed = load_bank(packed, "cpu", place=place)  # type: ignore[arg-type]
    assert isinstance(streamed.pictures, Streamed)
    for seed in ((1,), (2,)):
        a, b = make_batch(bank, OPTIONS, seed), make_batch(streamed, OPTIONS, seed)
        assert torch.equal(a.clip, b.clip) and torch.equal(a.boxes, b.boxes) and torch.equal(a.present, b.present)
    c, d = (draw_samples(held, SamplingOptions(samples=2), 1, (3,)) for held in (bank, streamed))
    assert torch.equal(c.clip, d.clip) and torch.equal(c.template, d.template)


def test_only_what_a_batch_needs_is_fetched(packed: Path) -> None:
    streamed = load_bank(packed, "cpu", place="disk")
    pictures, rows = streamed.pictures.fetch(np.array([7, 3, 7]))
    assert rows.tolist() == [1, 0, 1] and len(pictures.begin) == 2
    assert len(pictures.pixels) == int((streamed.shape[[3, 7]].prod(1)).sum())


def test_a_plan_touches_no_pixel(bank: Bank) -> None:
    blind = dataclasses.replace(bank, pictures=None)  # type: ignore[arg-type]
    assert plan_batch(blind, OPTIONS, (1,)).order.tolist() == plan_batch(bank, OPTIONS, (1,)).order.tolist()


@dataclasses.dataclass(frozen=True)
class Numbered:
    number: Tensor


def numbered(most: int, threads: set[str], *, fail: bool = False) -> Iterator[Numbered]:
    for i in range(most):
        threads.add(threading.current_thread().name)
        yield Numbered(torch.tensor(i))
    if fail:
        raise ValueError("out of clips")


@pytest.mark.parametrize("depth", [0, 2])
def test_batches_made_ahead_come_in_order(depth: int) -> None:
    threads: set[str] = set()
    assert [b.number.item() for b in ahead(numbered(7, threads), CPU, depth=depth)] == list(range(7))
    assert (threads == {threading.current_thread().name}) == (depth == 0)


def test_what_fails_in_the_thread_is_raised_and_the_thread_ends() -> None:
    made = ahead(numbered(2, set(), fail=True), CPU)
    assert [next(made).number.item() for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match="out of clips"):
        next(made)
    endless = ahead(numbered(10**9, set()), CPU)
    next(endless)
    endless.close()
    assert not any(t.name == "batches" for t in threading.enumerate())


COMPILED = """
import sys, torch
from pathlib import Path
from onlinetada.trackers.training.compiling import use_compiler_cache
use_compiler_cache(Path(sys.argv[2]))
torch.set_num_threads(1)
from onlinetada.trackers.training.bank import load_bank
from onlinetada.trackers.training.batches import BatchOptions, plan_batch
from onlinetada.trackers.training.render import compiled_kernels, draw
from onlinetada.trackers.training.scenes import SceneOptions
bank = load_bank(Path(sys.argv[1]), "cpu")
plan = plan_batch(bank, BatchOptions(pasted=0, still=0, real=2, scene=SceneOptions(frames=1, size=64)), (1,))
(_, scene), = plan.scenes
plain, (cover,) = draw(bank.pictures, scene.layers, 4, 64)
fused, (fused_cover,) = draw(bank.pictures, scene.layers, 4, 64, kernels=compiled_kernels())
assert plain.std() > 10 and (plain - fused).abs().max() < 0.1 and (cover - fused_cover).abs().max() < 1e-3
from torch._dynamo.utils import counters
found = counters["inductor"]
print(found["fxgraph_cache_hit"], found["fxgraph_cache_miss"])
"""


@pytest.mark.slow
def test_compiled_kernels_draw_the_same_and_are_kept_for_the_next_run(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(COMPILED)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TORCHINDUCTOR", "TRITON"))}
    outputs = [
        subprocess.run(
            [sys.executable, str(tmp_path / "run.py"), str(packed), str(tmp_path / "cache")],
            check=True,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        ).stdout.split()
        for _ in range(2)
    ]
    assert outputs[0][0] == "0" and int(outputs[0][1]) > 0, "the first run compiles"
    assert int(outputs[1][0]) > 0 and outputs[1][1] == "0", "the second one finds everything"


def test_the_compilers_cache_lies_among_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    assert use_compiler_cache() == tmp_path / "onlinetada" / "compiled"
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "onlinetada" / "compiled")
    assert use_compiler_cache(tmp_path / "other") == tmp_path / "onlinetada" / "compiled", "what is set stays"
    monkeypatch.undo()


def test_pictures_that_are_there_are_not_fetched(bank: Bank) -> None:
    assert isinstance(bank.pictures, Pictures)
    pictures, rows = bank.pictures.fetch(np.array([3, 1]))
    assert pictures is bank.pictures and rows.tolist() == [3, 1]
