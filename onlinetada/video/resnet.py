"""TAda2D and its 2-d baseline: residual networks whose only view of time is calibration and pooling (ICLR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from onlinetada.layers.pooling import by_frame
from onlinetada.video.blocks import BasicBlock, Bottleneck, ConvNorm
from onlinetada.video.heads import Head, NumClasses
from onlinetada.video.initialise import init_convnet
from onlinetada.video.network import VideoNetwork
from onlinetada.video.options import LayerPlace, TemporalOptions


@dataclass(frozen=True)
class ResNetOptions:
    """Shape of a ResNet.

    Attributes:
        depths: blocks a stage.
        widths: channels of the stem and of the four stages' outputs.
        bottleneck: blocks of three convolutions, else of two.
        stem_pool: max pooling after the stem and a first stage without stride, as ImageNet networks have; without it
            the first stage is strided, as in the published TAda2D.
        dropout: before the classifier.
        head_window: frames whose mean the online form's predictions are of.
    """

    depths: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (64, 256, 512, 1024, 2048)
    bottleneck: bool = True
    stem_pool: bool = False
    dropout: float = 0.0
    head_window: int = 8


class TAda2D(VideoNetwork):
    """ResNet over frames with calibrated 3x3 convolutions and temporal aggregation.

    With source "none" and aggregation "none" it is the 2-d baseline, which sees every frame alone (TSN).
    """

    def __init__(self, shape: ResNetOptions, temporal: TemporalOptions, num_classes: NumClasses) -> None:
        super().__init__()
        self.online = temporal.online
        self.stem = ConvNorm(nn.Conv2d(3, shape.widths[0], 7, 2, 3, bias=False), shape.widths[0])
        self.stem_pool = nn.MaxPool2d(3, 2, 1) if shape.stem_pool else nn.Identity()
        block: Any = Bottleneck if shape.bottleneck else BasicBlock
        self.stages = nn.ModuleList()
        for stage, depth in enumerate(shape.depths, 1):
            place = LayerPlace(temporal, stage)
            width = shape.widths[stage]
            stride = 1 if stage == 1 and shape.stem_pool else 2
            first = block(place, shape.widths[stage - 1], width, stride)
            self.stages.append(nn.Sequential(first, *(block(place, width, width, 1) for _ in range(depth - 1))))
        window = shape.head_window if temporal.online else None
        self.head = Head(shape.widths[-1], num_classes, window=window, dropout=shape.dropout)
        init_convnet(self)

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, C, T, H / 32, W / 32)."""
        x = by_frame(self.stem_pool, self.stem(x))
        for stage in self.stages:
            x = stage(x)
        return x
