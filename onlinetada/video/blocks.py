"""What the residual networks are made of. Blocks take clips (B, C, T, H, W), and in a stream frames (B, C, H, W)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onlinetada.layers import TemporalAggregation
from onlinetada.layers.pooling import by_frame
from onlinetada.video.options import LayerPlace, spatial_conv, temporal_conv


class ConvNorm(nn.Module):
    """Convolution, batch norm, and ReLU if wanted."""

    def __init__(self, conv: nn.Module, channels: int, *, activation: bool = True) -> None:
        super().__init__()
        self.conv, self.norm, self.activation = conv, nn.BatchNorm2d(channels), activation

    def forward(self, x: Tensor) -> Tensor:
        """The same rank as the input."""
        y = by_frame(self.norm, by_frame(self.conv, x))
        return F.relu(y, inplace=True) if self.activation else y


class SharedAggregation(nn.Module):
    """relu(BN(y) + BN(pool(y))): the ablation in which both share a norm. Does not start as the plain network."""

    def __init__(self, separate: TemporalAggregation) -> None:
        super().__init__()
        self.norm, self.pool = separate.norm, separate.pool

    def forward(self, y: Tensor) -> Tensor:
        """(B, C, T, H, W) or frames; the same shape."""
        return F.relu(by_frame(self.norm, y) + by_frame(self.norm, self.pool(y)))


class NormReLU(nn.Module):
    """relu(BN(y)): no aggregation over time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, y: Tensor) -> Tensor:
        """(B, C, T, H, W) or frames; the same shape."""
        return F.relu(by_frame(self.norm, y), inplace=True)


def aggregation(place: LayerPlace, channels: int) -> nn.Module:
    """What follows a block's calibrated convolution: relu(BN_1(y) + BN_2(pool(y))), or an ablation of it."""
    options = place.options
    if options.aggregation == "none" or place.stage not in options.stages:
        return NormReLU(channels)
    made = TemporalAggregation(channels, options.pool_window, causal=options.online)
    made.pool.phases = place.phases
    return made if options.aggregation == "separate" else SharedAggregation(made)


class Bottleneck(nn.Module):
    """1x1, calibrated 3x3 with temporal aggregation, 1x1, and a shortcut (TAda2D, figure 2).

    Args:
        place: stage and options.
        in_channels, out_channels: the inner width is a quarter of the output.
        stride: of space, in the 3x3.
        reduce_frames: temporal kernel of the first convolution (SlowFast; 1 elsewhere).
        pools: whether temporal aggregation follows the 3x3, if the options have it.
    """

    def __init__(
        self,
        place: LayerPlace,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        reduce_frames: int = 1,
        pools: bool = True,
    ) -> None:
        super().__init__()
        width = out_channels // 4
        first = (
            nn.Conv2d(in_channels, width, 1, bias=False)
            if reduce_frames == 1
            else temporal_conv(place, in_channels, width, (reduce_frames, 1, 1))
        )
        self.reduce = ConvNorm(first, width)
        self.tada = spatial_conv(place, width, width, 3, stride)
        self.aggregate = aggregation(place, width) if pools else NormReLU(width)
        self.expand = ConvNorm(nn.Conv2d(width, out_channels, 1, bias=False), out_channels, activation=False)
        self.shortcut = shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H', W')."""
        y = self.aggregate(by_frame(self.tada, self.reduce(x)))
        return F.relu(self.expand(y) + self.shortcut(x), inplace=True)


class BasicBlock(nn.Module):
    """Calibrated 3x3 with temporal aggregation, 3x3, and a shortcut: the block of the small networks.

    The article has only bottlenecks; here the first 3x3, the one that is strided, is the calibrated one.
    """

    def __init__(self, place: LayerPlace, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.tada = spatial_conv(place, in_channels, out_channels, 3, stride)
        self.aggregate = aggregation(place, out_channels)
        second = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.expand = ConvNorm(second, out_channels, activation=False)
        self.shortcut = shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H', W')."""
        y = self.aggregate(by_frame(self.tada, x))
        return F.relu(self.expand(y) + self.shortcut(x), inplace=True)


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The input itself, or a strided 1x1 with norm where sizes change."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return ConvNorm(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), out_channels, activation=False)


class DropPath(nn.Module):
    """Leave out a residual branch for a share of the samples while training (stochastic depth)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """The same shape; kept samples are scaled up."""
        if not self.training or self.share == 0.0:
            return x
        keep = torch.rand(x.shape[0], *[1] * (x.dim() - 1), device=x.device) >= self.share
        return x * (keep / (1 - self.share)).to(x.dtype)


def drop_rates(last: float, count: int) -> list[float]:
    """Shares that grow linearly from 0 to ``last`` over so many blocks."""
    return [last * i / max(1, count - 1) for i in range(count)]
