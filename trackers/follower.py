"""What follows several targets, for every model that there is."""

from __future__ import annotations

from pathlib import Path

from onlinetada.trackers.io.targets import Follower, SeparateTrackers
from onlinetada.trackers.models.tctrack import Quirks


def build_follower(
    model: str = "default",
    *,
    weights: str | Path | None = None,
    device: str | None = None,
    quirks: Quirks = "none",
    runtime: str = "auto",
    dtype: str = "float32",
) -> Follower:
    """A batched tracker for our own models; for "opencv-..." a tracker for each target.

    Args: as for ``build_tracker``.

    Raises:
        InputError: no such model or file, weights that do not fit.
    """
    if model.startswith("opencv-"):
        from onlinetada.trackers.opencv import build_opencv_tracker

        build_opencv_tracker(model, weights=weights)  # what is wrong with it is said before reading starts
        return SeparateTrackers(lambda: build_opencv_tracker(model, weights=weights))
    from onlinetada.trackers.build import build_multi_tracker

    return build_multi_tracker(model, weights=weights, device=device, quirks=quirks, runtime=runtime, dtype=dtype)
