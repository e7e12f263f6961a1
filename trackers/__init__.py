"""Single and multiple target tracking in live video."""

from onlinetada.trackers.build import build_multi_tracker, build_tracker
from onlinetada.trackers.multi import MultiTracker
from onlinetada.trackers.result import Box, Image, Tracker, TrackResult

__all__ = ["Box", "Image", "MultiTracker", "TrackResult", "Tracker", "build_multi_tracker", "build_tracker"]
