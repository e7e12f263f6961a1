"""Weights made elsewhere: published TAda2D checkpoints, ImageNet and Kinetics weights in common layouts.

network = onlinetada.video.build("tada2d_r50", num_classes=400)
left = load_weights(network, torch.load("tada2d_8x8.pyth", weights_only=True))
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from onlinetada.errors import InputError
from onlinetada.published import load_published

Rules = Sequence[tuple[str, str]]

_TADA2D: Rules = (
    (r"^conv1\.a\.", "stem.conv."),
    (r"^conv1\.a_bn\.", "stem.norm."),
    (r"\.short_cut\.", ".shortcut.conv."),
    (r"\.short_cut_bn\.", ".shortcut.norm."),
    (r"\.conv_branch\.a\.", ".reduce.conv."),
    (r"\.conv_branch\.a_bn\.", ".reduce.norm."),
    (r"\.conv_branch\.b\.", ".tada."),
    (r"\.conv_branch\.b_rf\.", ".tada_rf."),
    (r"\.conv_branch\.b_bn\.", ".aggregate.norm."),
    (r"\.conv_branch\.b_avgpool_bn\.", ".aggregate.pool_norm."),
    (r"\.conv_branch\.c\.", ".expand.conv."),
    (r"\.conv_branch\.c_bn\.", ".expand.norm."),
    (r"^head\.out\.", "head.classifiers.label."),
    (r"^head\.linear1\.", "head.classifiers.verb."),
    (r"^head\.linear2\.", "head.classifiers.noun."),
)
_RESNET: Rules = (
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"\.downsample\.0\.", ".shortcut.conv."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
    (r"^fc\.", "head.classifiers.label."),
)
_BOTTLENECK: Rules = (
    *_RESNET,
    (r"\.conv1\.", ".reduce.conv."),
    (r"\.bn1\.", ".reduce.norm."),
    (r"\.conv2\.", ".tada."),
    (r"\.bn2\.", ".aggregate.norm."),
    (r"\.conv3\.", ".expand.conv."),
    (r"\.bn3\.", ".expand.norm."),
)
_BASIC: Rules = (
    *_RESNET,
    (r"\.conv1\.", ".tada."),
    (r"\.bn1\.", ".aggregate.norm."),
    (r"\.conv2\.", ".expand.conv."),
    (r"\.bn2\.", ".expand.norm."),
)
_NEXT_TIMM: Rules = (
    (r"^stem\.0\.", "tokenizer."),
    (r"^stem\.1\.", "tokenizer_norm."),
    (r"\.conv_dw\.", ".tada."),
    (r"\.norm\.", ".aggregate.norm."),
    (r"\.mlp\.fc1\.", ".expand."),
    (r"\.mlp\.fc2\.", ".project."),
    (r"\.gamma$", ".scale"),
    (r"^head\.aggregate\.norm\.", "head.norm."),
    (r"^head\.fc\.", "head.classifiers.label."),
)
_NEXT_TORCHVISION: Rules = (
    (r"^features\.0\.0\.", "tokenizer."),
    (r"^features\.0\.1\.", "tokenizer_norm."),
    (r"\.block\.0\.", ".tada."),
    (r"\.block\.2\.", ".aggregate.norm."),
    (r"\.block\.3\.", ".expand."),
    (r"\.block\.5\.", ".project."),
    (r"\.layer_scale$", ".scale"),
    (r"^classifier\.0\.", "head.norm."),
    (r"^classifier\.2\.", "head.classifiers.label."),
)
_R3D: Rules = ((r"^fc\.", "head.classifiers.label."),)


@dataclass(frozen=True)
class Loaded:
    """What became of the tensors.

    Attributes:
        layout: that the file was found to have.
        new: our tensors that it does not have: they keep their beginning, calibrations that of factor one.
        unused: its tensors that the network has no place for; a classifier for other classes is one.
    """

    layout: str
    new: tuple[str, ...]
    unused: tuple[str, ...]


def load_weights(network: nn.Module, weights: Mapping[str, Any]) -> Loaded:
    """Load weights in any known layout into a network of `build`; in place.

    Known are the network's own; published TAda2D; ResNet as torchvision and timm name it; ConvNeXt of torchvision and
    of timm; R3D and R(2+1)D of torchvision. A 2-d stem becomes the middle frame of a 3-d tokenizer. Calibrations and
    norms of temporal pooling that a file lacks stay at their beginning, so such a network starts as the loaded one.

    Args:
        network: of a shape that fits.
        weights: state dict, or a checkpoint that has one below "model_state", "state_dict" or "model".

    Raises:
        InputError: an unknown layout, a tensor that is missing or of another shape.
    """
    tensors = _tensors(weights)
    layout = _layout(tensors, network)
    renamed = _renamed(tensors, layout)
    own = network.state_dict()
    unused = [k for k in renamed if not _has_place(k, renamed[k], own)]
    if layout == "TAda2D":
        kept = {k: v for k, v in renamed.items() if k not in unused}
        fresh = {k: v for k, v in own.items() if k.startswith("head.") and k not in kept}
        load_published(network, {**kept, **fresh})
        return Loaded(layout, tuple(fresh), tuple(unused))
    found = {k: _fitted(k, v, own[k]) for k, v in renamed.items() if k not in unused}
    new = [k for k in own if k not in found and not k.endswith("num_batches_tracked")]
    missing = [k for k in new if not _may_be_new(k)]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise InputError(f"{missing[0]} is missing in these {layout} weights{more}: they are of another network")
    network.load_state_dict({**own, **found})
    return Loaded(layout, tuple(new), tuple(unused))


def _tensors(weights: Mapping[str, Any]) -> dict[str, Tensor]:
    for key in ("model_state", "state_dict", "model"):
        if isinstance(weights.get(key), Mapping):
            weights = weights[key]
    for prefix in ("module.", "backbone."):
        weights = {k.removeprefix(prefix): v for k, v in weights.items()}
    return {k: v for k, v in weights.items() if isinstance(v, Tensor)}


def _layout(tensors: Mapping[str, Tensor], network: nn.Module) -> str:
    if {k for k in network.state_dict() if not _may_be_new(k)} <= set(tensors):
        return "own"
    marks = {
        "conv1.a.weight": "TAda2D",
        "layer1.0.conv1.0.weight": "R3D",
        "layer1.0.conv1.0.0.weight": "R3D",
        "layer1.0.conv3.weight": "ResNet of bottlenecks",
        "layer1.0.conv2.weight": "ResNet of basic blocks",
        "features.0.0.weight": "ConvNeXt of torchvision",
        "stages.0.blocks.0.conv_dw.weight": "ConvNeXt of timm",
    }
    found = next((layout for key, layout in marks.items() if key in tensors), None)
    if found is None:
        some = ", ".join(list(tensors)[:3]) or "no tensors"
        raise InputError(f"these weights are of no layout that is known (they begin with {some}); see load_weights")
    return found


def _renamed(tensors: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    rules = {
        "own": (),
        "TAda2D": _TADA2D,
        "R3D": _R3D,
        "ResNet of bottlenecks": _BOTTLENECK,
        "ResNet of basic blocks": _BASIC,
        "ConvNeXt of torchvision": _NEXT_TORCHVISION,
        "ConvNeXt of timm": _NEXT_TIMM,
    }[layout]
    out = {}
    for key, value in tensors.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        out[_staged(key, layout)] = value
    return out


def _staged(key: str, layout: str) -> str:
    """Our number of stage and block from theirs."""
    if layout == "TAda2D":
        return re.sub(r"^conv(\d)\.res_(\d+)\.", lambda m: f"stages.{int(m[1]) - 2}.{int(m[2]) - 1}.", key)
    if layout.startswith("ResNet") or layout == "R3D":
        return re.sub(r"^layer(\d)\.", lambda m: f"stages.{int(m[1]) - 1}.", key)
    if layout == "ConvNeXt of timm":
        key = re.sub(r"^stages\.(\d)\.downsample\.0\.", r"stages.\1.0.norm.", key)
        key = re.sub(r"^stages\.(\d)\.downsample\.1\.", r"stages.\1.0.conv.", key)
        return re.sub(r"^stages\.(\d)\.blocks\.(\d+)\.", lambda m: f"stages.{m[1]}.{int(m[2]) + (int(m[1]) > 0)}.", key)
    if layout == "ConvNeXt of torchvision":
        down = {"0": "norm", "1": "conv"}
        key = re.sub(r"^features\.([246])\.([01])\.", lambda m: f"stages.{int(m[1]) // 2}.0.{down[m[2]]}.", key)
        return re.sub(
            r"^features\.([1357])\.(\d+)\.",
            lambda m: f"stages.{int(m[1]) // 2}.{int(m[2]) + (int(m[1]) > 1)}.",
            key,
        )
    return key


def _has_place(key: str, value: Tensor, own: Mapping[str, Tensor]) -> bool:
    if key.startswith("head.classifiers."):
        return key in own and own[key].shape == value.shape
    return key in own or "_rf." in key


def _may_be_new(key: str) -> bool:
    return ".calibration." in key or ".pool_norm." in key or key.startswith("head.")


def _fitted(key: str, value: Tensor, own: Tensor) -> Tensor:
    """The tensor in our shape: up to dimensions of one, and 2-d kernels in the middle of 3-d ones."""
    if value.dim() == 4 and own.dim() == 5 and value.shape == own[:, :, 0].shape:
        inflated = torch.zeros_like(own)
        inflated[:, :, own.shape[2] // 2] = value.to(own.dtype)
        return inflated
    if [n for n in value.shape if n != 1] != [n for n in own.shape if n != 1]:
        raise InputError(f"{key} has shape {tuple(value.shape)} in the file, {tuple(own.shape)} is needed")
    return value.reshape(own.shape)
