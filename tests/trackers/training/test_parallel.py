"""Processes that train together average their gradients and stop together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from onlinetada.trackers.training.parallel import Team, team

TOGETHER = """
import sys, torch
from onlinetada.trackers.training.parallel import team
torch.manual_seed(0)
layer = torch.nn.Linear(3, 2)
with team("cpu") as (processes, device):
    x = torch.full((1, 3), float(processes.rank + 1))
    layer(x).sum().backward()
    processes.average(p.grad for p in layer.parameters())
    stop = processes.agree(processes.rank == 1, torch.device(device))
    torch.save((layer.weight.grad, layer.bias.grad, stop), f"{sys.argv[1]}/{processes.rank}.pt")
"""


def test_alone_nothing_is_exchanged() -> None:
    with team("cpu") as (processes, device):
        assert processes == Team(0, 1) and processes.leads and device == "cpu"
        gradient = torch.ones(2)
        processes.average([gradient, None])
        assert gradient.tolist() == [1, 1]
        assert processes.agree(True, torch.device("cpu")) and not processes.agree(False, torch.device("cpu"))


@pytest.mark.slow
def test_two_processes_average_their_gradients(tmp_path: Path) -> None:
    (tmp_path / "together.py").write_text(TOGETHER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(tmp_path / "together.py"), str(tmp_path)], check=True, env=environment, timeout=120)
    for rank in (0, 1):
        weight, bias, stop = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert (weight == 1.5).all() and (bias == 1).all() and stop
