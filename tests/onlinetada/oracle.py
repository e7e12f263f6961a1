"""The plain form of calibrated convolution, with one kernel a sample: what the fast forms must equal."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CONVS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def sample_kernel(weight: Tensor, alpha: Tensor, groups: int, cal_dim: str) -> Tensor:
    ones = [1] * (weight.dim() - 2)
    if cal_dim == "kernel":
        return weight * alpha[None, None]
    if cal_dim == "cout":
        return weight * alpha.view(-1, 1, *ones)
    per_group = alpha.view(groups, -1)
    rows = weight.shape[0] // groups
    return torch.cat([weight[g * rows : (g + 1) * rows] * per_group[g].view(1, -1, *ones) for g in range(groups)])


def calibrated_conv(x, weight, alpha, bias=None, stride=1, padding=0, dilation=1, groups=1, *, cal_dim="cin"):
    out = []
    for n in range(x.shape[0]):
        b = bias if bias is None or bias.dim() == 1 else bias[n].expand(weight.shape[0])
        kernel = sample_kernel(weight, alpha[n], groups, cal_dim)
        out.append(CONVS[x.dim() - 2](x[n : n + 1], kernel, b, stride, padding, dilation, groups))
    return torch.cat(out)
