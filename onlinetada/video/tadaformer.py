"""TAdaFormer (arXiv 2308.05787): a vision transformer over frames with calibrated depthwise convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onlinetada.layers import TemporalAggregation
from onlinetada.layers.pooling import by_frame
from onlinetada.video.blocks import DropPath, drop_rates
from onlinetada.video.convnext import QuickGELU
from onlinetada.video.heads import Head, NumClasses
from onlinetada.video.initialise import init_transformer
from onlinetada.video.network import VideoNetwork
from onlinetada.video.options import LayerPlace, TemporalOptions, spatial_conv, temporal_conv


@dataclass(frozen=True)
class TAdaFormerOptions:
    """Shape of a TAdaFormer.

    Attributes:
        depth: blocks.
        width: channels of a token.
        heads: of the attention over space.
        patch: side of a token in pixels.
        tokenizer: (frames of the kernel, temporal stride) of the stem.
        grid: tokens a side that position embeddings are kept for; other sizes interpolate them.
        narrowing: the calibrated convolution has width // narrowing channels.
        enhanced: a temporal kernel of 3 before it.
        double: a second calibrated branch, before the MLP.
        drop_path, dropout: stochastic depth of the last block; before the classifier.
        head_window: tokens whose mean the online form's predictions are of.
    """

    depth: int = 12
    width: int = 768
    heads: int = 12
    patch: int = 16
    tokenizer: tuple[int, int] = (3, 2)
    grid: int = 14
    narrowing: int = 2
    enhanced: bool = False
    double: bool = False
    drop_path: float = 0.0
    dropout: float = 0.0
    head_window: int = 8


class TAdaBranch(nn.Module):
    """Narrow, calibrate a depthwise 3x3 with temporal aggregation, widen; the last starts at zero.

    Shape:
        patch tokens as maps, (B, C, T, h, w) or (B, C, h, w); the same shape.
    """

    def __init__(self, place: LayerPlace, shape: TAdaFormerOptions) -> None:
        super().__init__()
        middle, options = shape.width // shape.narrowing, place.options
        self.narrow = (
            temporal_conv(place, shape.width, middle, (3, 1, 1), bias=True)
            if shape.enhanced
            else nn.Conv2d(shape.width, middle, 1)
        )
        self.tada = spatial_conv(place, middle, middle, 3, groups=middle, bias=True)
        self.aggregate: nn.Module = nn.Identity()
        if options.aggregation != "none":
            made = TemporalAggregation(middle, options.pool_window, causal=options.online, activation=False)
            made.pool.phases = place.phases
            self.aggregate = made
        self.activation = QuickGELU()
        self.widen = nn.Conv2d(middle, shape.width, 1)

    def start_at_zero(self) -> None:
        """Let the branch begin as none."""
        nn.init.zeros_(self.widen.weight)
        if self.widen.bias is not None:
            nn.init.zeros_(self.widen.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        y = self.aggregate(by_frame(self.tada, by_frame(self.narrow, x)))
        return by_frame(self.widen, self.activation(y))


class SpaceAttention(nn.Module):
    """Self-attention among the tokens of each frame, (N, L, C)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class TAdaFormerBlock(nn.Module):
    """Calibrated branch on the patch tokens, attention over space, MLP; each added to its input."""

    def __init__(self, place: LayerPlace, shape: TAdaFormerOptions, drop_path: float) -> None:
        super().__init__()
        width = shape.width
        self.tada = TAdaBranch(place, shape)
        self.attention_norm, self.attention = nn.LayerNorm(width), SpaceAttention(width, shape.heads)
        self.second_tada = TAdaBranch(place, shape) if shape.double else None
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), QuickGELU(), nn.Linear(4 * width, width))
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, grid: tuple[int, int], num_frames: int | None) -> Tensor:
        """Tokens (N, 1 + h * w, C) of frames, the class token first; N = B, or B * T of clips of ``num_frames``."""
        tokens = tokens + self._branch(self.tada, tokens, grid, num_frames)
        tokens = tokens + self.drop_path(self.attention(self.attention_norm(tokens)))
        if self.second_tada is not None:
            tokens = tokens + self._branch(self.second_tada, tokens, grid, num_frames)
        return tokens + self.drop_path(self.mlp(self.mlp_norm(tokens)))

    def _branch(self, branch: nn.Module, tokens: Tensor, grid: tuple[int, int], num_frames: int | None) -> Tensor:
        """What a branch adds: of the patch tokens as maps; nothing to the class token."""
        patches = tokens[:, 1:].transpose(1, 2).unflatten(2, grid)
        if num_frames is not None:
            patches = patches.unflatten(0, (-1, num_frames)).transpose(1, 2)
        y = self.drop_path(branch(patches))
        flat = y.transpose(1, 2).flatten(0, 1) if num_frames is not None else y
        return F.pad(flat.flatten(2).transpose(1, 2), (0, 0, 1, 0))


class TAdaFormer(VideoNetwork):
    """Vision transformer over frames whose view of time is the tokenizer and the calibrated branches."""

    def __init__(self, shape: TAdaFormerOptions, temporal: TemporalOptions, num_classes: NumClasses) -> None:
        super().__init__()
        self.online = temporal.online
        frames, stride = shape.tokenizer
        place = LayerPlace(temporal)
        kernel = (frames, shape.patch, shape.patch)
        self.tokenizer = temporal_conv(place, 3, shape.width, kernel, (stride, shape.patch), pad=False)
        self.class_token = nn.Parameter(torch.zeros(shape.width))
        self.position = nn.Parameter(torch.zeros(1 + shape.grid**2, shape.width))
        self.first_norm = nn.LayerNorm(shape.width)
        rates = drop_rates(shape.drop_path, shape.depth)
        here = LayerPlace(temporal, 1, stride)
        self.blocks = nn.ModuleList(TAdaFormerBlock(here, shape, rate) for rate in rates)
        window = shape.head_window if temporal.online else None
        self.head = Head(
            shape.width,
            num_classes,
            window=window,
            phases=stride,
            norm=nn.LayerNorm(shape.width),
            dropout=shape.dropout,
        )
        init_transformer(self)
        for parameter in (self.class_token, self.position):
            nn.init.normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, TAdaBranch):
                module.start_at_zero()

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> the class tokens as (B, C, T / stride, 1, 1)."""
        maps = self.tokenizer(x)
        num_frames = maps.shape[2] if maps.dim() == 5 else None
        frames = maps.transpose(1, 2).flatten(0, 1) if num_frames is not None else maps
        grid = (frames.shape[2], frames.shape[3])
        first = self.class_token.expand(frames.shape[0], 1, -1)
        tokens = torch.cat([first, frames.flatten(2).transpose(1, 2)], 1)
        tokens = self.first_norm(tokens + self._positions(grid))
        for block in self.blocks:
            tokens = block(tokens, grid, num_frames)
        classes = tokens[:, 0, :, None, None]
        return classes if num_frames is None else classes.unflatten(0, (-1, num_frames)).transpose(1, 2)

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        side = round((self.position.shape[0] - 1) ** 0.5)
        if grid == (side, side):
            return self.position
        maps = self.position[1:].T.unflatten(1, (side, side))[None]
        resized = F.interpolate(maps, grid, mode="bicubic", align_corners=False)[0].flatten(1).T
        return torch.cat([self.position[:1], resized])
