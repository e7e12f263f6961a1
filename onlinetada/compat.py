"""The names and shapes of the published TAdaConv file, so that code written for it runs after changing the import.

    from onlinetada.compat import RouteFuncMLP, TAdaConv2d
    self.conv_rf = RouteFuncMLP(c_in=64, ratio=4, kernels=[3, 3])
    self.conv = TAdaConv2d(64, 64, kernel_size=[1, 3, 3], padding=[0, 1, 1])
    y = self.conv(x, self.conv_rf(x))                      # x (B, C, T, H, W)

State dicts have the published names and shapes. New code should use `onlinetada.TAdaConv2d`, which is one module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onlinetada.errors import InputError
from onlinetada.functional import CalDim, calibrated_conv2d

IntOrInts = int | Sequence[int]


class RouteFuncMLP(nn.Module):
    """The route function: (B, C, T, H, W) -> (B, C, T, 1, 1), all ones until it is trained.

    Args:
        c_in: C.
        ratio: the hidden width is c_in // ratio.
        kernels: temporal kernel sizes of the two convolutions.
        bn_eps, bn_mmt: of the normalisation between them.
    """

    def __init__(
        self, c_in: int, ratio: int, kernels: Sequence[int], bn_eps: float = 1e-5, bn_mmt: float = 0.1
    ) -> None:
        super().__init__()
        self.c_in = c_in
        hidden = int(c_in // ratio)
        self.g = nn.Conv3d(c_in, c_in, 1)
        self.a = nn.Conv3d(c_in, hidden, (kernels[0], 1, 1), padding=(kernels[0] // 2, 0, 0))
        self.bn = nn.BatchNorm3d(hidden, eps=bn_eps, momentum=bn_mmt)
        self.b = nn.Conv3d(hidden, c_in, (kernels[1], 1, 1), padding=(kernels[1] // 2, 0, 0), bias=False)
        self.b.skip_init = True  # type: ignore[assignment]  # initialisers written for the published file look for it
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Factors of a clip."""
        v = x.mean((3, 4), keepdim=True)
        hidden = F.relu(self.bn(self.a(v + self.g(v.mean(2, keepdim=True)))))
        out: Tensor = self.b(hidden) + 1
        return out


class TAdaConv2d(nn.Module):
    """The published layer: weight (1, 1, C_out, C_in / groups, k, k), called with the input and its factors.

    Args: as published; sizes are ints of space, or three numbers whose temporal one changes nothing.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts,
        stride: IntOrInts = 1,
        padding: IntOrInts = 0,
        dilation: IntOrInts = 1,
        groups: int = 1,
        bias: bool = True,
        cal_dim: CalDim = "cin",
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.groups, self.cal_dim = in_channels, out_channels, groups, cal_dim
        self.kernel_size = _space("kernel_size", kernel_size, 1)
        self.stride = _space("stride", stride, 1)
        self.padding = _space("padding", padding, 0)
        self.dilation = _space("dilation", dilation, 1)
        self.weight = nn.Parameter(torch.empty(1, 1, out_channels, in_channels // groups, *self.kernel_size[1:]))
        self.bias = nn.Parameter(torch.empty(1, 1, out_channels)) if bias else None
        nn.init.kaiming_uniform_(self.weight[0, 0], a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0, 0, 0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        """x (B, C_in, T, H, W) and alpha (B, C, T, 1, 1) -> (B, C_out, T, H', W')."""
        batch, _, frames = x.shape[:3]
        y = calibrated_conv2d(
            x.transpose(1, 2).flatten(0, 1),
            self.weight[0, 0],
            alpha.expand(batch, -1, frames, 1, 1).transpose(1, 2).flatten(0, 1).flatten(1),
            None if self.bias is None else self.bias[0, 0],
            self.stride[1:],
            self.padding[1:],
            self.dilation[1:],
            self.groups,
            cal_dim=self.cal_dim,
        )
        return y.view(batch, frames, *y.shape[1:]).transpose(1, 2)

    def extra_repr(self) -> str:
        """As published."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, bias={self.bias is not None}, cal_dim={self.cal_dim!r}"
        )


def _space(name: str, value: IntOrInts, temporal: int) -> tuple[int, int, int]:
    if isinstance(value, int):
        return (temporal, value, value)
    t, h, w = value
    if t != temporal:
        raise InputError(f"{name} must be {temporal} in time, it is {tuple(value)}")
    return (t, h, w)
