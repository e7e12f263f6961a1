"""Batch norms folded into the convolutions before them, for inference."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Fold every BatchNorm2d that follows a Conv2d inside an ``nn.Sequential``. In place; evaluation mode only.

    The norm's place is taken by an identity, so indices stay; the network's state dict is no longer that of its file.
    """
    for sequence in [m for m in network.modules() if isinstance(m, nn.Sequential)]:
        for i in range(len(sequence) - 1):
            conv, norm = sequence[i], sequence[i + 1]
            if type(conv) is nn.Conv2d and isinstance(norm, nn.BatchNorm2d):
                sequence[i] = fuse_conv_bn_eval(conv, norm)
                sequence[i + 1] = nn.Identity()
    return network
