"""Searching for a lost target: near its last place first, then over the whole image, at a bounded cost a frame.

A find is not believed at once. It is followed, by itself, for as long as the loss policy asks for, and dropped again
when the confidence does not last.
"""

from __future__ import annotations

import numpy as np

from onlinetada.trackers.models.network import Geometry
from onlinetada.trackers.options import RecoveryOptions
from onlinetada.trackers.pose import Pose, template_side


class Hunt:
    """The search for one lost target.

    Attributes:
        last: where it was seen last.
        find: what is being followed to see whether it is the target, or None.
    """

    def __init__(self, last: Pose, options: RecoveryOptions, geometry: Geometry, *, since_s: float) -> None:
        """Begin at ``since_s``, the time of the frame on which the target was declared lost."""
        self.last = last
        self.find: Pose | None = None
        self._options = options
        self._geometry = geometry
        self._since_s = since_s
        self._sweep: list[Pose] = []
        self._next = 0
        self._image_size = (0, 0)

    def aim(self, timestamp_s: float) -> tuple[Pose, float]:
        """Where the first look of this frame goes, and how much larger than usual it is."""
        if self.find is not None:
            return self.find, 1.0
        waited_s = max(0.0, timestamp_s - self._since_s)
        return self.last, min(1 + self._options.growth_per_s * waited_s, self._options.max_growth)

    def windows(self, image_size: tuple[int, int]) -> list[Pose]:
        """The further looks of this frame: the next few of a sweep that starts where the target was seen last.

        Args:
            image_size: w, h of the picture.
        """
        if self.find is not None or self._options.windows_per_frame == 0:
            return []
        if image_size != self._image_size:
            self._image_size, self._next = image_size, 0
            self._sweep = sweep(self.last, image_size, self._geometry, self._options)
        count = min(self._options.windows_per_frame, len(self._sweep))
        chosen = [self._sweep[(self._next + i) % len(self._sweep)] for i in range(count)]
        self._next = (self._next + count) % len(self._sweep)
        return chosen


def sweep(last: Pose, image_size: tuple[int, int], geometry: Geometry, options: RecoveryOptions) -> list[Pose]:
    """Expected places that together cover the image, nearest to the last one first.

    Args:
        last: the target's last pose.
        image_size: w, h of the picture.
        geometry: the network's.
        options: overlap of the windows, and target sizes relative to the last.
    """
    places: list[tuple[float, Pose]] = []
    for scale in options.scales:
        size = last.size * scale
        side = template_side(size, geometry) * geometry.search_size / geometry.template_size
        axes = [_cover(extent, side, side * (1 - options.overlap)) for extent in image_size]
        for x in axes[0]:
            for y in axes[1]:
                centre = np.array([x, y])
                distance = float(np.abs(centre - last.centre).max()) / side
                places.append((distance, Pose(centre, size)))
    return [pose for _, pose in sorted(places, key=lambda place: place[0])]


def _cover(extent: int, side: float, spacing: float) -> list[float]:
    """Centres of windows of this side, at most ``spacing`` apart, that cover 0..extent."""
    if extent <= side:
        return [extent / 2]
    count = int(np.ceil((extent - side) / spacing)) + 1
    return [float(c) for c in np.linspace(side / 2, extent - side / 2, count)]
