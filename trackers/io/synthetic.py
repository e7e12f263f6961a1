"""A made-up video whose target's place is known: for the self-test, for tests, for a first try without any footage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from onlinetada.trackers.io.matroska import MatroskaWriter
from onlinetada.trackers.result import Box, Image

_FPS = 30.0
_PERIOD_FRAMES = 180  # of the slowest part of the motion


def moving_target(frames: int, *, width: int = 320, height: int = 240, seed: int = 0) -> Iterator[tuple[Image, Box]]:
    """Pictures of a textured target that crosses a textured, drifting background and changes its size.

    Args:
        frames: how many.
        width: of the pictures in pixels.
        height: of the pictures in pixels.
        seed: of the textures; the same seed gives the same video.

    Yields:
        The picture (H, W, 3) uint8 BGR, and the target's box to a fraction of a pixel.
    """
    random = np.random.default_rng(seed)
    background = _texture(random, 2 * width, 2 * height, smallest_px=6, contrast=26)
    target = _texture(random, 96, 96, smallest_px=5, contrast=70)
    target = cv2.addWeighted(target, 0.75, np.full_like(target, (40, 90, 230)), 0.25, 0)
    cv2.rectangle(target, (0, 0), (95, 95), (245, 245, 245), 8)
    for index in range(frames):
        turn = 2 * math.pi * index / _PERIOD_FRAMES
        side = 0.16 * (width + height) / 2 * (1 + 0.2 * math.sin(1.3 * turn))
        w, h = 1.25 * side, side
        x = width / 2 + 0.3 * width * math.sin(turn) - w / 2
        y = height / 2 + 0.28 * height * math.sin(1.7 * turn + 0.6) - h / 2
        left, top = width / 2 * (1 + 0.6 * math.cos(0.5 * turn)), height / 2 * (1 + 0.6 * math.sin(0.7 * turn))
        drift = np.array([[1, 0, -left], [0, 1, -top]])
        picture = cv2.warpAffine(background, drift, (width, height), flags=cv2.INTER_LINEAR)
        yield _paste(picture, target, (x, y, w, h)), (x, y, w, h)


def write_video(path: Path, *, frames: int, width: int = 320, height: int = 240, seed: int = 0) -> list[Box]:
    """Write ``moving_target`` as a Matroska video of 30 frames a second and give the boxes."""
    writer = MatroskaWriter(path, width=width, height=height, fps=_FPS)
    boxes = []
    for index, (picture, box) in enumerate(moving_target(frames, width=width, height=height, seed=seed)):
        jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        writer.write(np.asarray(jpeg).tobytes(), index / _FPS)
        boxes.append(box)
    writer.close()
    return boxes


def _texture(random: np.random.Generator, width: int, height: int, *, smallest_px: int, contrast: float) -> Image:
    """Colour noise of several sizes, coarse ones stronger, as in pictures of the world."""
    total = np.zeros((height, width, 3))
    size = float(smallest_px)
    while size < max(width, height) / 2:
        noise = random.standard_normal((math.ceil(height / size) + 1, math.ceil(width / size) + 1, 3))
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * math.sqrt(size)
        size *= 2
    total /= total.std()
    return np.clip(118 + contrast * total, 0, 255).astype(np.uint8)


def _paste(picture: Image, target: Image, box: Box) -> Image:
    x, y, w, h = box
    size = target.shape[0]
    # half a pixel: a box is an area, warpAffine maps the middles of pixels
    place = np.array([[w / size, 0, x + w / size / 2 - 0.5], [0, h / size, y + h / size / 2 - 0.5]])
    shape = (picture.shape[1], picture.shape[0])
    shrunk = cv2.GaussianBlur(target, (0, 0), max(0.3, 0.4 * size / w))
    drawn = cv2.warpAffine(shrunk, place, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(np.full(target.shape, 255, np.uint8), place, shape, flags=cv2.INTER_LINEAR) / 255.0
    mixed: Image = (drawn * share + picture * (1 - share)).round().astype(np.uint8)
    return mixed
