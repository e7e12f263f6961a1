"""The article's route function over whole clips, and its ablations (TAdaConv, arXiv 2110.06178, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onlinetada.calibrations.base import Buffers, Calibration, FactorHead, Factors, describe
from onlinetada.errors import InputError

Context = Literal["both", "local", "global"]


class RouteFunction(Calibration):
    """alpha = 1 + Conv_2(relu(BN(Conv_1(v + FC(g))))), v the frame descriptors, g their mean over the clip.

    Not causal: g, and the zero-padded temporal convolutions, look at later frames.

    Args:
        channels: C of the layer's input.
        num_factors: factors a frame.
        reduction: the hidden width is channels // reduction.
        kernels: odd temporal kernel sizes of the two convolutions.
        context: descriptors that are used: each frame's own ("local"), the clip's ("global"), or their sum.
        linear: one temporal convolution alone, of the first kernel size, without hidden layer (ablation).
        share: share of the factors that are made; the others stay 1.
    """

    def __init__(
        self,
        channels: int,
        num_factors: int,
        *,
        reduction: int = 4,
        kernels: tuple[int, int] = (3, 3),
        context: Context = "both",
        linear: bool = False,
        share: float = 1.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(channels, num_factors, share=share)
        factory = {"device": device, "dtype": dtype}
        if context not in get_args(Context):
            raise InputError(f"context must be one of {', '.join(get_args(Context))}; it is {context!r}")
        if any(k % 2 == 0 for k in kernels):
            raise InputError(f"temporal kernels over clips must be odd, they are {tuple(kernels)}")
        self.context = context
        self.global_fc = nn.Conv1d(channels, channels, 1, **factory) if context == "both" else None
        hidden = channels if linear else max(1, channels // reduction)
        self.squeeze = None if linear else nn.Conv1d(channels, hidden, kernels[0], padding=kernels[0] // 2, **factory)
        self.norm = None if linear else nn.BatchNorm1d(hidden, **factory)
        self.head = FactorHead(hidden, self.num_factors, kernels[0] if linear else kernels[1], offset=linear, **factory)

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Factors, Buffers]:
        """Factors of a whole clip (B, C, T, H, W)."""
        v = describe(x, self.head.taps.dtype)
        clip_mean = v.mean(2, keepdim=True)
        if self.global_fc is not None:
            v = v + self.global_fc(clip_mean)
        elif self.context == "global":
            v = clip_mean.expand_as(v)
        if self.squeeze is not None and self.norm is not None:
            v = F.relu(self.norm(self.squeeze(v)))
        return Factors(self.head(v, padding=self.head.shape[2] // 2), None), {}


class LearnedFactors(Calibration):
    """Factors that are plain parameters (ablation), one set, or with ``num_frames`` one for every frame of a clip."""

    def __init__(
        self,
        channels: int,
        num_factors: int,
        *,
        num_frames: int | None = None,
        share: float = 1.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(channels, num_factors, share=share)
        self.num_frames = num_frames
        self.causal = num_frames is None
        self.deviation = nn.Parameter(torch.zeros(self.num_factors * (num_frames or 1), device=device, dtype=dtype))

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Factors, Buffers]:
        """The same factors for every clip."""
        _same_length(self.num_frames, x)
        alpha = 1 + self.deviation.view(1, self.num_factors, -1)
        return Factors(alpha.expand(x.shape[0], -1, x.shape[2]), None), {}


class GlobalFactors(Calibration):
    """Dynamic factors from the clip's descriptor alone (ablation), one set a clip or, with ``num_frames``, one a frame.

    alpha = 1 + FC_2(relu(FC_1(g)))
    """

    def __init__(
        self,
        channels: int,
        num_factors: int,
        *,
        reduction: int = 4,
        num_frames: int | None = None,
        share: float = 1.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(channels, num_factors, share=share)
        factory = {"device": device, "dtype": dtype}
        self.num_frames = num_frames
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Conv1d(channels, hidden, 1, **factory)
        self.head = FactorHead(hidden, self.num_factors * (num_frames or 1), 1, offset=True, **factory)

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Factors, Buffers]:
        """Factors of a whole clip (B, C, T, H, W)."""
        _same_length(self.num_frames, x)
        clip_mean = describe(x, self.head.taps.dtype).mean(2, keepdim=True)
        alpha = self.head(F.relu(self.squeeze(clip_mean))).view(x.shape[0], self.num_factors, -1)
        return Factors(alpha.expand(-1, -1, x.shape[2]), None), {}


def _same_length(num_frames: int | None, x: Tensor) -> None:
    if num_frames is not None and x.shape[2] != num_frames:
        raise InputError(f"this calibration has factors for {num_frames} frames, the clip has {x.shape[2]}")
