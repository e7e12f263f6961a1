"""The backbone of TCTrack: an AlexNet whose last two convolutions are calibrated in time (arXiv 2203.01885, 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onlinetada.layers import OnlineTAdaConv2d
from onlinetada.streaming import fold_frames, unfold_frames

Buffers = dict[str, Tensor]


class TemporalAlexNet(nn.Module):
    """Features at stride 8, nothing padded: 127 pixels give 6 x 6, 287 give 26 x 26. Raw BGR 0..255 in.

    Args:
        calibration: of the two temporal convolutions, a name or a factory as ``OnlineTAdaConv2d`` takes.
    """

    channels = 256

    def __init__(self, calibration: Any = "online") -> None:
        super().__init__()
        self.block1 = nn.Sequential(
            nn.Conv2d(3, 96, 11, stride=2), nn.BatchNorm2d(96), nn.MaxPool2d(3, 2), nn.ReLU(inplace=True)
        )
        self.block2 = nn.Sequential(
            nn.Conv2d(96, 256, 5), nn.BatchNorm2d(256), nn.MaxPool2d(3, 2), nn.ReLU(inplace=True)
        )
        self.block3 = nn.Sequential(nn.Conv2d(256, 384, 3), nn.BatchNorm2d(384), nn.ReLU(inplace=True))
        self.temporalconv1 = OnlineTAdaConv2d(384, 384, 3, calibration=calibration)
        self.b_f1 = nn.Sequential(nn.BatchNorm2d(384), nn.ReLU(inplace=True))
        self.temporalconv2 = OnlineTAdaConv2d(384, self.channels, 3, calibration=calibration)
        self.b_f2 = nn.BatchNorm2d(self.channels)

    def init_buffers(self, batch_size: int, **factory: Any) -> Buffers:
        """Zeroed buffers of streams that have not begun."""
        return {
            f"{name}.{key}": buffer
            for name in ("temporalconv1", "temporalconv2")
            for key, buffer in getattr(self, name).init_buffers(batch_size, **factory).items()
        }

    def advance(self, clip: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Tensor, Buffers]:
        """Features of the next T frames, (B, 3, T, H, W) to (B, 256, T, H', W'), and the buffers after them."""
        frames = clip.shape[2]
        maps = self.block3(self.block2(self.block1(unfold_frames(clip))))
        x, new1 = self.temporalconv1.advance(fold_frames(maps, frames), _part(buffers, "temporalconv1."))
        maps = self.b_f1(unfold_frames(x))
        x, new2 = self.temporalconv2.advance(fold_frames(maps, frames), _part(buffers, "temporalconv2."))
        new = {f"temporalconv1.{k}": v for k, v in new1.items()} | {f"temporalconv2.{k}": v for k, v in new2.items()}
        return fold_frames(self.b_f2(unfold_frames(x)), frames), new


def _part(buffers: Mapping[str, Tensor], prefix: str) -> Buffers:
    return {name.removeprefix(prefix): b for name, b in buffers.items() if name.startswith(prefix)}


def depthwise_correlation(search: Tensor, template: Tensor) -> Tensor:
    """Valid cross-correlation of every channel with that of its stream's template, not normalised.

    Args:
        search: (B, C, T, H, W).
        template: (B, C, h, w).

    Returns:
        (B, C, T, H - h + 1, W - w + 1)
    """
    if torch.compiler.is_compiling():  # an exported convolution has a fixed number of groups, and rows are not fixed
        return _correlation_by_taps(search, template)
    batch_size, channels, frames = search.shape[:3]
    kernels = template.reshape(batch_size * channels, 1, *template.shape[2:])
    maps = search.permute(2, 0, 1, 3, 4).reshape(frames, batch_size * channels, *search.shape[3:])
    found = F.conv2d(maps, kernels, groups=batch_size * channels)
    return found.view(frames, batch_size, channels, *found.shape[2:]).permute(1, 2, 0, 3, 4)


def _correlation_by_taps(search: Tensor, template: Tensor) -> Tensor:
    """The same as a sum over the kernel's positions."""
    rows, columns = (n - k + 1 for n, k in zip(search.shape[-2:], template.shape[-2:], strict=True))
    total = search.new_zeros(())
    for y in range(template.shape[-2]):
        for x in range(template.shape[-1]):
            total = total + search[..., y : y + rows, x : x + columns] * template[:, :, None, y, x, None, None]
    return total
