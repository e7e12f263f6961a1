"""Causal 3-d convolution, and causal temporal stride: what makes R(2+1)D, R3D and the like run frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from onlinetada.errors import InputError
from onlinetada.layers.pooling import frame_buffers
from onlinetada.past import last, with_past
from onlinetada.streaming import FrameShape, TemporalModule


class OnlineConv3d(TemporalModule):
    """``torch.nn.Conv3d`` that looks back only: output t sees the inputs up to t, the first one repeated before it.

    The arguments are those of ``torch.nn.Conv3d``, except that ``stride`` and ``padding`` are of space alone: (H, W).
    The parameters have the same names and shapes, so weights load either way.

    With ``temporal_stride`` s, clips give the outputs of frames s - 1, 2s - 1, ... alone. A stream gives an output for
    every frame, computed as if its clip had ended there; layers after it must have ``phases`` s times as large.

    Shape:
        (B, C_in, T, H, W) -> (B, C_out, T // s, H', W')
    """

    causal = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        temporal_stride: int = 1,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        space = (stride, stride) if isinstance(stride, int) else tuple(stride)
        pad = (padding, padding) if isinstance(padding, int) else tuple(padding)
        if len(space) != 2 or len(pad) != 2:
            raise InputError(f"stride and padding are of space alone, (H, W); they are {stride} and {padding}")
        conv = nn.Conv3d(
            in_channels,
            out_channels,
            kernel_size,
            (1, *space),
            (0, *pad),
            dilation,
            groups,
            bias,
            device=device,
            dtype=dtype,
        )
        self.weight, self.bias = conv.weight, conv.bias
        self._options: tuple[Any, ...] = (conv.stride, conv.padding, conv.dilation, groups)
        self.kept = conv.dilation[0] * (conv.kernel_size[0] - 1)
        self.temporal_stride = temporal_stride

    def init_buffers(self, batch_size: int, *, frame_shape: FrameShape = None, **factory: Any) -> dict[str, Tensor]:
        """``past`` (B, C_in, dilation * (k - 1), H, W) and ``seen`` (B,)."""
        return frame_buffers(batch_size, self.kept, frame_shape, factory)

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The next T frames (B, C_in, T, H, W)."""
        frames = with_past(x, buffers["past"].to(x.dtype), buffers["seen"])
        y = nn.functional.conv3d(frames, self.weight, self.bias, *self._options)
        return y, {"past": last(frames, self.kept), "seen": buffers["seen"] + x.shape[2]}

    def clip(self, x: Tensor) -> Tensor:
        """Whole clips, with the temporal stride."""
        frames = strided_past(x, self.kept + 1, self.temporal_stride)
        (_, *space), padding, dilation, groups = self._options
        return nn.functional.conv3d(
            frames, self.weight, self.bias, (self.temporal_stride, *space), padding, dilation, groups
        )


class TemporalStride(TemporalModule):
    """Every s-th frame of a clip, the last of each s; in a stream every frame, for layers with ``phases`` s."""

    causal = True

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The frames as they are."""
        return x, {}

    def clip(self, x: Tensor) -> Tensor:
        """Frames s - 1, 2s - 1, ..."""
        return strided_past(x, 1, self.stride)[:, :, :: self.stride]


def strided_past(x: Tensor, window: int, stride: int) -> Tensor:
    """Frames such that windows of this size and stride, from their beginning on, end at frames s - 1, 2s - 1, ..."""
    if x.shape[2] < stride:
        raise InputError(f"a clip of {x.shape[2]} frames is shorter than the temporal stride of {stride}")
    missing = window - stride
    if missing <= 0:
        return x[:, :, -missing:]
    return torch.cat([x[:, :, :1].expand(-1, -1, missing, *x.shape[3:]), x], 2)
