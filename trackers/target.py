"""One target from frame to frame: where to look next, what to believe, and what to do while it is lost."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from onlinetada.trackers.camera import Thumbnail
from onlinetada.trackers.look import Look, Plan
from onlinetada.trackers.loss import LossMonitor
from onlinetada.trackers.models.network import Geometry
from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.pose import Pose, search_region
from onlinetada.trackers.redetect import Hunt
from onlinetada.trackers.result import Box, Image, TrackResult

FRAME_S = 1 / 30  # between frames without timestamps

Floats = npt.NDArray[np.float64]


class Target:
    """What the host knows of one target.

    Args:
        box: on the first frame.
        pose: the same as centre and size.
        first_side: side of the template's square in pixels of the first frame.
        fill: (3,) mean colour of the first frame.
        config: inference options.
        geometry: the network's.
        start_s: capture time of the first frame.

    Attributes:
        pose: where it is; while it is lost, where it was trusted last.
        hunt: the search while it is lost.
        monitor: says when it is lost.
        confidence: of the last frame.
        raw_score: the network's own score of the last choice; NaN on the first frame.
        signals: (6,) what the last confidence was made of; None on the first frame.
        thumbnail: of the last picture, where camera motion is looked at.
    """

    def __init__(
        self,
        box: Box,
        pose: Pose,
        first_side: float,
        fill: Floats,
        config: InferenceConfig,
        geometry: Geometry,
        *,
        start_s: float,
    ) -> None:
        self.pose = pose
        self.hunt: Hunt | None = None
        self.monitor = LossMonitor(config.loss)
        self.monitor.update(1.0, start_s)
        self.confidence = 1.0
        self.raw_score = math.nan
        self.signals: Floats | None = None
        self.thumbnail: Thumbnail | None = None
        self.frame_index = 0
        self.timestamp_s = start_s
        self._box = box
        self._trusted = pose
        self._first_side, self._fill = first_side, fill
        self._config, self._geometry = config, geometry

    def tick(self, timestamp_s: float | None) -> None:
        """The next frame has come."""
        self.timestamp_s = self.timestamp_s + FRAME_S if timestamp_s is None else float(timestamp_s)
        self.frame_index += 1

    def plan(self, picture: Image) -> Plan:
        """Where to look first."""
        if self.hunt is None:
            side = self._first_side if self._config.half_image_rule and _covers_half(self.pose, picture) else None
            region = search_region(self.pose, self._geometry, side=side)
            return Plan(picture, self.pose, region, self._fill)
        region = search_region(self.hunt.last, self._geometry, growth=self.hunt.growth(self.timestamp_s))
        return Plan(picture, self.hunt.last, region, self._fill, size_known=False)

    def moved_plan(self, plan: Plan, shift: Floats | None) -> Plan | None:
        """Where to look if the target has stayed in the scene and the camera has moved; None if that is much the same.

        Args:
            plan: for a target that stays in the picture.
            shift: (2,) of the scene in pixels of the picture; None where it is not known.
        """
        jump = self._config.camera_jump
        if jump is None or shift is None or self.hunt is not None:
            return None
        if np.abs(shift).max() <= jump * plan.region.side / 2:
            return None
        image_size = np.array(plan.picture.shape[1::-1], dtype=np.float64)
        expected = Pose(np.minimum(np.maximum(plan.expected.centre + shift, 0), image_size), plan.expected.size)
        return replace(plan, expected=expected, region=replace(plan.region, centre=expected.centre))

    def sweep_plans(self, main: Plan) -> list[Plan]:
        """Where else to look while lost."""
        if self.hunt is None:
            return []
        height, width = main.picture.shape[:2]
        following = 1 if self.hunt.find is None else 2  # the first of the places, of which the first is the drift
        places = self.hunt.windows((width, height), self.timestamp_s)
        regions = [search_region(pose, self._geometry) for pose in places]
        return [
            Plan(main.picture, pose, region, self._fill, centred=i < following, size_known=False)
            for i, (pose, region) in enumerate(zip(places, regions, strict=True))
        ]

    def judge(self, look: Look, further: list[Look]) -> None:
        """Take in what was seen on this frame."""
        self.raw_score, self.signals = look.raw_score, look.signals
        hunt, policy = self.hunt, self._config.loss
        self.confidence = look.confidence if hunt is None else hunt.consider(look, further, self.timestamp_s)
        state = self.monitor.update(self.confidence, self.timestamp_s, frame_index=self.frame_index)
        if hunt is not None:
            if state != "lost" and hunt.find is not None:
                self.pose = self._trusted = hunt.find.pose
                self.hunt = None
        elif state == "lost" and self._config.recover:
            self.pose, recovery = self._trusted, self._config.recovery
            self.hunt = Hunt(self.pose, look.found, recovery, policy, self._geometry, since_s=self.timestamp_s)
        elif not look.blind:
            self.pose = look.found
            if look.confidence >= policy.uncertain:
                self._trusted = look.found

    def result(self, latency_ms: float) -> TrackResult:
        """The answer for the last frame."""
        box = self._box if self.frame_index == 0 else self.pose.box
        return TrackResult(self.frame_index, self.timestamp_s, box, self.confidence, self.monitor.state, latency_ms)


def _covers_half(pose: Pose, picture: Image) -> bool:
    return bool(pose.size.prod() > 0.5 * picture.shape[0] * picture.shape[1])
