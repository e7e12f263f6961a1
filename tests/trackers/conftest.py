"""The published networks' numbers, and the seeded weights that gave them."""

from __future__ import annotations

import ast
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

DATA = Path(__file__).parents[1] / "data"


def seeded_tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A checkpoint tensor that follows from its name and shape."""
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("gamma"):
        values = np.full(shape, 0.7)
    elif len(shape) == 6:
        values = noise * math.sqrt(2 / math.prod(shape[3:]))
    elif len(shape) in (3, 5):
        values = noise * {3: 0.1, 5: 0.02}[len(shape)]
    elif len(shape) >= 2:
        values = noise / math.sqrt(math.prod(shape[1:]))
    else:
        values = 1 + 0.1 * noise if name.endswith("weight") else 0.02 * noise
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


class Published:
    """One fixture file: arrays by name, and the checkpoint they were made with."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.arrays: dict[str, Any] = dict(np.load(DATA / f"{model}.npz"))
        self.shapes = {name: ast.literal_eval(shape) for name, shape in (str(k).split(" ", 1) for k in self["keys"])}
        self.checkpoint = {
            name: torch.from_numpy(self[f"bn/{name}"]) if f"bn/{name}" in self.arrays else seeded_tensor(name, shape)
            for name, shape in self.shapes.items()
        }

    def __getitem__(self, name: str) -> Any:
        return self.arrays[name]

    def tensor(self, name: str) -> torch.Tensor:
        """An array as floats."""
        return torch.from_numpy(self[name]).float()


@pytest.fixture(scope="session", params=["tctrack", "tctrackpp"])
def published(request: pytest.FixtureRequest) -> Published:
    """TCTrack's numbers, then those of TCTrack++."""
    return Published(request.param)
