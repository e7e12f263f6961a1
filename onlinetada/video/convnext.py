"""TAdaConvNeXt (arXiv 2110.06178) and its V2 (arXiv 2308.05787): ConvNeXt over calibrated depthwise kernels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onlinetada.layers import OnlineTemporalAvgPool, TemporalAvgPool
from onlinetada.layers.pooling import by_frame
from onlinetada.video.blocks import DropPath, drop_rates
from onlinetada.video.heads import Head, NumClasses
from onlinetada.video.initialise import init_transformer
from onlinetada.video.network import VideoNetwork
from onlinetada.video.options import LayerPlace, TemporalOptions, spatial_conv, temporal_conv

_EPS = 1e-6


@dataclass(frozen=True)
class ConvNeXtOptions:
    """Shape of a ConvNeXt.

    Attributes:
        depths: blocks a stage.
        widths: channels of the stages.
        tokenizer: (frames of the kernel, temporal stride) of the stem; its space is 4x4, stride 4.
        layer_scale: initial scale of every block's branch.
        drop_path: stochastic depth of the last block; it grows linearly from 0.
        dropout: before the classifier.
        head_window: tokens whose mean the online form's predictions are of.
    """

    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    tokenizer: tuple[int, int] = (3, 2)
    layer_scale: float = 1e-6
    drop_path: float = 0.0
    dropout: float = 0.0
    head_window: int = 8


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class PooledNorm(nn.Module):
    """LN(y) + LN_2(pool(y)), channels last; LN_2 starts at zero (V2)."""

    def __init__(self, place: LayerPlace, channels: int) -> None:
        super().__init__()
        options = place.options
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        self.pool = (OnlineTemporalAvgPool if options.online else TemporalAvgPool)(options.pool_window)
        self.pool.phases = place.phases
        self.pool_norm = nn.LayerNorm(channels, eps=_EPS)
        nn.init.zeros_(self.pool_norm.weight)

    def forward(self, y: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, T, H, W, C)."""
        own: Tensor = self.norm(y.movedim(1, -1))
        return own + self.pool_norm(self.pool(y).movedim(1, -1))


class LastNorm(nn.Module):
    """LN(y), channels last."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=_EPS)

    def forward(self, y: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, T, H, W, C)."""
        out: Tensor = self.norm(y.movedim(1, -1))
        return out


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), as the second form has it."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x * torch.sigmoid(1.702 * x)


class ConvNeXtBlock(nn.Module):
    """Calibrated depthwise 7x7, norm with temporal aggregation, and an MLP over channels."""

    def __init__(self, place: LayerPlace, channels: int, shape: ConvNeXtOptions, drop_path: float) -> None:
        super().__init__()
        options = place.options
        self.tada = spatial_conv(place, channels, channels, 7, groups=channels, bias=True)
        pools = options.aggregation != "none" and place.stage in options.stages
        self.aggregate = PooledNorm(place, channels) if pools else LastNorm(channels)
        self.expand = nn.Linear(channels, 4 * channels)
        self.activation = QuickGELU() if options.version == 2 else nn.GELU()
        self.project = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), shape.layer_scale))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W), the same shape."""
        y = self.aggregate(by_frame(self.tada, x))
        y = self.scale * self.project(self.activation(self.expand(y)))
        return x + self.drop_path(y.movedim(-1, 1))


class TAdaConvNeXt(VideoNetwork):
    """ConvNeXt with a 3-d tokenizer and calibrated depthwise convolutions, first form or second.

    Online, the tokenizer looks back only, and every frame of a stream has a prediction: after the temporal stride s
    sequences of every s-th frame take turns, so that none waits for the next token.
    """

    def __init__(self, shape: ConvNeXtOptions, temporal: TemporalOptions, num_classes: NumClasses) -> None:
        super().__init__()
        self.online = temporal.online
        frames, stride = shape.tokenizer
        place = LayerPlace(temporal)
        self.tokenizer = temporal_conv(place, 3, shape.widths[0], (frames, 4, 4), (stride, 4), bias=True, pad=False)
        self.tokenizer_norm = ChannelNorm(shape.widths[0], eps=_EPS)
        rates = drop_rates(shape.drop_path, sum(shape.depths))
        self.stages = nn.ModuleList()
        for stage, (depth, width) in enumerate(zip(shape.depths, shape.widths, strict=True), 1):
            here = LayerPlace(temporal, stage, place.after(stride).phases)
            parts: list[nn.Module] = [] if stage == 1 else [Downsample(shape.widths[stage - 2], width)]
            parts += [ConvNeXtBlock(here, width, shape, rates.pop(0)) for _ in range(depth)]
            self.stages.append(nn.Sequential(*parts))
        self.head = Head(
            shape.widths[-1],
            num_classes,
            window=shape.head_window if temporal.online else None,
            phases=stride,
            norm=nn.LayerNorm(shape.widths[-1], eps=_EPS),
            dropout=shape.dropout,
        )
        init_transformer(self)

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, C, T / stride, H / 32, W / 32)."""
        x = self.tokenizer_norm(self.tokenizer(x))
        for stage in self.stages:
            x = stage(x)
        return x


class Downsample(nn.Module):
    """Norm, then a 2x2 convolution of stride 2."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(in_channels, eps=_EPS)
        self.conv = nn.Conv2d(in_channels, out_channels, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H / 2, W / 2)."""
        return by_frame(self.conv, self.norm(x))
