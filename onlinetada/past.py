"""The one rule for the past of a stream: what is missing at its beginning is the first frame repeated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def with_past(new: Tensor, past: Tensor, seen: Tensor) -> Tensor:
    """Put remembered frames before new ones.

    Args:
        new: (B, C, T, ...) new frames.
        past: (B, C, K, ...) remembered frames, oldest first.
        seen: (B,) frames that each stream has had; where it is 0, ``past`` is not looked at.

    Returns:
        (B, C, K + T, ...)
    """
    begun = (seen > 0).view(-1, *[1] * (new.dim() - 1))
    return torch.cat([torch.where(begun, past, new[:, :, :1]), new], 2)


def last(frames: Tensor, count: int) -> Tensor:
    """The newest ``count`` frames of (B, C, T, ...)."""
    return frames[:, :, frames.shape[2] - count :]


def seen_counter(batch_size: int, factory: Mapping[str, Any]) -> Tensor:
    """(B,) zeros: no stream has had a frame."""
    return torch.zeros(batch_size, dtype=torch.int64, device=factory.get("device"))
