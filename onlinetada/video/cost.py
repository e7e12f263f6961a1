"""Parameters and multiply-adds of a network, layer by layer, and calibration's share of them.

Multiply-adds are what the literature on video networks calls FLOPs. Counted are convolutions, linear layers and
attention; for calibrated layers also the descriptor (an addition a pixel) and the scaling (a multiplication a pixel of
what is scaled, or a kernel where that is folded in).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from onlinetada.layers import TAdaConv2d, TAdaConv3d

_CALIBRATION = ".calibration"


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs for the counted input.

    Attributes:
        name, kind: of the module.
        parameters: its own, calibration aside.
        multiply_adds: its own.
        calibration_parameters: of its calibration.
        route_multiply_adds: of making the factors from descriptors.
        pixel_multiply_adds: of descriptors and of scaling, which pass over the feature map.
    """

    name: str
    kind: str
    parameters: int
    multiply_adds: int
    calibration_parameters: int = 0
    route_multiply_adds: int = 0
    pixel_multiply_adds: int = 0


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        layers: with parameters or arithmetic, in order.
        shape: of the input.
    """

    layers: tuple[LayerCost, ...]
    shape: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """All of them."""
        return sum(layer.parameters + layer.calibration_parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """All of them, calibration included."""
        return sum(layer.multiply_adds for layer in self.layers) + self.route + self.pixels

    @property
    def route(self) -> int:
        """Multiply-adds that make the factors."""
        return sum(layer.route_multiply_adds for layer in self.layers)

    @property
    def pixels(self) -> int:
        """Multiply-adds of descriptors and scaling."""
        return sum(layer.pixel_multiply_adds for layer in self.layers)

    @property
    def calibration_parameters(self) -> int:
        """Parameters of all calibrations."""
        return sum(layer.calibration_parameters for layer in self.layers)

    def __str__(self) -> str:
        """A table, and calibration's share below it."""
        rows = [
            f"{c.name:<40} {c.kind:<18} {c.parameters:>11,} {c.multiply_adds / 1e6:>12,.2f} "
            f"{c.calibration_parameters:>10,} {c.route_multiply_adds / 1e6:>9.3f} {c.pixel_multiply_adds / 1e6:>9.3f}"
            for c in self.layers
        ]
        titles = f"{'layer':<40} {'kind':<18} {'parameters':>11} {'M mult-adds':>12} {'cal. par.':>10}"
        return "\n".join([f"{titles} {'route M':>9} {'pixels M':>9}", *rows, self.summary()])

    def summary(self) -> str:
        """One line."""
        total = self.multiply_adds
        return (
            f"{self.parameters / 1e6:.2f} M parameters, {total / 1e9:.2f} G multiply-adds for "
            f"{'x'.join(map(str, self.shape))}; calibration: {self.calibration_parameters / 1e6:.2f} M parameters, "
            f"{100 * self.route / total:.4f}% of the multiply-adds for factors, "
            f"{100 * self.pixels / total:.4f}% for descriptors and scaling"
        )


@torch.no_grad()
def count(network: nn.Module, shape: tuple[int, ...]) -> Cost:
    """Cost of one forward.

    Args:
        network: any; it is put on the meta device in a copy that has no memory, nothing is computed.
        shape: of the input, (B, 3, T, H, W).
    """
    import copy

    ghost = copy.deepcopy(network).to("meta").eval()
    counter = FlopCounterMode(display=False)
    pixels: dict[str, int] = {}
    with _watched(ghost, pixels), counter:
        ghost(torch.empty(shape, device="meta"))
    counts = counter.get_flop_counts()
    own = {name.partition(".")[2]: sum(by_op.values()) // 2 for name, by_op in counts.items() if name != "Global"}
    return Cost(tuple(_layers(ghost, own, pixels)), shape)


def _layers(network: nn.Module, counted: dict[str, int], pixels: dict[str, int]) -> Iterator[LayerCost]:
    """Counts are of modules with all below them; what a module does itself is the rest."""
    for name, module in network.named_modules():
        if _CALIBRATION in f".{name}":
            continue
        route = _inside(counted, f"{name}{_CALIBRATION}".removeprefix("."))
        itself = counted[name] - _inside(counted, name) if name in counted else 0
        parameters = sum(p.numel() for p in module.parameters(recurse=False))
        calibration = getattr(module, "calibration", None)
        added = sum(p.numel() for p in calibration.parameters()) if isinstance(calibration, nn.Module) else 0
        if parameters or itself:
            kind = type(module).__name__
            yield LayerCost(name, kind, parameters, itself, added, route, pixels.get(name, 0))


def _inside(counted: dict[str, int], name: str) -> int:
    """Sum over the outermost counted modules below one: containers that nobody calls have no count."""
    dot = f"{name}." if name else ""
    below = [k for k in counted if k.startswith(dot) and k != name]
    return sum(counted[k] for k in below if not any(k.startswith(f"{other}.") for other in below))


@contextmanager
def _watched(network: nn.Module, pixels: dict[str, int]) -> Iterator[None]:
    """Count what calibrated layers do with every pixel."""
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, TAdaConv2d | TAdaConv3d):

            def seen(layer: nn.Module, inputs: tuple[Any, ...], y: Tensor, name: str = name) -> None:
                x: Tensor = inputs[0]
                weight: Any = layer.weight
                scaled = y if getattr(layer, "cal_dim", "cin") == "cout" else x
                frames = y.shape[0] * (y.shape[2] if y.dim() == 5 else 1)
                pixels[name] = x.numel() + min(scaled.numel(), weight.numel() * frames)

            handles.append(module.register_forward_hook(seen))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
