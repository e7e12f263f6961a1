"""Processes that train together end with the weights of one process that sees all of their clips."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from onlinetada.trackers.config import from_values
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.compact_job import CompactJob
from onlinetada.trackers.training.parallel import Team, team
from onlinetada.trackers.training.recipe import Recipe
from onlinetada.trackers.training.trainer import Trainer

RECIPE: dict[str, Any] = {
    "iterations": 4,
    "batch": {"pasted": 1, "still": 1, "real": 2, "scene": {"frames": 2, "size": 96}},
    "optimiser": {"warm_up": 1},
    "imagenet": False,
    "frozen_blocks": 5,
    "frozen_depthwise": True,
    "log_every": 4,
}
TOGETHER = """
import json, sys, torch
from pathlib import Path
from onlinetada.trackers.config import from_values
from onlinetada.trackers.training.bank import load_bank
from onlinetada.trackers.training.parallel import team
from onlinetada.trackers.training.recipe import Recipe
from onlinetada.trackers.training.trainer import Trainer

torch.set_num_threads(1)
recipe, packed, out = from_values(Recipe, json.loads(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
with team("cpu") as (processes, device):
    trainer = Trainer(recipe, load_bank(packed, device), out / "run", team=processes)
    lines = []
    trainer.run(report=lines.append, until=2)
    stopped = processes.agree(processes.rank == 1, torch.device(device))
    trainer.run(report=lines.append, max_s=3600)
    frames = trainer.summary()["search_frames"]
    torch.save((dict(trainer.network.named_parameters()), stopped, frames), out / f"{processes.rank}.pt")
"""


class AllTheClips(CompactJob):
    """One process that shows the clips of two: each as a batch of its own, as batch norms demand."""

    def batches(self, network: nn.Module, bank: Bank, **options: Any) -> Iterator[Any]:
        """Pairs of batches."""
        del options["rank"]
        return zip(*(super(AllTheClips, self).batches(network, bank, rank=r, **options) for r in (0, 1)), strict=True)

    def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        """The mean of both."""
        (a, parts_a), (b, parts_b) = (super(AllTheClips, self).loss(network, one) for one in batch)
        return (a + b) / 2, (parts_a + parts_b) / 2


def test_alone_nothing_is_exchanged() -> None:
    with team("cpu") as (processes, device):
        assert processes == Team(0, 1) and processes.leads and device == "cpu"
        gradient = torch.ones(2)
        processes.average([gradient, None])
        assert gradient.tolist() == [1, 1]
        assert processes.agree(True, torch.device("cpu")) and not processes.agree(False, torch.device("cpu"))


@pytest.mark.slow
def test_two_processes_train_as_one_that_sees_all_clips(bank: Bank, packed: Path, tmp_path: Path) -> None:
    (tmp_path / "together.py").write_text(TOGETHER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = [str(tmp_path / "together.py"), json.dumps(RECIPE), str(packed), str(tmp_path)]
    subprocess.run([*command, *arguments], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=240)
    (first, stopped, frames), (second, also_stopped, _) = (
        torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)
    )
    assert stopped and also_stopped, "what one process says, all hear"
    assert frames == 4 * 2 * 4 * 2
    assert all(torch.equal(value, second[name]) for name, value in first.items()), "all processes hold the same"

    torch.set_num_threads(1)
    recipe = from_values(Recipe, RECIPE)
    alone = Trainer(AllTheClips(recipe), bank, tmp_path / "alone")
    start = {k: v.clone() for k, v in alone.network.named_parameters()}
    alone.run(report=lambda progress: None)
    moved = 0
    for name, value in alone.network.named_parameters():
        step = (value - start[name]).abs().max()
        moved += bool(step > 0)
        assert (value - first[name]).abs().max() <= 0.01 * step + 1e-7, name
    assert moved > 30
    half = Trainer(recipe, bank, tmp_path / "half")  # the clips of the first process alone lead elsewhere
    half.run(report=lambda progress: None)
    away = [(v - first[k]).abs().max() > 0.05 * (v - start[k]).abs().max() for k, v in half.network.named_parameters()]
    assert sum(map(bool, away)) > 30
