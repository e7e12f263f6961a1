"""The step of the published TCTrack code, from a copy that the user has, timed beside ours."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onlinetada.errors import InputError
from onlinetada.trackers.bench.timing import Form
from onlinetada.trackers.models.tctrack import TCTrack

_PARTS = {"tctrack": "utile_tctrack", "tctrackpp": "utile_tctrackplus"}


def published_form(folder: Path, model: str, device: torch.device) -> Form:
    """One eager network step of the published code, with weights by chance, at batch 1 as it only runs.

    Args:
        folder: a checkout of github.com/vision4robotics/TCTrack, with ``pysot`` in it.
        model: "tctrack" or "tctrackpp".
        device: where it runs; its moves to the GPU lead to this device.

    Raises:
        InputError: no such code, or it does not import here.
    """
    network = _built(folder, model, device).eval().to(device)
    geometry = TCTrack.geometry
    template, search = (
        torch.rand(1, 3, side, side, device=device) * 255 for side in (geometry.template_size, geometry.search_size)
    )
    network.template(template, search)

    @torch.inference_mode()
    def step() -> Any:
        return network.track(search)

    return step


def _built(folder: Path, model: str, device: torch.device) -> Any:
    if model not in _PARTS:
        raise InputError(f"--published goes with tctrack and tctrackpp, not with {model}")
    if not (folder / "pysot").is_dir():
        raise InputError(f"--published {folder}: there is no folder pysot in it; give a copy of TCTrack's repository")
    with _importable(folder), _cuda_means(device):
        try:
            module = importlib.import_module(f"pysot.models.{_PARTS[model]}.model_builder")
            (builder,) = (made for name, made in vars(module).items() if name.startswith("ModelBuilder"))
            return builder("test")
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise InputError(f"the published code in {folder} does not run here: {error}") from None


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def _cuda_means(device: torch.device) -> Iterator[None]:
    """While the code is being built, its moves to the GPU lead to the device that was asked for."""
    before = nn.Module.cuda, torch.Tensor.cuda

    def move(thing: Any, *_args: Any, **_options: Any) -> Any:
        return thing.to(device)

    nn.Module.cuda, torch.Tensor.cuda = move, move  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.cuda, torch.Tensor.cuda = before  # type: ignore[method-assign]
