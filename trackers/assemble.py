"""From a model's name to an engine that runs it: network, weights, inference options, device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from onlinetada.errors import InputError
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.models.checkpoint import read_state_dict
from onlinetada.trackers.models.fold import fold_batch_norms
from onlinetada.trackers.models.precision import backbone_in_bfloat16, checked_dtype
from onlinetada.trackers.models.registry import ModelSpec, find_model, read_card
from onlinetada.trackers.models.tctrack import Quirks
from onlinetada.trackers.options import InferenceConfig, with_changes
from onlinetada.trackers.runtime.choose import checked_runtime, weights_beside, with_runtime
from onlinetada.trackers.runtime.device_looker import DeviceLooker


def build_engine(
    model: str = "default",
    *,
    weights: str | Path | None = None,
    device: str | torch.device | None = None,
    quirks: Quirks = "none",
    penalty_k: float | None = None,
    window_influence: float | None = None,
    size_lr: float | None = None,
    runtime: str = "auto",
    dtype: str = "float32",
) -> Engine:
    """An engine without targets; the arguments are those of ``build_tracker``."""
    if quirks not in get_args(Quirks):
        raise InputError(f"quirks must be one of {', '.join(get_args(Quirks))}; it is {quirks!r}")
    wanted, spec = checked_runtime(runtime), find_model(model)
    given_path = weights_path(spec, weights)
    path = weights_beside(given_path)
    card = read_card(path)
    config = inference_config(spec, card, quirks=quirks)
    given = {"penalty_k": penalty_k, "window_influence": window_influence, "size_lr": size_lr}
    config = with_changes(config, {k: v for k, v in given.items() if v is not None}, source="inference options")
    where = torch_device(device)
    network = load_network(spec, path, card, quirks=quirks)
    checked_dtype(dtype)
    ready = prepared(network, where, exact=quirks == "published")
    if dtype == "bf16":
        ready = backbone_in_bfloat16(ready)
    ready = with_runtime(ready, given_path, where, wanted, quirks=quirks, dtype=dtype)
    on_device = where.type == "cuda" and wanted == "auto" and quirks != "published"
    return Engine(ready, config, device=where, looker=DeviceLooker(ready, config, where) if on_device else None)


def weights_path(spec: ModelSpec, weights: str | Path | None) -> Path:
    """The file to load: the one that is given, or the model's own that ships.

    Raises:
        InputError: none is given and none ships.
    """
    if weights is not None:
        return Path(weights)
    if not spec.default_weights.is_file():
        raise InputError(f"model {spec.name!r} ships without weights: give a file with weights=... or --weights FILE")
    return spec.default_weights


def inference_config(spec: ModelSpec, card: Mapping[str, Any], *, quirks: Quirks) -> InferenceConfig:
    """The model's options, with what the card of its weights says; as published nothing is ever lost or held."""
    config = with_changes(spec.inference, card.get("inference", {}), source="model card, inference")
    for part in ("confidence", "loss", "recovery"):
        config = with_changes(config, {part: card.get(part, {})}, source=f"model card, {part}")
    if quirks == "published":
        config = replace(config, recover=False, loss=replace(config.loss, enter_lost=0.0))
    return config


def load_network(spec: ModelSpec, path: Path, card: Mapping[str, Any], *, quirks: Quirks = "none") -> nn.Module:
    """The model's network with the weights of a file."""
    network = spec.build(quirks, card)
    spec.load(network, read_state_dict(path), str(path))
    return network


def prepared(network: nn.Module, device: torch.device, *, exact: bool = False) -> Any:
    """A network made ready for inference: evaluation mode, no gradients, batch norms folded, channels last.

    Args:
        network: changed in place.
        device: where it goes.
        exact: leave out the folding and the layout. Both only round differently, but the published decoding is so
            steep near the end of its range (7,000 pixels for 1) that boxes would move by tenths of a pixel.
    """
    network = network.eval().requires_grad_(False)
    if exact:
        return network.to(device)
    layout: Any = {"memory_format": torch.channels_last}  # torch's annotations leave it out
    return fold_batch_norms(network).to(device, **layout)


def torch_device(device: str | torch.device | None) -> torch.device:
    """The device that is asked for; without one the GPU where there is one.

    Raises:
        InputError: it does not exist here.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise InputError(f"there is no device {device!r}: use cpu, cuda or cuda:N") from None
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {device} is not there: this machine has {torch.cuda.device_count()} CUDA devices")
    return found
