"""Backbones in bfloat16: most of a network's arithmetic, none of its steep decoding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from onlinetada.errors import InputError
from onlinetada.trackers.options import DTYPES


def checked_dtype(dtype: str) -> str:
    """The same, if it is one of ``DTYPES``; otherwise an InputError."""
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}; it is {dtype!r}")
    return dtype


def backbone_in_bfloat16(network: Any) -> Any:
    """Let a network's backbone compute in bfloat16, float32 in and out. In place; inference only.

    Neck, head, transformer and decoding stay float32: they are a tenth of the arithmetic, and rounding there moves
    boxes by pixels.
    """
    backbone: nn.Module = network.backbone
    backbone.to(torch.bfloat16)
    backbone.register_forward_pre_hook(_rounded)
    backbone.register_forward_hook(_widened)
    return network


def backbone_dtype(network: Any) -> torch.dtype:
    """What the backbone computes in."""
    return next(iter(network.backbone.parameters())).dtype


def _rounded(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(a.to(torch.bfloat16) if isinstance(a, Tensor) and a.is_floating_point() else a for a in args)


def _widened(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
    return output.float()
