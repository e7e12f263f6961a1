"""Frames to track in, in memory, so that no decoding is timed."""

from __future__ import annotations

from dataclasses import dataclass

from onlinetada.errors import InputError
from onlinetada.trackers.io.synthetic import moving_target
from onlinetada.trackers.result import Box, Image


@dataclass(frozen=True)
class Footage:
    """A made-up video.

    Attributes:
        frames: (H, W, 3) uint8 BGR.
        box: of the target on the first frame.
    """

    frames: list[Image]
    box: Box

    @property
    def size(self) -> str:
        """As in 1280x720."""
        height, width = self.frames[0].shape[:2]
        return f"{width}x{height}"


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of "1280x720"."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdigit() and height.isdigit() and int(width) >= 64 and int(height) >= 64):
        raise InputError(f"frame size {text!r}: give WIDTHxHEIGHT in pixels, at least 64x64, as in 1280x720")
    return int(width), int(height)


def make_footage(size: str, *, frames: int = 30, target_px: float = 70.0) -> Footage:
    """Frames of this size in which a target of about ``target_px`` pixels moves, whatever the size of the frame."""
    width, height = parse_size(size)
    usual = 0.16 * (width + height) / 2  # side of the target that moving_target draws
    scale = min(1.0, target_px / usual)
    small = [max(16, round(extent * scale)) for extent in (width, height)]
    made = list(moving_target(frames, width=small[0], height=small[1]))
    (_, (x, y, w, h)), pictures = made[0], [picture for picture, _ in made]
    left, top = (width - small[0]) // 2, (height - small[1]) // 2
    return Footage([_within(picture, width, height, left, top) for picture in pictures], (x + left, y + top, w, h))


def _within(picture: Image, width: int, height: int, left: int, top: int) -> Image:
    """The picture in the middle of a larger one, mirrored outwards."""
    import cv2
    import numpy as np

    right, bottom = width - picture.shape[1] - left, height - picture.shape[0] - top
    return np.asarray(cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_REFLECT))
