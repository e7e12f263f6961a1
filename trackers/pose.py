"""Where a target is, and the squares of the picture that are cut out to look at it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onlinetada.trackers.crop import Region
from onlinetada.trackers.models.network import Geometry
from onlinetada.trackers.result import Box

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """Centre (2,) x, y and size (2,) w, h in pixels, float64."""

    centre: Floats
    size: Floats

    @property
    def box(self) -> Box:
        """x, y, w, h."""
        (cx, cy), (w, h) = self.centre.tolist(), self.size.tolist()
        return cx - w / 2, cy - h / 2, w, h


def first_pose(box: Box, geometry: Geometry) -> Pose:
    """The pose of the first frame's box; the published code centres crops half a pixel further up and left."""
    x, y, w, h = box
    inset = 1 if geometry.crop == "integer" else 0
    return Pose(np.array([x + (w - inset) / 2, y + (h - inset) / 2]), np.array([w, h]))


def template_side(size: Floats, geometry: Geometry) -> float:
    """Side of the square around a target of this size, context included, in pixels of the picture."""
    w, h = size.tolist()
    pad = geometry.context * (w + h)
    return float(np.sqrt((w + pad) * (h + pad)))


def template_region(pose: Pose, geometry: Geometry) -> Region:
    """What the first frame's template shows."""
    side = template_side(pose.size, geometry)
    if geometry.crop == "integer":
        side = max(1.0, float(np.round(side)))
    return Region(pose.centre, side, geometry.template_size / side)


def search_region(pose: Pose, geometry: Geometry, *, side: float | None = None, growth: float = 1.0) -> Region:
    """Where a target is looked for.

    Args:
        pose: where it is expected.
        geometry: the network's.
        side: the template's side to go by, instead of that of the pose's size.
        growth: how much larger the region is than usual; the target is then that much smaller in it.
    """
    side = (template_side(pose.size, geometry) if side is None else side) * growth
    region = side * geometry.search_size / geometry.template_size
    if geometry.crop == "integer":
        region = max(1.0, float(np.round(region)))
    return Region(pose.centre, region, geometry.template_size / side)


def moved(
    pose: Pose, region: Region, offset: Floats, size: Floats, rate: float, *, image_size: Floats, min_size_px: float
) -> Pose:
    """The pose after taking a candidate.

    Args:
        pose: before.
        region: that was looked at; the candidate is relative to its centre.
        offset: (2,) of the candidate, in pixels of the crop.
        size: (2,) of the candidate, in pixels of the crop.
        rate: how far the size goes towards the candidate's.
        image_size: (2,) w, h of the picture; the centre stays inside, the size below it.
        min_size_px: lower limit of the size.
    """
    centre = np.minimum(np.maximum(region.centre + offset / region.scale, 0), image_size)
    new_size = pose.size * (1 - rate) + size / region.scale * rate
    return Pose(centre, np.minimum(np.maximum(new_size, np.minimum(min_size_px, image_size)), image_size))
