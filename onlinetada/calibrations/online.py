"""Causal calibrations over a rolling buffer of descriptors (Online-TAdaConv: TCTrack, CVPR 2022, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onlinetada.calibrations.base import Buffers, Calibration, FactorHead, Factors, describe
from onlinetada.errors import InputError
from onlinetada.past import last, seen_counter, with_past

CausalContext = Literal["running_mean", "exponential_mean", "window", "none"]


class OnlineCalibration(Calibration):
    """alpha_t = 1 + Conv1D([v_{t-K+1}, ..., v_t]), and with ``calibrate_bias`` one more such factor for the bias.

    A stream's missing past is its first descriptor repeated. State: the last K - 1 descriptors.

    Args:
        channels: C of the layer's input.
        num_factors: factors a frame.
        window: K, the frames that are looked at, the present one included.
        calibrate_bias: whether the bias is scaled too, by one factor a frame.
        share: share of the factors that are made; the others stay 1.
    """

    causal = True

    def __init__(
        self,
        channels: int,
        num_factors: int,
        *,
        window: int = 3,
        calibrate_bias: bool = True,
        share: float = 1.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(channels, num_factors, share=share)
        if window < 1:
            raise InputError(f"window must be at least 1, it is {window}")
        self.window = window
        self.calibrate_bias = calibrate_bias
        factors = self.num_factors + int(calibrate_bias)
        self.head = FactorHead(channels, factors, window, offset=True, device=device, dtype=dtype)

    def init_buffers(self, batch_size: int, **factory: Any) -> Buffers:
        """``past`` (B, C, K - 1) descriptors, oldest first, and ``seen`` (B,)."""
        past = torch.zeros(batch_size, self.channels, self.window - 1, **factory)
        return {"past": past, "seen": seen_counter(batch_size, factory)}

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Factors, Buffers]:
        """Factors of the next T frames (B, C, T, H, W)."""
        v = describe(x, buffers["past"].dtype)
        v = with_past(v, buffers["past"], buffers["seen"])
        new = {"past": last(v, self.window - 1), "seen": buffers["seen"] + x.shape[2]}
        return _split(self.head(v), self.num_factors), new


class CausalRouteFunction(Calibration):
    """The two-layer route function made causal: both temporal convolutions look back, the context is of the past.

    alpha_t = 1 + Conv_2(relu(BN(Conv_1(v + FC(g_t))))), g_t a causal mean of the descriptors up to t.
    Missing past is the first value repeated, in both convolutions. BatchNorm mixes frames while training; in eval
    mode clip and stream agree.

    Args:
        channels: C of the layer's input.
        num_factors: factors a frame.
        reduction: the hidden width is channels // reduction.
        kernels: temporal kernel sizes of the two convolutions.
        context: g_t: mean of all frames so far, exponential mean, mean of the last ``context_window`` frames, or none.
        decay: weight of the newest frame in the exponential mean.
        context_window: frames in the window mean.
        calibrate_bias: whether the bias is scaled too, by one factor a frame.
        share: share of the factors that are made; the others stay 1.
    """

    causal = True

    def __init__(
        self,
        channels: int,
        num_factors: int,
        *,
        reduction: int = 4,
        kernels: tuple[int, int] = (3, 3),
        context: CausalContext = "running_mean",
        decay: float = 0.1,
        context_window: int = 16,
        calibrate_bias: bool = False,
        share: float = 1.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(channels, num_factors, share=share)
        factory = {"device": device, "dtype": dtype}
        if context not in get_args(CausalContext):
            raise InputError(f"context must be one of {', '.join(get_args(CausalContext))}; it is {context!r}")
        if not 0 < decay <= 1 or context_window < 1:
            raise InputError(f"decay must be in (0, 1] and context_window >= 1; they are {decay}, {context_window}")
        self.kernels, self.context, self.decay, self.context_window = kernels, context, decay, context_window
        hidden = max(1, channels // reduction)
        self.global_fc = None if context == "none" else nn.Conv1d(channels, channels, 1, **factory)
        self.squeeze = nn.Conv1d(channels, hidden, kernels[0], **factory)
        self.norm = nn.BatchNorm1d(hidden, **factory)
        factors = self.num_factors + int(calibrate_bias)
        self.head = FactorHead(hidden, factors, kernels[1], offset=False, **factory)

    def init_buffers(self, batch_size: int, **factory: Any) -> Buffers:
        """``past`` and ``past_hidden`` for the convolutions, ``context`` for the mean, ``seen`` (B,)."""
        kept = {"none": 0, "window": self.context_window - 1}.get(self.context, 1)
        return {
            "past": torch.zeros(batch_size, self.channels, self.kernels[0] - 1, **factory),
            "past_hidden": torch.zeros(batch_size, self.squeeze.out_channels, self.kernels[1] - 1, **factory),
            "context": torch.zeros(batch_size, self.channels, kept, **factory),
            "seen": seen_counter(batch_size, factory),
        }

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Factors, Buffers]:
        """Factors of the next T frames (B, C, T, H, W)."""
        seen = buffers["seen"]
        v = describe(x, buffers["past"].dtype)
        mean, context = self._causal_mean(v, buffers["context"], seen)
        if self.global_fc is not None:
            v = v + self.global_fc(mean).to(v.dtype)
        v = with_past(v, buffers["past"], seen)
        hidden = F.relu(self.norm(self.squeeze(v))).to(v.dtype)
        hidden = with_past(hidden, buffers["past_hidden"], seen)
        new = {
            "past": last(v, self.kernels[0] - 1),
            "past_hidden": last(hidden, self.kernels[1] - 1),
            "context": context,
            "seen": seen + x.shape[2],
        }
        return _split(self.head(hidden), self.num_factors), new

    def _causal_mean(self, v: Tensor, context: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """g_t for the T new frames (B, C, T), and what has to be kept of them."""
        if self.context == "none":
            return v, context
        if self.context == "window":
            frames = with_past(v, context, seen)
            return F.avg_pool1d(frames, self.context_window, 1), last(frames, self.context_window - 1)
        steps = torch.arange(1, v.shape[2] + 1, device=v.device)
        before = torch.where((seen > 0).view(-1, 1, 1), context, v[:, :, :1])
        if self.context == "running_mean":
            count = seen.view(-1, 1, 1) + steps
            mean = before + ((v - before).cumsum(2) / count).to(v.dtype)
        else:
            age = (steps[None] - steps[:, None]).to(v.dtype)  # how many frames ago s was, seen from t
            weights = torch.where(age >= 0, self.decay * (1 - self.decay) ** age.clamp(min=0), 0.0).to(v.dtype)
            mean = before * (1 - self.decay) ** steps.to(v.dtype) + v @ weights
        return mean, last(mean, 1)


def _split(factors: Tensor, num_factors: int) -> Factors:
    has_bias = factors.shape[1] > num_factors
    return Factors(factors[:, :num_factors], factors[:, num_factors:] if has_bias else None)
