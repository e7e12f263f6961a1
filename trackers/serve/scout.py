"""From the picture somebody drew on to the picture of now: the moment between them is caught up."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from onlinetada.trackers.io.targets import Follower
from onlinetada.trackers.result import Box, Image

_KEEP_S = 6.0
_KEEP_BYTES = 24 << 20
_STEPS = 12  # looks that catching up may take, which bounds how long the other targets wait


@dataclass(frozen=True, eq=False)
class Picture:
    """A frame as it was shown.

    Attributes:
        jpeg: scaled down by ``scale``.
        width: of the frame itself in pixels.
    """

    frame_index: int
    timestamp_s: float
    jpeg: bytes
    scale: float
    width: int
    height: int


class Album:
    """The pictures that were shown of late."""

    def __init__(self) -> None:
        self._pictures: deque[Picture] = deque()
        self._bytes = 0

    def add(self, picture: Picture) -> None:
        """Keep one; old ones go."""
        pictures = self._pictures
        if pictures and picture.timestamp_s < pictures[-1].timestamp_s:
            pictures.clear()
            self._bytes = 0
        pictures.append(picture)
        self._bytes += len(picture.jpeg)
        while self._bytes > _KEEP_BYTES or picture.timestamp_s - pictures[0].timestamp_s > _KEEP_S:
            self._bytes -= len(pictures.popleft().jpeg)

    def since(self, frame_index: int) -> list[Picture]:
        """The picture of that number, the latest that has it, and all that came after it; none where it is gone."""
        pictures = list(self._pictures)
        found = next((i for i in reversed(range(len(pictures))) if pictures[i].frame_index == frame_index), None)
        return [] if found is None else pictures[found:]


def catch_up(scout: Follower, shown: Sequence[Picture], now: Image, now_s: float, box: Box) -> Box | None:
    """Where a box drawn on the first of some pictures is now.

    Args:
        scout: follows it there; a follower of its own, without targets.
        shown: pictures since the one that was drawn on, in order.
        now: (H, W, 3) BGR, of the same size as the frames shown.
        now_s: its timestamp.
        box: on the first picture, in pixels of the frame.

    Returns:
        The box, or None where the target was lost on the way.
    """
    drawn_on, *later = shown
    later = [p for p in later if (p.width, p.height) == (drawn_on.width, drawn_on.height) and p.timestamp_s < now_s]
    if len(later) > _STEPS:
        places = np.linspace(0, len(later), _STEPS + 1).round().astype(int)
        later = [later[b - 1] for a, b in pairwise(places) if b > a]
    key = scout.add(_decoded(drawn_on), box, timestamp_s=drawn_on.timestamp_s)
    try:
        for picture in later:
            scout.update(_decoded(picture), timestamp_s=picture.timestamp_s)
        if drawn_on.timestamp_s < now_s:
            scout.update(now, timestamp_s=now_s)
        result = scout.result(key)
        return None if result.state == "lost" else result.box_xywh
    finally:
        scout.remove(key)


def _decoded(picture: Picture) -> Image:
    """The picture at the frame's own size, so that boxes need no scaling."""
    image: Image = np.asarray(cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR))
    size = (picture.width, picture.height)
    return image if (image.shape[1], image.shape[0]) == size else np.asarray(cv2.resize(image, size))
