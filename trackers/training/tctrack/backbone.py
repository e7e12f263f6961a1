"""ImageNet weights for TCTrack's AlexNet, in the layouts that they are published in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from onlinetada.errors import InputError
from onlinetada.trackers.models.alexnet import TemporalAlexNet
from onlinetada.trackers.models.checkpoint import read_state_dict

# the Siamese trackers' AlexNet with batch norm numbers its layers; the last two have no calibration there
_NUMBERED = {
    **{f"layer{i}.{j}.": f"block{i}.{j}." for i in (1, 2, 3) for j in (0, 1)},
    "layer4.0.": "temporalconv1.",
    "layer4.1.": "b_f1.0.",
    "layer5.0.": "temporalconv2.",
    "layer5.1.": "b_f2.",
}
_NEEDED = ("block1.", "block2.", "block3.")


def load_backbone(backbone: TemporalAlexNet, path: Path) -> None:
    """Take over what a file has of an AlexNet: at least its first three blocks, mostly the other convolutions too.

    Raises:
        InputError: the file has other layers, or they have other shapes.
    """
    given = _renamed(read_state_dict(path))
    own = backbone.state_dict()
    missing = [k for k in own if k.startswith(_NEEDED) and k not in given and not k.endswith("num_batches_tracked")]
    if missing:
        raise InputError(
            f"{path}: {missing[0]!r} is missing; an AlexNet of 96, 256, 384, 384, 256 channels with batch norm is "
            "needed, its layers named block1.. or layer1.. as published with Siamese trackers"
        )
    with torch.no_grad():
        for name, value in own.items():
            if name not in given:
                continue
            fits = given[name].numel() == value.numel()  # calibrated layers are published with leading ones
            if not fits:
                shapes = f"{tuple(given[name].shape)} instead of {tuple(value.shape)}"
                raise InputError(f"{path}: {name!r} has shape {shapes}")
            value.copy_(given[name].view_as(value))


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for full_name, value in tensors.items():
        name = full_name.removeprefix("backbone.").removeprefix("features.")
        prefix = next((p for p in _NUMBERED if name.startswith(p)), None)
        renamed[name if prefix is None else _NUMBERED[prefix] + name.removeprefix(prefix)] = value
    return renamed
