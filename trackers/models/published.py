"""Names and shapes of the published TCTrack and TCTrack++ checkpoints, to and from those of our modules.

Only the calibrated convolutions differ: the published ones keep two leading dimensions of one, a temporal convolution
for the kernel's factors and another (``fc``) for the bias's, which here are rows of one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from onlinetada.layers import OnlineTAdaConv2d

# published module in front of "weight" and "bias" -> ours, of the attention form
_ATTENTION = {
    "init.": "calibration.prior.",
    "attentionintegrate.query_conv.": "calibration.query.",
    "attentionintegrate.key_conv.": "calibration.key.",
    "attentionintegrate.value_conv.": "calibration.value.",
}
_HEAD = "calibration.head."


def from_published(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under our names; what is not of a calibrated layer, or incomplete, stays as it is."""
    found = dict(tensors)
    for name, layer in _calibrated(network).items():
        dot = f"{name}."
        parts = [f"{dot}{part}.{kind}" for part in ("temporalconv", "fc") for kind in ("weight", "bias")]
        if any(part not in found for part in parts):
            continue
        weights = [found.pop(parts[0]), found.pop(parts[2])]
        offsets = [found.pop(parts[1]), found.pop(parts[3])]
        found[f"{dot}{_HEAD}taps"] = torch.cat([w.flatten() for w in weights])
        found[f"{dot}{_HEAD}offset"] = torch.cat(offsets)
        for kind, dims in (("weight", layer.weight.dim()), ("bias", 1)):
            tensor = found.get(dot + kind)
            if tensor is not None and tensor.dim() == dims + 2:
                found[dot + kind] = tensor[0, 0]
        for theirs, ours in _ATTENTION.items():
            for kind in ("weight", "bias"):
                if dot + theirs + kind in found:
                    found[dot + ours + kind] = found.pop(dot + theirs + kind)
    return found


def to_published(network: nn.Module) -> dict[str, Tensor]:
    """The network's tensors under the published names and in the published shapes."""
    found = network.state_dict()
    for name, layer in _calibrated(network).items():
        dot = f"{name}."
        factors, channels, window = layer.calibration.head.shape
        taps = found.pop(f"{dot}{_HEAD}taps").view(factors, channels, window, 1, 1)
        offset = found.pop(f"{dot}{_HEAD}offset")
        split = factors - 1  # the last row is the bias's
        found[f"{dot}temporalconv.weight"], found[f"{dot}fc.weight"] = taps[:split].clone(), taps[split:].clone()
        found[f"{dot}temporalconv.bias"], found[f"{dot}fc.bias"] = offset[:split].clone(), offset[split:].clone()
        found[f"{dot}weight"] = found[f"{dot}weight"][None, None]
        found[f"{dot}bias"] = found[f"{dot}bias"][None, None]
        for theirs, ours in _ATTENTION.items():
            for kind in ("weight", "bias"):
                if dot + ours + kind in found:
                    found[dot + theirs + kind] = found.pop(dot + ours + kind)
    return dict(found)


def _calibrated(network: nn.Module) -> dict[str, OnlineTAdaConv2d]:
    return {name: module for name, module in network.named_modules() if isinstance(module, OnlineTAdaConv2d)}
