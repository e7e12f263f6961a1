"""Videos made harder in one way at a time, to see what a tracker stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from onlinetada.trackers.evaluation.boxfiles import Boxes
from onlinetada.trackers.result import Image

Rng = np.random.Generator
_HIDDEN_EVERY, _HIDDEN_FOR = 50, 12  # frames
_NOISE = 4.0  # standard deviation in the dark
_MARGIN = 0.1  # of the picture, on each side, in which the camera shakes


@dataclass(frozen=True)
class Video:
    """Frames in order.

    Attributes:
        images: (H, W, 3) BGR.
        truth: (F, 4) x, y, w, h; NaN where no target is to be seen.
    """

    images: Sequence[Image]
    truth: Boxes


Disturbance = Callable[[Video, Rng], Video]


def thinned(step: int) -> Disturbance:
    """Only every ``step``-th frame: a faster target and camera, or a slower computer."""
    return lambda video, _: Video(video.images[::step], video.truth[::step])


def smaller(factor: float) -> Disturbance:
    """Fewer pixels: a target that is further away. Boxes shrink as well, so 20 px of precision become more lenient."""

    def change(video: Video, _: Rng) -> Video:
        images = [cv2.resize(i, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) for i in video.images]
        return Video(images, video.truth * factor)

    return change


def darker(left: float) -> Disturbance:
    """Less light, and the noise that comes with it."""

    def change(video: Video, rng: Rng) -> Video:
        return Video([_dark(image, left, rng) for image in video.images], video.truth)

    return change


def shaken(video: Video, rng: Rng) -> Video:
    """Four fifths of each picture, cut out at a place of its own: a camera that is thrown about between frames."""
    height, width = video.images[0].shape[:2]
    most = np.array([int(width * _MARGIN), int(height * _MARGIN)])
    size = np.array([width, height]) - 2 * most
    images, truth = [], video.truth.copy()
    for i, image in enumerate(video.images):
        x, y = most + rng.integers(-most, most + 1)
        images.append(np.ascontiguousarray(image[y : y + size[1], x : x + size[0]]))
        truth[i, :2] -= x, y
    centre = truth[:, :2] + truth[:, 2:] / 2
    truth[~((centre >= 0) & (centre < size)).all(1)] = np.nan
    return Video(images, truth)


def hidden(video: Video, _: Rng) -> Video:
    """The target behind a smooth patch in the colours of its surroundings, for 12 of every 50 frames."""
    images, truth = list(video.images), video.truth.copy()
    for i in range(len(images)):
        if i % _HIDDEN_EVERY >= _HIDDEN_EVERY - _HIDDEN_FOR and np.isfinite(truth[i]).all():
            images[i], truth[i] = _covered(images[i], truth[i]), np.nan
    return Video(images, truth)


DISTURBANCES: dict[str, Disturbance] = {
    "as it is": lambda video, _: video,
    "every 2nd frame": thinned(2),
    "every 4th frame": thinned(4),
    "half the size": smaller(1 / 2),
    "a third of the size": smaller(1 / 3),
    "in the dark": darker(0.18),
    "shaken": shaken,
    "hidden at times": hidden,
}
"""Name -> what is done to a video; in the order of reports."""


def _dark(image: Image, left: float, rng: Rng) -> Image:
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    dark: npt.NDArray[np.float32] = image * np.float32(left) + grain * np.float32(_NOISE)
    return np.clip(dark, 0, 255).astype(np.uint8)


def _covered(image: Image, box: npt.NDArray[np.float64]) -> Image:
    """The picture with a box, a little larger than the target, filled in from its border."""
    height, width = image.shape[:2]
    x, y, w, h = box
    x1, y1 = max(0, int(x - 0.15 * w)), max(0, int(y - 0.15 * h))
    x2, y2 = min(width, int(np.ceil(x + 1.15 * w))), min(height, int(np.ceil(y + 1.15 * h)))
    image = image.copy()
    if x1 >= x2 or y1 >= y2:
        return image
    beside = [image[y1:y2, x] for x in (x1 - 1, x2) if 0 <= x < width]
    left, right = (beside[0], beside[-1]) if beside else np.broadcast_to(image.mean((0, 1)), (2, y2 - y1, 3))
    share = np.linspace(0, 1, x2 - x1)[None, :, None]
    image[y1:y2, x1:x2] = np.rint(left[:, None] * (1 - share) + right[:, None] * share)
    return image
