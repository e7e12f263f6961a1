"""TAdaConv3d: a 3-d convolution whose kernel is calibrated for every output frame, for the plug-in in R3D."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onlinetada.calibrations import Calibration, CalibrationFactory, build_calibration
from onlinetada.functional import calibrated_conv2d
from onlinetada.layers.conv3d import strided_past
from onlinetada.layers.pooling import frame_buffers
from onlinetada.past import last, with_past
from onlinetada.streaming import FrameShape, TemporalModule, fold_frames


class TAdaConv3d(TemporalModule):
    """``torch.nn.Conv3d`` with W_t = alpha_t * W_b; alpha scales the input channels of the whole 3-d kernel.

    The frames under the temporal kernel are stacked as channels, so it is one calibrated 2-d convolution. With a causal
    calibration the kernel looks back only, as `OnlineConv3d` does, and the layer runs on streams; with another it is
    centred and pads with zeros, as ``nn.Conv3d(..., padding=k // 2)`` does. Weight (C_out, C_in, kt, kh, kw).

    Args:
        in_channels, out_channels: C_in, C_out.
        kernel_size: (kt, kh, kw), odd.
        stride: of space; ``temporal_stride`` of time.
        calibration: as `TAdaConv2d`.

    Shape:
        (B, C_in, T, H, W) -> (B, C_out, T', H', W')
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int, int],
        stride: int = 1,
        *,
        temporal_stride: int = 1,
        calibration: str | Calibration | CalibrationFactory = "route",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        conv = nn.Conv3d(in_channels, out_channels, kernel_size, bias=False, **factory)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.temporal_stride = conv.kernel_size, stride, temporal_stride
        self.weight = conv.weight
        self.calibration = build_calibration(calibration, in_channels, in_channels, **factory)

    @property
    def causal(self) -> bool:  # type: ignore[override]
        """Whether the layer can run on a stream."""
        return self.calibration.causal

    def init_buffers(self, batch_size: int, *, frame_shape: FrameShape = None, **factory: Any) -> dict[str, Tensor]:
        """Those of the calibration below ``calibration_``, and the frames under the kernel."""
        frames = frame_buffers(batch_size, self.kernel_size[0] - 1, frame_shape, factory)
        own = self.calibration.init_buffers(batch_size, **factory)
        return {**{f"calibration_{n}": b for n, b in own.items()}, **frames}

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The next T frames, stride 1 in time."""
        own = {n.removeprefix("calibration_"): b for n, b in buffers.items() if n.startswith("calibration_")}
        factors, new = self.calibration.advance(x, own)
        frames = with_past(x, buffers["past"].to(x.dtype), buffers["seen"])
        kept = self.kernel_size[0] - 1
        state = {**{f"calibration_{n}": b for n, b in new.items()}, "past": last(frames, kept)}
        return self._convolve(frames, factors.alpha, 1), {**state, "seen": buffers["seen"] + x.shape[2]}

    def clip(self, x: Tensor) -> Tensor:
        """Whole clips, with the temporal stride."""
        buffers = self.calibration.init_buffers(x.shape[0], device=x.device, dtype=self.weight.dtype)
        alpha, stride, kt = self.calibration.advance(x, buffers)[0].alpha, self.temporal_stride, self.kernel_size[0]
        if self.causal:
            return self._convolve(strided_past(x, kt, stride), alpha[:, :, stride - 1 :: stride], stride)
        padded = F.pad(x, (0, 0, 0, 0, kt // 2, kt // 2))
        return self._convolve(padded, alpha[:, :, ::stride], stride)

    def _convolve(self, frames: Tensor, alpha: Tensor, stride: int) -> Tensor:
        kt, kh, kw = self.kernel_size
        windows = frames.unfold(2, kt, stride)  # (B, C, T', H, W, kt)
        stacked = windows.permute(0, 2, 1, 5, 3, 4).flatten(2, 3).flatten(0, 1)
        alpha = torch.repeat_interleave(alpha.transpose(1, 2).flatten(0, 1), kt, 1).to(frames.dtype)
        full = F.pad(alpha, (0, stacked.shape[1] - alpha.shape[1]), value=1.0)
        padding = (kh // 2, kw // 2)
        y = calibrated_conv2d(stacked, self.weight.flatten(1, 2), full, None, self.stride, padding)
        return fold_frames(y, windows.shape[2])

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        sizes = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        return f"{sizes}, stride={(self.temporal_stride, self.stride, self.stride)}"
