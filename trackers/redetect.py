"""Searching for a lost target: at its last place first, then ever further away, at a bounded cost a frame.

A find is not believed at once. It is followed, by itself, for as long as the loss policy asks for, and dropped again
when the confidence does not last. The last place is looked at all the while and comes first; next comes where plain
tracking would have gone, for the target may have been there all along, only hard to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onlinetada.trackers.look import Look
from onlinetada.trackers.loss import LossPolicy
from onlinetada.trackers.models.network import Geometry
from onlinetada.trackers.options import RecoveryOptions
from onlinetada.trackers.pose import Pose, template_side


@dataclass(frozen=True)
class Find:
    """What may be the target.

    Attributes:
        pose: where it is now.
        near: whether it came up at the last place, or where plain tracking went from there.
        since_s: time of the frame on which it came up.
    """

    pose: Pose
    near: bool
    since_s: float


class Hunt:
    """The search for one lost target.

    Args:
        last: where it was trusted last.
        drift: where plain tracking is by now.
        options: of the search.
        loss: the policy that says which confidence is high and which is low.
        geometry: the network's.
        since_s: time of the frame on which the target was declared lost.

    Attributes:
        last: where it was trusted last.
        find: what is being followed to see whether it is the target, or None.
        drift: where plain tracking would be by now.
    """

    def __init__(
        self,
        last: Pose,
        drift: Pose,
        options: RecoveryOptions,
        loss: LossPolicy,
        geometry: Geometry,
        *,
        since_s: float,
    ) -> None:
        self.last, self.drift = last, Pose(drift.centre, last.size)
        self.find: Find | None = None
        self._options, self._loss, self._geometry = options, loss, geometry
        self._since_s = since_s
        self._sweep: list[tuple[float, Pose]] = []
        self._next = 0
        self._image_size = (0, 0)

    def growth(self, timestamp_s: float) -> float:
        """How much larger than usual the search region at the last place is."""
        return min(1 + self._options.growth_per_s * self._waited_s(timestamp_s), self._options.max_growth)

    def windows(self, image_size: tuple[int, int], timestamp_s: float) -> list[Pose]:
        """The further looks of this frame: the drift, then the find that is followed, or else some of the sweep.

        Args:
            image_size: w, h of the picture.
            timestamp_s: of the frame.
        """
        if self.find is not None:
            return [self.drift, self.find.pose]
        if image_size != self._image_size:
            self._image_size, self._next = image_size, 0
            self._sweep = sweep(self.last, image_size, self._geometry, self._options)
        reach = self._options.reach_per_s * self._waited_s(timestamp_s)
        within = [pose for distance, pose in self._sweep if distance <= reach]
        count = min(self._options.windows_per_frame - 1, len(within))
        chosen = [within[(self._next + i) % len(within)] for i in range(count)]
        self._next = (self._next + count) % max(1, len(within))
        return [self.drift, *chosen]

    def consider(self, local: Look, further: Sequence[Look], timestamp_s: float) -> float:
        """Take in the looks of one frame, that at the last place and those of `windows`.

        Returns:
            The confidence that counts: of the find once it may be believed, and otherwise no more than that of a box
            that is held.
        """
        followed, self.find = self.find, None
        drifted, others = further[0], further[1:]
        self.drift = Pose(drifted.found.centre, self.last.size)
        look = max(others, key=lambda seen: seen.confidence, default=drifted)
        if followed is not None and look.confidence >= self._loss.uncertain:
            self.find = Find(look.found, followed.near, followed.since_s)
        elif followed is None and others and look.confidence >= self._options.confirm:
            self.find = Find(look.found, False, timestamp_s)
        if self.find is None or not self.find.near:
            for near in (local, drifted):
                if near.confidence >= self._loss.leave_lost:
                    look, self.find = near, Find(near.found, True, timestamp_s)
                    break
        if self.find is None:
            return min(max(local.confidence, drifted.confidence, look.confidence), self._loss.enter_lost)
        followed_ms = (timestamp_s - self.find.since_s) * 1000
        if self.find.near or followed_ms >= self._options.confirm_ms:
            return look.confidence
        return min(look.confidence, self._loss.enter_lost)

    def _waited_s(self, timestamp_s: float) -> float:
        return max(0.0, timestamp_s - self._since_s)


def sweep(
    last: Pose, image_size: tuple[int, int], geometry: Geometry, options: RecoveryOptions
) -> list[tuple[float, Pose]]:
    """Expected places that together cover the image, nearest to the last one first, with their distances in sides.

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
    return sorted(places, key=lambda place: place[0])


def _cover(extent: int, side: float, spacing: float) -> list[float]:
    """Centres of windows of this side, at most ``spacing`` apart, that cover 0..extent."""
    if extent <= side:
        return [extent / 2]
    count = int(np.ceil((extent - side) / spacing)) + 1
    return [float(c) for c in np.linspace(side / 2, extent - side / 2, count)]
