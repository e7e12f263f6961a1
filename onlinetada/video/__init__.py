"""The article's video networks, for clips and, in their online forms, for live frames."""

from onlinetada.video.ablations import ABLATIONS
from onlinetada.video.build import NETWORKS, build
from onlinetada.video.heads import action_probabilities, action_top
from onlinetada.video.network import VideoNetwork
from onlinetada.video.options import TemporalOptions
from onlinetada.video.weights import Loaded, load_weights

__all__ = [
    "ABLATIONS",
    "NETWORKS",
    "Loaded",
    "TemporalOptions",
    "VideoNetwork",
    "action_probabilities",
    "action_top",
    "build",
    "load_weights",
]
