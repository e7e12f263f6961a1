"""Single and multiple target tracking in live video."""

from onlinetada.trackers.result import Box, Image, Tracker, TrackResult

__all__ = ["Box", "Image", "TrackResult", "Tracker"]
