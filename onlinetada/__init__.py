"""Temporally adaptive convolutions that run on clips and, with the same weights, frame by frame."""

from onlinetada import calibrations, functional
from onlinetada._version import __version__
from onlinetada.convert import ConvertedLayer, convert, converted_layers, from_conv
from onlinetada.errors import InputError
from onlinetada.layers import (
    OnlineConv3d,
    OnlineTAdaConv2d,
    OnlineTemporalAvgPool,
    TAdaConv2d,
    TAdaConv3d,
    TemporalAggregation,
    TemporalAvgPool,
    TemporalStride,
)
from onlinetada.published import load_published, published_state_dict
from onlinetada.state import StreamState
from onlinetada.streaming import TemporalModule, clips, init_state, step, streaming

__all__ = [
    "ConvertedLayer",
    "InputError",
    "OnlineConv3d",
    "OnlineTAdaConv2d",
    "OnlineTemporalAvgPool",
    "StreamState",
    "TAdaConv2d",
    "TAdaConv3d",
    "TemporalAggregation",
    "TemporalAvgPool",
    "TemporalModule",
    "TemporalStride",
    "__version__",
    "calibrations",
    "clips",
    "convert",
    "converted_layers",
    "from_conv",
    "functional",
    "init_state",
    "load_published",
    "published_state_dict",
    "step",
    "streaming",
]
