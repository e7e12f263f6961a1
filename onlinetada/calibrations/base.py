"""What every calibration shares: factors that start at one and stay there until they are trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onlinetada.errors import InputError

Buffers = dict[str, Tensor]


class Factors(NamedTuple):
    """What a calibration makes of a clip.

    Attributes:
        alpha: (B, A, T) factors of the kernel; A may be less than the layer needs, the rest is then 1.
        bias: (B, 1 or C_out, T) factors of the bias, or None where the bias is not calibrated.
    """

    alpha: Tensor
    bias: Tensor | None


class Calibration(nn.Module):
    """How the factors of a calibrated layer are made from its input.

    Subclasses take ``(channels, num_factors, *, ...)`` and define `advance`.

    Attributes:
        causal: whether frame t's factors depend on frames up to t alone, so that the layer can run live.
        num_factors: A, the factors a frame that it makes (a share of those that the layer has).
    """

    causal: bool = False

    def __init__(self, channels: int, num_factors: int, *, share: float = 1.0) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise InputError(f"share must be above 0 and at most 1, it is {share}")
        self.channels = channels
        self.num_factors = max(1, round(num_factors * share))

    def init_buffers(self, batch_size: int, **factory: Any) -> Buffers:
        """Zeroed buffers of ``batch_size`` streams that have not begun; none for what keeps no state."""
        return {}

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Factors, Buffers]:
        """Factors of the next T frames x (B, C, T, H, W) and the buffers after them; writes nothing."""
        raise TypeError(f"{type(self).__name__} must define advance")


class FactorHead(nn.Module):
    """Temporal convolution that makes 1 + F(v), with F exactly zero until it is trained.

    It is no ``nn.Conv1d`` and keeps its parameters one-dimensional on purpose: initialisers that walk over a model
    by type, by class name or by ``dim() > 1`` leave it alone, so a converted network stays what it was.
    """

    def __init__(self, channels: int, num_factors: int, kernel: int, *, offset: bool, **factory: Any) -> None:
        super().__init__()
        self.shape = (num_factors, channels, kernel)
        self.taps = nn.Parameter(torch.zeros(num_factors * channels * kernel, **factory))
        self.offset = nn.Parameter(torch.zeros(num_factors, **factory)) if offset else None

    def reset_parameters(self) -> None:
        """Back to factors of exactly one."""
        nn.init.zeros_(self.taps)
        if self.offset is not None:
            nn.init.zeros_(self.offset)

    def forward(self, v: Tensor, padding: int = 0) -> Tensor:
        """(B, C, T) -> (B, A, T + 2 * padding - kernel + 1); taps run from the oldest frame to the newest."""
        num_factors, channels, kernel = self.shape
        windows = (F.pad(v, (padding, padding)) if padding else v).unfold(2, kernel, 1)  # (B, C, T', kernel)
        flat = windows.transpose(1, 2).reshape(v.shape[0], -1, channels * kernel)
        # A matrix product: a 1-d convolution of so few frames costs several times as much.
        return 1 + F.linear(flat, self.taps.view(num_factors, -1), self.offset).transpose(1, 2)

    def extra_repr(self) -> str:
        """Shape, for printing."""
        return "num_factors={}, channels={}, kernel={}".format(*self.shape)


def describe(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Frame descriptors: (B, C, T, H, W) -> (B, C, T), the mean over space."""
    return x.mean((-2, -1)).to(dtype)
