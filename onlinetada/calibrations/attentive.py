"""The second route function: self-attention over time (TAdaConvV2, arXiv 2308.05787), over clips and causal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onlinetada.calibrations.base import Buffers, Calibration, FactorHead, Factors, describe
from onlinetada.errors import InputError
from onlinetada.past import last, seen_counter, with_past

_USUAL_HEAD = 48


class AttentiveRouteFunction(Calibration):
    """alpha = 1 + Conv_2(h + attention(LN(h))), h = QuickGELU(LN(Conv_1(v))), v the frame descriptors.

    One self-attention over time on the reduced descriptors takes the place of the clip's mean. Not causal.

    Args:
        channels: C of the layer's input.
        num_factors: factors a frame.
        reduction: the hidden width is channels // reduction.
        kernels: odd temporal kernel sizes of the two convolutions.
        head_dim: channels of an attention head; 48 where that divides the hidden width, else one head.
        calibrate_bias: whether the bias gets factors too, one an output channel; needs num_factors == C_out.
        share: share of the factors that are made; the others stay 1.
    """

    def __init__(
        self,
        channels: int,
        num_factors: int,
        *,
        reduction: int = 2,
        kernels: tuple[int, int] = (3, 3),
        head_dim: int | None = None,
        calibrate_bias: bool = False,
        share: float = 1.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(channels, num_factors, share=share)
        factory = {"device": device, "dtype": dtype}
        hidden = max(1, channels // reduction)
        self.head_dim = head_dim or (_USUAL_HEAD if hidden % _USUAL_HEAD == 0 else hidden)
        if hidden % self.head_dim:
            raise InputError(f"head_dim {self.head_dim} does not divide the hidden width {hidden}")
        if calibrate_bias and share != 1.0:
            raise InputError("calibrate_bias makes a factor for every channel: it needs share 1")
        self.kernels = kernels
        self.squeeze = nn.Conv1d(channels, hidden, kernels[0], **factory)
        self.norm = nn.LayerNorm(hidden, eps=1e-6, **factory)
        self.norm_attention = nn.LayerNorm(hidden, eps=1e-6, **factory)
        self.qkv = nn.Linear(hidden, 3 * hidden, **factory)
        self.attention_out = nn.Linear(hidden, hidden, **factory)
        self.head = FactorHead(hidden, self.num_factors, kernels[1], offset=False, **factory)
        self.bias_head = (
            FactorHead(hidden, num_factors, kernels[1], offset=False, **factory) if calibrate_bias else None
        )

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Factors, Buffers]:
        """Factors of a whole clip (B, C, T, H, W)."""
        v = describe(x, self.head.taps.dtype)
        half = self.kernels[0] // 2
        h = self._hidden(F.pad(v, (half, half)))
        query, key, value = self._project(h)
        h = h + self._attend(query, key, value, None)
        return self._factors(h, self.kernels[1] // 2), {}

    def _hidden(self, v: Tensor) -> Tensor:
        """Descriptors (B, C, T) with their padding -> (B, T', C / r)."""
        h = self.norm(self.squeeze(v).transpose(1, 2))
        return h * torch.sigmoid(1.702 * h)

    def _project(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, each (B, heads, T, head_dim); the published order of channels: head_dim, heads."""
        qkv = self.qkv(self.norm_attention(h)).unflatten(2, (3, self.head_dim, -1))  # (B, T, 3, d, heads)
        query, key, value = qkv.permute(2, 0, 4, 1, 3)
        return query, key, value

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        scale = self.squeeze.out_channels**-0.5  # of the whole width, as published
        logits = (query @ key.transpose(2, 3)) * scale
        if mask is not None:
            logits = logits.masked_fill(~mask, float("-inf"))
        mixed = logits.softmax(3) @ value
        return self.attention_out(mixed.transpose(1, 2).flatten(2))

    def _factors(self, h: Tensor, padding: int) -> Factors:
        h = h.transpose(1, 2)
        bias = None if self.bias_head is None else self.bias_head(h, padding=padding)
        return Factors(self.head(h, padding=padding), bias)


class CausalAttentiveRouteFunction(AttentiveRouteFunction):
    """`AttentiveRouteFunction` that looks back only: the attention is over the last ``window`` frames.

    Missing past is the first value repeated, in the convolutions and in the attention.

    Args: as `AttentiveRouteFunction`, and
        window: frames that attention sees, the present one included.
    """

    causal = True

    def __init__(self, channels: int, num_factors: int, *, window: int = 8, **options: Any) -> None:
        super().__init__(channels, num_factors, **options)
        if window < 1:
            raise InputError(f"window must be at least 1, it is {window}")
        self.window = window

    def init_buffers(self, batch_size: int, **factory: Any) -> Buffers:
        """``past``, ``past_hidden`` of the convolutions, ``past_keys`` (B, 2 C / r, window - 1), ``seen`` (B,)."""
        hidden = self.squeeze.out_channels
        return {
            "past": torch.zeros(batch_size, self.channels, self.kernels[0] - 1, **factory),
            "past_hidden": torch.zeros(batch_size, hidden, self.kernels[1] - 1, **factory),
            "past_keys": torch.zeros(batch_size, 2 * hidden, self.window - 1, **factory),
            "seen": seen_counter(batch_size, factory),
        }

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Factors, Buffers]:
        """Factors of the next T frames (B, C, T, H, W)."""
        seen, frames = buffers["seen"], x.shape[2]
        v = with_past(describe(x, buffers["past"].dtype), buffers["past"], seen)
        h = self._hidden(v)
        query, key, value = self._project(h)
        flat = torch.cat([key, value], 1).permute(0, 1, 3, 2).flatten(1, 2).to(v.dtype)  # (B, 2 C / r, T)
        flat = with_past(flat, buffers["past_keys"], seen)
        key, value = flat.unflatten(1, (2, -1, self.head_dim)).transpose(3, 4).unbind(1)
        h = h + self._attend(query, key, value, self._window_mask(frames, x.device))
        hidden = with_past(h.transpose(1, 2).to(v.dtype), buffers["past_hidden"], seen)
        new = {
            "past": last(v, self.kernels[0] - 1),
            "past_hidden": last(hidden, self.kernels[1] - 1),
            "past_keys": last(flat, self.window - 1),
            "seen": seen + frames,
        }
        return self._factors(hidden.transpose(1, 2), 0), new

    def _window_mask(self, frames: int, device: torch.device) -> Tensor:
        """(T, window - 1 + T): frame t sees positions t to t + window - 1."""
        lag = torch.arange(self.window - 1 + frames, device=device) - torch.arange(frames, device=device)[:, None]
        return (lag >= 0) & (lag < self.window)
