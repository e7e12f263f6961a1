"""Layers with temporal context, for clips and for streams."""

from onlinetada.layers.conv3d import OnlineConv3d, TemporalStride
from onlinetada.layers.pooling import OnlineTemporalAvgPool, TemporalAggregation, TemporalAvgPool
from onlinetada.layers.tada import OnlineTAdaConv2d, TAdaConv2d
from onlinetada.layers.tada3d import TAdaConv3d

__all__ = [
    "OnlineConv3d",
    "OnlineTAdaConv2d",
    "OnlineTemporalAvgPool",
    "TAdaConv2d",
    "TAdaConv3d",
    "TemporalAggregation",
    "TemporalAvgPool",
    "TemporalStride",
]
