"""Several processes that train one network, each on clips of its own, started by torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

_LONGEST_WAIT = timedelta(hours=2)


@dataclass(frozen=True)
class Team:
    """Which of how many processes this is."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    def average(self, gradients: Iterable[Tensor | None]) -> None:
        """Replace gradients by their means over the processes, in one exchange. In place."""
        held = [g for g in gradients if g is not None]
        if self.size == 1 or not held:
            return
        flat = torch.cat([g.flatten() for g in held])
        distributed.all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(held, flat.split([g.numel() for g in held]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def agree(self, done: bool, device: torch.device) -> bool:
        """Whether any process says so: all of them stop at the same iteration."""
        if self.size == 1:
            return done
        said = torch.tensor(float(done), device=device)
        distributed.all_reduce(said, op=distributed.ReduceOp.MAX)
        return bool(said.item())


@contextmanager
def team(device: str) -> Iterator[tuple[Team, str]]:
    """Join the processes that torchrun started, or be alone without it.

    Args:
        device: "cpu" or "cuda"; with several processes each takes the GPU of its local rank.

    Yields:
        The team, and the device of this process.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team(), device
        return
    own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
    if device == "cuda":
        torch.cuda.set_device(own)
    # the others wait while the first process tracks validation clips
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=_LONGEST_WAIT)
    try:
        yield Team(distributed.get_rank(), size), own
    finally:
        distributed.destroy_process_group()
