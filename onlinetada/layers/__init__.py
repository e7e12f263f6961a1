"""Layers with temporal context, for clips and for streams."""

from onlinetada.layers.tada import OnlineTAdaConv2d, TAdaConv2d

__all__ = ["OnlineTAdaConv2d", "TAdaConv2d"]
