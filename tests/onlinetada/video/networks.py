"""Small forms of every network, and weights that make their temporal parts matter."""

from __future__ import annotations

import torch
from torch import nn

from onlinetada.calibrations import FactorHead
from onlinetada.video import build
from onlinetada.video.tadaformer import TAdaBranch

_RESNET = {"depths": (1, 1, 1, 1), "widths": (8, 16, 32, 32, 32)}
_NEXT = {"depths": (1, 1, 1, 1), "widths": (8, 16, 32, 64), "layer_scale": 1.0}
_R3D = {"widths": (8, 8, 16, 16), "depths": (1, 1, 1, 1)}
_SLOWFAST = {"widths": (8, 16, 32, 32, 64), "depths": (1, 1, 1, 1), "beta": 2}
_FORMER = {"depth": 2, "width": 32, "heads": 2, "grid": 2}

CALIBRATED = {
    "tada2d_r18": _RESNET,
    "tada2d_r50": _RESNET,
    "tadaconvnext_t": _NEXT,
    "tadaconvnextv2_t": _NEXT,
    "tadaformer_b16": _FORMER,
    "r3d_18": _R3D,
    "r2plus1d_18": _R3D,
    "slowfast_4x16": _SLOWFAST,
    "slowfast_8x8": _SLOWFAST,
}


def small(name, *, disturb=True, **options):
    """A network of this name in eval mode, shrunk; its calibrations and second norms are not at their beginning."""
    torch.manual_seed(0)
    network = build(name, **{"num_classes": 5, "tada": True, **CALIBRATED[name], **options}).eval()
    return disturbed(network) if disturb else network


def disturbed(network):
    for module in network.modules():
        if isinstance(module, FactorHead):
            nn.init.normal_(module.taps, std=0.2)
        if isinstance(module, TAdaBranch):
            nn.init.normal_(module.widen.weight, std=0.2)
        if hasattr(module, "pool_norm"):
            nn.init.normal_(module.pool_norm.weight, std=0.5)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network
