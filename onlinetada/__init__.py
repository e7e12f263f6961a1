"""Temporally adaptive convolutions that run on clips and, with the same weights, frame by frame."""

from onlinetada import calibrations, functional
from onlinetada._version import __version__
from onlinetada.errors import InputError
from onlinetada.layers import OnlineTAdaConv2d, TAdaConv2d
from onlinetada.state import StreamState
from onlinetada.streaming import TemporalModule, clips, init_state, step, streaming

__all__ = [
    "InputError",
    "OnlineTAdaConv2d",
    "StreamState",
    "TAdaConv2d",
    "TemporalModule",
    "__version__",
    "calibrations",
    "clips",
    "functional",
    "init_state",
    "step",
    "streaming",
]
