"""The attention calibration of TCTrack++ (TPAMI 2023, arXiv 2308.10330): a prior that every frame updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onlinetada.calibrations.base import Buffers, Calibration, FactorHead, Factors
from onlinetada.past import seen_counter


class AttentionCalibration(Calibration):
    """Factors from a prior-knowledge map p that attends to each frame.

    The frame is max-pooled to grid x grid; p_t = attention(query of p_{t-1}, key and value of the pooled frame), and
    alpha_t = 1 + FC(mean over space of p_t). A stream's p_0 is a convolution of its first pooled frame. State: p.

    Args:
        channels: C of the layer's input.
        num_factors: factors a frame.
        grid: side of the pooled map.
        reduction: queries and keys have channels // reduction channels.
        calibrate_bias: whether the bias is scaled too, by one factor a frame.
        share: share of the factors that are made; the others stay 1.
    """

    causal = True

    def __init__(
        self,
        channels: int,
        num_factors: int,
        *,
        grid: int = 5,
        reduction: int = 16,
        calibrate_bias: bool = True,
        share: float = 1.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(channels, num_factors, share=share)
        factory = {"device": device, "dtype": dtype}
        self.grid = grid
        width = max(1, channels // reduction)
        self.prior = nn.Conv2d(channels, channels, 3, padding=1, **factory)
        self.query = nn.Conv2d(channels, width, 3, padding=1, **factory)
        self.key = nn.Conv2d(channels, width, 3, padding=1, **factory)
        self.value = nn.Conv2d(channels, channels, 3, padding=1, **factory)
        self.head = FactorHead(channels, self.num_factors + int(calibrate_bias), 1, offset=True, **factory)

    def init_buffers(self, batch_size: int, **factory: Any) -> Buffers:
        """``prior`` (B, C, grid, grid) and ``seen`` (B,)."""
        prior = torch.zeros(batch_size, self.channels, self.grid, self.grid, **factory)
        return {"prior": prior, "seen": seen_counter(batch_size, factory)}

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Factors, Buffers]:
        """Factors of the next T frames (B, C, T, H, W); the recurrence is over tiny maps."""
        dtype = buffers["prior"].dtype
        batch, _, frames = x.shape[:3]
        pooled = _max_pool_to(x.transpose(1, 2).flatten(0, 1), self.grid).to(dtype)
        key = self.key(pooled).view(batch, frames, -1, self.grid**2)
        value = self.value(pooled).view(batch, frames, -1, self.grid**2)
        first = self.prior(pooled.view(batch, frames, *pooled.shape[1:])[:, 0]).to(dtype)
        prior = torch.where((buffers["seen"] > 0).view(-1, 1, 1, 1), buffers["prior"], first)
        means = []
        for t in range(frames):
            query = self.query(prior).flatten(2)
            attention = (query.transpose(1, 2) @ key[:, t]).softmax(2)  # (B, queries, keys), logits not scaled
            prior = (value[:, t] @ attention.transpose(1, 2)).view_as(prior).to(dtype)
            means.append(prior.mean((2, 3)))
        factors = self.head(torch.stack(means, 2))
        bias = factors[:, self.num_factors :] if factors.shape[1] > self.num_factors else None
        new = {"prior": prior, "seen": buffers["seen"] + frames}
        return Factors(factors[:, : self.num_factors], bias), new


def _max_pool_to(x: Tensor, grid: int) -> Tensor:
    """Adaptive max pooling to grid x grid; in traced graphs by slices, since ONNX has no such operator."""
    if not torch.compiler.is_compiling():
        return F.adaptive_max_pool2d(x, grid)
    for dim in (2, 3):
        size = x.shape[dim]
        spans = [(i * size // grid, -(-(i + 1) * size // grid)) for i in range(grid)]
        x = torch.stack([x.narrow(dim, start, stop - start).amax(dim) for start, stop in spans], dim)
    return x
