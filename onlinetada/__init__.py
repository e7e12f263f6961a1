"""Temporally adaptive convolutions that run on clips and, with the same weights, frame by frame."""

from onlinetada._version import __version__
from onlinetada.errors import InputError
from onlinetada.state import StreamState

__all__ = ["InputError", "StreamState", "__version__"]
