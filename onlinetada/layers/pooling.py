"""Temporal average pooling and TAda2D's aggregation of it (arXiv 2110.06178, section 3.3), offline and causal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onlinetada.errors import InputError
from onlinetada.past import last, seen_counter, with_past
from onlinetada.streaming import FrameShape, TemporalModule, fold_frames, unfold_frames


class TemporalAvgPool(TemporalModule):
    """Mean over a centred window of frames, stride 1; frames outside the clip count as zero (as published)."""

    def __init__(self, window: int = 3) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise InputError(f"a centred window must be odd, it is {window}")
        self.window = window

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, C, T, H, W) -> the same shape."""
        total = x.clone()  # in the memory order of x, which a pooling operator would lose
        for lag in range(1, min(self.window // 2, x.shape[2] - 1) + 1):
            total[:, :, lag:] += x[:, :, :-lag]
            total[:, :, :-lag] += x[:, :, lag:]
        return total / self.window, {}


class OnlineTemporalAvgPool(TemporalModule):
    """Mean over the last ``window`` frames; before a stream began its first frame is repeated."""

    causal = True

    def __init__(self, window: int = 3) -> None:
        super().__init__()
        if window < 1:
            raise InputError(f"window must be at least 1, it is {window}")
        self.window = window

    def init_buffers(self, batch_size: int, *, frame_shape: FrameShape = None, **factory: Any) -> dict[str, Tensor]:
        """``past`` (B, C, window - 1, H, W) and ``seen`` (B,)."""
        return frame_buffers(batch_size, self.window - 1, frame_shape, factory)

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, C, T, H, W) -> the same shape."""
        frames = with_past(x, buffers["past"].to(x.dtype), buffers["seen"])
        total = frames[:, :, : x.shape[2]]
        for lag in range(1, self.window):
            total = total + frames[:, :, lag : lag + x.shape[2]]
        return total / self.window, {"past": last(frames, self.window - 1), "seen": buffers["seen"] + x.shape[2]}


class TemporalAggregation(nn.Module):
    """relu(BN_1(y) + BN_2(pool(y))) with two norms of their own; BN_2 starts at zero, so pooling starts unused.

    Args:
        channels: C.
        window: frames that are pooled.
        causal: pool the past alone, so that the network runs live.
        activation: whether the ReLU is applied.
    """

    def __init__(
        self,
        channels: int,
        window: int = 3,
        *,
        causal: bool = False,
        activation: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, device=device, dtype=dtype)
        self.pool = OnlineTemporalAvgPool(window) if causal else TemporalAvgPool(window)
        self.pool_norm = nn.BatchNorm2d(channels, device=device, dtype=dtype)
        self.activation = activation
        nn.init.zeros_(self.pool_norm.weight)

    def forward(self, y: Tensor) -> Tensor:
        """(B, C, T, H, W) or frames (N, C, H, W); the same shape."""
        out = by_frame(self.norm, y) + by_frame(self.pool_norm, self.pool(y))
        return F.relu(out) if self.activation else out


def by_frame(layer: nn.Module, x: Tensor) -> Tensor:
    """Run an image layer on every frame of (B, C, T, H, W), or on frames (N, C, H, W); temporal layers see the clip."""
    if x.dim() == 4 or isinstance(layer, TemporalModule | nn.Conv3d):
        out: Tensor = layer(x)
        return out
    return fold_frames(layer(unfold_frames(x)), x.shape[2])


def frame_buffers(batch_size: int, kept: int, frame_shape: FrameShape, factory: Mapping[str, Any]) -> dict[str, Tensor]:
    """Whole frames of the past; nothing while their shape is unknown."""
    if frame_shape is None:
        return {}
    channels, height, width = frame_shape
    past = torch.zeros(batch_size, channels, kept, height, width, **factory)
    return {"past": past, "seen": seen_counter(batch_size, factory)}
