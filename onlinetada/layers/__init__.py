"""Layers with temporal context, for clips and for streams."""

from onlinetada.layers.conv3d import OnlineConv3d
from onlinetada.layers.pooling import OnlineTemporalAvgPool, TemporalAggregation, TemporalAvgPool
from onlinetada.layers.tada import OnlineTAdaConv2d, TAdaConv2d

__all__ = [
    "OnlineConv3d",
    "OnlineTAdaConv2d",
    "OnlineTemporalAvgPool",
    "TAdaConv2d",
    "TemporalAggregation",
    "TemporalAvgPool",
]
