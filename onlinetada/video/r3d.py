"""R3D and R(2+1)D of 18 layers (Tran et al., CVPR 2018), plain or with the plug-in. Names are torchvision's."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from onlinetada.layers.pooling import by_frame
from onlinetada.video.heads import Head, NumClasses
from onlinetada.video.initialise import init_convnet
from onlinetada.video.network import VideoNetwork
from onlinetada.video.options import LayerPlace, TemporalOptions, spatial_conv, temporal_conv


@dataclass(frozen=True)
class R3DOptions:
    """Shape of an R3D or R(2+1)D.

    Attributes:
        factorised: 1 x 3 x 3 and 3 x 1 x 1 convolutions, (2+1)-d, in place of 3 x 3 x 3.
        depths: blocks a stage.
        widths: channels of the stages; the stem has the first.
        temporal_strides: of the stages.
        dropout: before the classifier.
        head_window: frames whose mean the online form's predictions are of.
    """

    factorised: bool = True
    depths: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    temporal_strides: tuple[int, ...] = (1, 2, 2, 2)
    dropout: float = 0.0
    head_window: int = 8


class FrameSequence(nn.Sequential):
    """Layers in a row, of which image layers see frames and temporal ones clips."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) or frames; the same rank."""
        for layer in self:
            x = layer(x) if isinstance(layer, nn.Sequential) else by_frame(layer, x)
        return x


class R3DBlock(nn.Module):
    """Two convolutions of space and time with a shortcut. Calibrated are the 1 x 3 x 3, or the whole 3 x 3 x 3."""

    def __init__(
        self, place: LayerPlace, shape: R3DOptions, channels: tuple[int, int], stride: tuple[int, int]
    ) -> None:
        super().__init__()
        inside, outside = channels
        middle = inside * outside * 27 // (inside * 9 + 3 * outside)  # as many parameters as 3 x 3 x 3 has
        conv1 = _conv(place, shape, (inside, middle, outside), stride)
        conv2 = _conv(place.after(stride[0]), shape, (outside, middle, outside), (1, 1))
        self.conv1 = FrameSequence(conv1, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))
        self.conv2 = FrameSequence(conv2, nn.BatchNorm2d(outside))
        self.downsample: nn.Module | None = None
        if inside != outside or stride != (1, 1):
            pointwise = temporal_conv(place, inside, outside, (1, 1, 1), stride)
            self.downsample = FrameSequence(pointwise, nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T', H', W')."""
        y = self.conv2(self.conv1(x))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class R3D(VideoNetwork):
    """Residual network of 3-d or (2+1)-d convolutions."""

    def __init__(self, shape: R3DOptions, temporal: TemporalOptions, num_classes: NumClasses) -> None:
        super().__init__()
        self.online = temporal.online
        place = LayerPlace(temporal)
        self.stem = _stem(place, shape)
        inside = shape.widths[0]
        self.stages = nn.ModuleList()
        for stage, (depth, width) in enumerate(zip(shape.depths, shape.widths, strict=True), 1):
            blocks: list[nn.Module] = []
            for number in range(depth):
                stride = (shape.temporal_strides[stage - 1], 1 if stage == 1 else 2) if number == 0 else (1, 1)
                here = LayerPlace(temporal, stage, place.phases)
                blocks.append(R3DBlock(here, shape, (inside, width), stride))
                inside, place = width, place.after(stride[0])
            self.stages.append(nn.Sequential(*blocks))
        window = shape.head_window if temporal.online else None
        self.head = Head(inside, num_classes, window=window, phases=place.phases, dropout=shape.dropout)
        init_convnet(self)

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, C, T / 8, H / 16, W / 16)."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x


def _conv(place: LayerPlace, shape: R3DOptions, channels: tuple[int, int, int], stride: tuple[int, int]) -> nn.Module:
    inside, middle, outside = channels
    if not shape.factorised:
        return temporal_conv(place, inside, outside, (3, 3, 3), stride, calibrated=True)
    space = spatial_conv(place, inside, middle, 3, stride[1])
    time = temporal_conv(place, middle, outside, (3, 1, 1), (stride[0], 1))
    return FrameSequence(space, nn.BatchNorm2d(middle), nn.ReLU(inplace=True), time)


def _stem(place: LayerPlace, shape: R3DOptions) -> nn.Module:
    width = shape.widths[0]
    if not shape.factorised:
        conv = temporal_conv(place, 3, width, (3, 7, 7), (1, 2))
        return FrameSequence(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    middle = 45 * width // 64
    space = spatial_conv(place, 3, middle, 7, 2)
    first = (space, nn.BatchNorm2d(middle), nn.ReLU(inplace=True))
    time = temporal_conv(place, middle, width, (3, 1, 1))
    return FrameSequence(*first, time, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
