"""Engines with weights by chance, for the speed of models that ship without any: what they follow means nothing."""

from __future__ import annotations

import torch

from onlinetada.trackers.assemble import inference_config, prepared
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.models.precision import backbone_in_bfloat16
from onlinetada.trackers.models.registry import find_model


def engine_by_chance(model: str, device: torch.device, *, dtype: str = "float32") -> Engine:
    """An engine that never declares a target lost, so that every update does the same work."""
    spec = find_model(model)
    torch.manual_seed(0)
    network = prepared(spec.build("none", {}), device)
    if dtype == "bf16":
        network = backbone_in_bfloat16(network)
    return Engine(network, inference_config(spec, {}, quirks="published"), device=device)
