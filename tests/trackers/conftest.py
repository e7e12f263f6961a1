"""The published networks' numbers with the seeded weights that gave them; a network and a scene for quick tests."""

from __future__ import annotations

import ast
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onlinetada.state import StreamState
from onlinetada.trackers.models.network import Candidates, Geometry

torch.set_num_threads(1)  # small batches gain nothing from more, and lose much where cores are shared

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


class Matcher(torch.nn.Module):
    """A tracking network without weights: normalised correlation of small grey pictures. It really tracks."""

    geometry = Geometry(template_size=64, search_size=128, context=0.5, color="bgr", crop="subpixel", grid_size=17)

    def start(self, template: torch.Tensor, search: torch.Tensor, box: torch.Tensor) -> StreamState:
        """Keep the grey template, the box's size, and how many frames were committed."""
        rows = {
            "template": self._shrink(template)[:, 0, 4:12, 4:12].contiguous(),
            "size": box[:, 2:].clone(),
            "frames": torch.zeros(len(box), 1),
        }
        return StreamState.of(rows, len(box))

    def step(self, search: torch.Tensor, state: StreamState, *, commit: bool = True) -> tuple[Candidates, StreamState]:
        """Correlate at 17 x 17 places, 4 pixels apart."""
        grey = self._shrink(search)
        patches = torch.nn.functional.unfold(grey[:, :, 4:28, 4:28], 8).transpose(1, 2)  # (B, 289, 64)
        patches = patches - patches.mean(2, keepdim=True)
        kernel = state["template"].flatten(1)
        kernel = kernel - kernel.mean(1, keepdim=True)
        norms = patches.norm(dim=2) * kernel.norm(dim=1, keepdim=True)
        scores = (patches @ kernel[:, :, None])[:, :, 0] / norms.clamp(min=1e-3)
        steps = torch.arange(17.0) * 4 - 32
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        centres = torch.stack([x.flatten(), y.flatten()], 1).expand(len(search), -1, -1)
        boxes = torch.cat([centres, state["size"][:, None].expand(-1, 289, -1)], 2)
        if commit:
            state.commit({"frames": state["frames"] + 1})
        return Candidates(boxes, scores.clamp(0, 1)), state

    @staticmethod
    def _shrink(pictures: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pictures.mean(1, keepdim=True), 4)


@pytest.fixture
def matcher() -> Matcher:
    """A network that follows textured targets at once."""
    return Matcher()


class Scene:
    """A textured square that moves over a gently waving ground."""

    def __init__(self, width: int = 320, height: int = 240, side: int = 32, seed: int = 3) -> None:
        rng = np.random.default_rng(seed)
        waves = 60 + 30 * np.sin(np.arange(width) / 25) + 25 * np.cos(np.arange(height) / 20)[:, None]
        self.ground = np.repeat(waves[..., None], 3, 2).astype(np.uint8)
        spots = rng.integers(0, 255, (side // 8, side // 8, 1), dtype=np.uint8)
        self.target = np.broadcast_to(np.kron(spots, np.ones((8, 8, 1), np.uint8)), (side, side, 3))
        self.side = side

    def frame(self, x: int, y: int, *, visible: bool = True) -> np.ndarray:
        """The picture with the target's top left corner at x, y."""
        picture = self.ground.copy()
        if visible:
            picture[y : y + self.side, x : x + self.side] = self.target
        return picture


@pytest.fixture
def scene() -> Scene:
    """Pictures with a known target."""
    return Scene()
