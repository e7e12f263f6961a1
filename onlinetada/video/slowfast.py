"""SlowFast of ResNet-50s (Feichtenhofer et al., ICCV 2019), plain or with the plug-in in its 1 x 3 x 3 convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onlinetada.errors import InputError
from onlinetada.layers import OnlineTemporalAvgPool, TemporalStride
from onlinetada.layers.pooling import by_frame
from onlinetada.video.blocks import Bottleneck, ConvNorm
from onlinetada.video.heads import Head, NumClasses
from onlinetada.video.initialise import init_convnet
from onlinetada.video.network import VideoNetwork
from onlinetada.video.options import LayerPlace, TemporalOptions, temporal_conv


@dataclass(frozen=True)
class SlowFastOptions:
    """Shape of a SlowFast.

    Attributes:
        alpha: every so many frames are one of the slow pathway (8 in 4x16, 4 in 8x8; both take 32 frames).
        beta: the fast pathway is so many times narrower.
        depths: blocks a stage.
        widths: channels of the stem and the stages, slow pathway.
        fusion_frames: temporal kernel of the connections from fast to slow.
        dropout: before the classifier.
        head_window: frames of the slow pathway whose mean the online form's predictions are of.
    """

    alpha: int = 8
    beta: int = 8
    depths: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (64, 256, 512, 1024, 2048)
    fusion_frames: int = 5
    dropout: float = 0.0
    head_window: int = 4


class Pathway(nn.Module):
    """Stem and stages of one pathway.

    Args:
        place: with the phases of the pathway.
        widths: of the stem and of the stages' outputs.
        extra: channels that join before every stage.
        stem_frames: temporal kernel of the stem.
        temporal_stages: stages whose first convolutions look at three frames.
    """

    def __init__(
        self,
        place: LayerPlace,
        depths: tuple[int, ...],
        widths: tuple[int, ...],
        extra: tuple[int, ...],
        stem_frames: int,
        temporal_stages: tuple[int, ...],
    ) -> None:
        super().__init__()
        stem = (
            nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
            if stem_frames == 1
            else temporal_conv(place, 3, widths[0], (stem_frames, 7, 7), (1, 2))
        )
        self.stem, self.pool = ConvNorm(stem, widths[0]), nn.MaxPool2d(3, 2, 1)
        self.stages = nn.ModuleList()
        for stage, depth in enumerate(depths, 1):
            here = LayerPlace(place.options, stage, place.phases)
            frames = 3 if stage in temporal_stages else 1
            blocks: list[nn.Module] = []
            for number in range(depth):
                inside = widths[stage] if number else widths[stage - 1] + extra[stage - 1]
                stride = 2 if stage > 1 and number == 0 else 1
                blocks.append(Bottleneck(here, inside, widths[stage], stride, reduce_frames=frames, pools=False))
            self.stages.append(nn.Sequential(*blocks))

    def begin(self, x: Tensor) -> Tensor:
        """Stem and max pooling."""
        return by_frame(self.pool, self.stem(x))


class SlowFast(VideoNetwork):
    """Few frames in a wide network, many in a narrow one, joined after every stage."""

    def __init__(self, shape: SlowFastOptions, temporal: TemporalOptions, num_classes: NumClasses) -> None:
        super().__init__()
        self.online = temporal.online
        self.alpha = shape.alpha
        place = LayerPlace(temporal)
        narrow = tuple(width // shape.beta for width in shape.widths)
        extra = tuple(2 * width for width in narrow[:-1])
        count = len(shape.depths)
        self.subsample = TemporalStride(shape.alpha)
        self.fast_mean = OnlineTemporalAvgPool(shape.alpha)
        self.fast_subsample = TemporalStride(shape.alpha)
        self.slow = Pathway(
            place.after(shape.alpha), shape.depths, shape.widths, extra, 1, tuple(range(count // 2 + 1, count + 1))
        )
        none = (0,) * count
        self.fast = Pathway(place, shape.depths, narrow, none, 5, tuple(range(1, count + 1)))
        kernel = (shape.fusion_frames, 1, 1)
        self.fusions = nn.ModuleList(
            ConvNorm(temporal_conv(place, width, 2 * width, kernel, (shape.alpha, 1)), 2 * width)
            for width in narrow[:-1]
        )
        window = shape.head_window if temporal.online else None
        channels = shape.widths[-1] + narrow[-1]
        self.head = Head(channels, num_classes, window=window, phases=shape.alpha, dropout=shape.dropout)
        init_convnet(self)

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, C, T / alpha, 1, 1): means over space, the fast pathway's also over alpha frames."""
        if not self.online and x.shape[2] % self.alpha:
            raise InputError(f"the clip has {x.shape[2]} frames; SlowFast needs a multiple of {self.alpha}")
        slow = self.slow.begin(self.subsample(x) if self.online else x[:, :, :: self.alpha])
        fast = self.fast.begin(x)
        stages = zip(self.slow.stages, self.fast.stages, self.fusions, strict=True)
        for slow_stage, fast_stage, fusion in stages:
            slow, fast = slow_stage(torch.cat([slow, fusion(fast)], 1)), fast_stage(fast)
        if self.online:
            fast = self.fast_subsample(self.fast_mean(fast.mean((-2, -1), keepdim=True)))
        else:
            fast = fast.unflatten(2, (-1, self.alpha)).mean((3, 4, 5), keepdim=True).squeeze(3)
        return torch.cat([slow.mean((-2, -1), keepdim=True), fast], 1)
