"""What is temporal in a network, as one frozen value: every row of the article's ablations is one of these."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from torch import nn

from onlinetada.calibrations import CALIBRATIONS, CalibrationFactory
from onlinetada.errors import InputError
from onlinetada.functional import CalDim
from onlinetada.layers import OnlineConv3d, OnlineTAdaConv2d, TAdaConv2d, TAdaConv3d

Source = Literal["none", "learned", "dynamic", "adaptive"]
Context = Literal["both", "local", "global"]
Aggregation = Literal["separate", "shared", "none"]
CausalMean = Literal["running_mean", "exponential_mean", "window", "none"]

T = TypeVar("T")


@dataclass(frozen=True)
class TemporalOptions:
    """How a network looks at time.

    Attributes:
        source: of the calibration: none (plain convolutions), learned parameters, dynamic (from the clip's descriptor
            alone), or adaptive (the article's, from the frames' descriptors).
        varying: whether factors differ from frame to frame; learned and dynamic ones then need ``num_frames``.
        context: descriptors that an adaptive calibration sees: each frame's neighbourhood (local), the clip's mean
            (global), or both.
        linear: one temporal convolution in place of two with a non-linearity between them.
        cal_dim: what is scaled: input channels, output channels or kernel positions.
        share: share of the channels that is calibrated.
        reduction: of the calibration's hidden width.
        kernels: temporal kernel sizes of the calibration.
        stages: stages (from 1) whose convolutions are calibrated.
        version: 1, or 2 with self-attention over time in the calibration and a calibrated bias.
        aggregation: of temporal pooling: with a norm of its own, with a shared one, or no pooling.
        pool_window: frames that are pooled.
        num_frames: of a clip, where factors are bound to places in it.
        online: causal forms throughout, which run on streams.
        causal_mean: the clip's mean in the online form.
    """

    source: Source = "adaptive"
    varying: bool = True
    context: Context = "both"
    linear: bool = False
    cal_dim: CalDim = "cin"
    share: float = 1.0
    reduction: int = 4
    kernels: tuple[int, int] = (3, 3)
    stages: tuple[int, ...] = (1, 2, 3, 4)
    version: int = 1
    aggregation: Aggregation = "separate"
    pool_window: int = 3
    num_frames: int | None = None
    online: bool = False
    causal_mean: CausalMean = "running_mean"

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            if get_args(kind) and isinstance(get_args(kind)[0], str) and getattr(self, name) not in get_args(kind):
                raise InputError(f"{name} must be one of {', '.join(get_args(kind))}; it is {getattr(self, name)!r}")
        if self.version not in (1, 2):
            raise InputError(f"version must be 1 or 2, it is {self.version}")
        if self.varying and self.source in ("learned", "dynamic") and self.num_frames is None:
            raise InputError(f"{self.source} factors that vary need num_frames: they are bound to places in the clip")
        if self.online and (self.source == "dynamic" or (self.source == "learned" and self.varying)):
            raise InputError(f"{self.source} factors of whole clips have no online form; use source='adaptive'")
        if self.online and self.source == "adaptive" and self.context == "global":
            raise InputError("the global context alone has no online form; use context='both' or 'local'")

    def calibrates(self, stage: int) -> bool:
        """Whether a stage's convolutions are calibrated."""
        return self.source != "none" and stage in self.stages

    def calibration(self) -> CalibrationFactory:
        """Factory of the calibrations of this network."""
        name, options = self._calibration()
        return partial(CALIBRATIONS[name], share=self.share, **options)

    def _calibration(self) -> tuple[str, dict[str, Any]]:
        frames = {"num_frames": self.num_frames if self.varying else None}
        if self.source == "learned":
            return "learned", frames
        if self.source == "dynamic":
            return "global", {"reduction": self.reduction, **frames}
        shape: dict[str, Any] = {"reduction": self.reduction, "kernels": self.kernels}
        if self.version == 2:
            return "causal_route_v2" if self.online else "route_v2", shape
        if not self.online:
            return "route", {**shape, "context": self.context, "linear": self.linear}
        if self.linear:
            return "online", {"window": self.kernels[0], "calibrate_bias": False}
        context = self.causal_mean if self.context == "both" else "none"
        return "causal_route", {**shape, "context": context}


@dataclass(frozen=True)
class LayerPlace:
    """Where in a network a layer is: what the factories below need to know besides sizes.

    Attributes:
        options: of the network.
        stage: from 1; 0 is the stem.
        phases: product of the temporal strides before the layer.
    """

    options: TemporalOptions
    stage: int = 0
    phases: int = 1

    def after(self, stride: int) -> LayerPlace:
        """The place behind a temporal stride."""
        return dataclasses.replace(self, phases=self.phases * stride)


def spatial_conv(
    place: LayerPlace,
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    *,
    groups: int = 1,
    bias: bool = False,
) -> nn.Module:
    """A 2-d convolution, calibrated where the options say so."""
    arguments: dict[str, Any] = {"stride": stride, "padding": kernel // 2, "groups": groups, "bias": bias}
    options = place.options
    if not options.calibrates(place.stage):
        return nn.Conv2d(in_channels, out_channels, kernel, **arguments)
    factory = options.calibration()
    if options.version == 2 and bias and options.share == 1.0:
        factory = partial(factory, calibrate_bias=True)
    made = (OnlineTAdaConv2d if options.online else TAdaConv2d)(
        in_channels, out_channels, kernel, **arguments, cal_dim=options.cal_dim, calibration=factory
    )
    made.phases = place.phases
    return made


def temporal_conv(
    place: LayerPlace,
    in_channels: int,
    out_channels: int,
    kernel: tuple[int, int, int],
    stride: tuple[int, int] = (1, 1),
    *,
    bias: bool = False,
    pad: bool = True,
    calibrated: bool = False,
) -> nn.Module:
    """A 3-d convolution of odd temporal kernel, centred or causal, calibrated if asked for and the options say so.

    Args:
        kernel: (kt, kh, kw).
        stride: of time and of space.
        pad: whether space is padded by half the kernel.
    """
    padding = (kernel[1] // 2, kernel[2] // 2) if pad else (0, 0)
    options = place.options
    made: nn.Module
    if calibrated and options.calibrates(place.stage):
        if options.cal_dim != "cin":
            raise InputError("a 3-d kernel is calibrated along cin alone")
        made = TAdaConv3d(
            in_channels,
            out_channels,
            kernel,
            stride[1],
            temporal_stride=stride[0],
            calibration=options.calibration(),
        )
    elif options.online:
        made = OnlineConv3d(in_channels, out_channels, kernel, stride[1], padding, bias=bias, temporal_stride=stride[0])
    else:
        steps = (stride[0], stride[1], stride[1])
        return nn.Conv3d(in_channels, out_channels, kernel, steps, (kernel[0] // 2, *padding), bias=bias)
    made.phases = place.phases
    return made


def options_from(kind: type[T], given: Mapping[str, Any]) -> T:
    """An options dataclass from keywords; lists become tuples."""
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
