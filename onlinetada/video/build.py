"""Every network by its name."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from onlinetada.errors import InputError
from onlinetada.video.convnext import ConvNeXtOptions, TAdaConvNeXt
from onlinetada.video.heads import NumClasses
from onlinetada.video.network import VideoNetwork
from onlinetada.video.options import TemporalOptions, options_from
from onlinetada.video.r3d import R3D, R3DOptions
from onlinetada.video.resnet import ResNetOptions, TAda2D
from onlinetada.video.slowfast import SlowFast, SlowFastOptions
from onlinetada.video.tadaformer import TAdaFormer, TAdaFormerOptions

Build = Callable[[Any, TemporalOptions, NumClasses], VideoNetwork]


@dataclass(frozen=True)
class Recipe:
    """A named network.

    Attributes:
        make: from shape, temporal options and classes.
        shape: of the network, a frozen dataclass.
        temporal: what differs from the defaults of `TemporalOptions`.
        tada: whether it is calibrated unless asked otherwise.
    """

    make: Build
    shape: Any
    temporal: Mapping[str, Any]
    tada: bool = True


_BASIC = ResNetOptions(depths=(2, 2, 2, 2), widths=(64, 64, 128, 256, 512), bottleneck=False)
_PLAIN = {"source": "none", "aggregation": "none"}
_NEXT1 = {"aggregation": "none", "cal_dim": "cout"}
_NEXT2 = {"version": 2, "reduction": 2, "cal_dim": "cout"}
_NEXTS = {
    "t": ConvNeXtOptions(),
    "s": ConvNeXtOptions(depths=(3, 3, 27, 3)),
    "b": ConvNeXtOptions(depths=(3, 3, 27, 3), widths=(128, 256, 512, 1024)),
}
_PLUG_IN = {"aggregation": "none"}

NETWORKS: dict[str, Recipe] = {
    "tada2d_r18": Recipe(TAda2D, _BASIC, {}),
    "tada2d_r34": Recipe(TAda2D, dataclasses.replace(_BASIC, depths=(3, 4, 6, 3)), {}),
    "tada2d_r50": Recipe(TAda2D, ResNetOptions(), {}),
    "tsn_r18": Recipe(TAda2D, _BASIC, {}, tada=False),
    "tsn_r50": Recipe(TAda2D, ResNetOptions(), {}, tada=False),
    **{f"tadaconvnext_{size}": Recipe(TAdaConvNeXt, shape, _NEXT1) for size, shape in _NEXTS.items()},
    **{f"tadaconvnextv2_{size}": Recipe(TAdaConvNeXt, shape, _NEXT2) for size, shape in _NEXTS.items()},
    "tadaformer_b16": Recipe(TAdaFormer, TAdaFormerOptions(), _NEXT2),
    "r3d_18": Recipe(R3D, R3DOptions(factorised=False), _PLUG_IN, tada=False),
    "r2plus1d_18": Recipe(R3D, R3DOptions(), _PLUG_IN, tada=False),
    "slowfast_4x16": Recipe(SlowFast, SlowFastOptions(alpha=8), _PLUG_IN, tada=False),
    "slowfast_8x8": Recipe(SlowFast, SlowFastOptions(alpha=4), _PLUG_IN, tada=False),
}


def build(name: str, *, num_classes: NumClasses, tada: bool | None = None, **options: Any) -> VideoNetwork:
    """A video network by name, with random weights.

    Args:
        name: a key of ``NETWORKS``.
        num_classes: classes; (verbs, nouns) for two classifiers; 0 for the features of every frame.
        tada: whether convolutions are calibrated (and frames pooled, where the network does that); by default as the
            name says. ``tada=False`` of a TAda2D is the 2-d baseline.
        options: fields of `TemporalOptions` and of the network's shape (`ResNetOptions`, `ConvNeXtOptions`,
            `R3DOptions`, `SlowFastOptions`, `TAdaFormerOptions`), such as ``online=True`` or ``context="local"``.

    Returns:
        A network that takes (B, 3, T, H, W); online ones also run inside ``onlinetada.streaming``.

    Raises:
        InputError: an unknown name, option or value.
    """
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(NETWORKS)}"
        raise InputError(f"no video network {name!r}; {hint}")
    recipe = NETWORKS[name]
    shape_names = {f.name for f in dataclasses.fields(recipe.shape)}
    temporal_names = [f.name for f in dataclasses.fields(TemporalOptions)]
    shaped = {k: v for k, v in options.items() if k in shape_names and k not in temporal_names}
    rest = {k: v for k, v in options.items() if k not in shaped}
    unknown = next((k for k in rest if k not in temporal_names), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, [*temporal_names, *shape_names], 1)
        hint = f"did you mean {near[0]!r}?" if near else "see TemporalOptions and the network's own options"
        raise InputError(f"{name} has no option {unknown!r}; {hint}")
    shape = options_from(type(recipe.shape), {**dataclasses.asdict(recipe.shape), **shaped})
    off = _PLAIN if tada is False or (tada is None and not recipe.tada) else {}
    temporal = options_from(TemporalOptions, {**recipe.temporal, **off, **rest})
    return recipe.make(shape, temporal, num_classes)
