"""Rendered motion whose classes differ in time alone, to see what a network sees of time.

A clip shows T states of something that goes round in a cycle of T states. Classes are steps through the cycle: +1, -1,
+k, where every step visits every state once. So the clips of a group's two classes are the same pictures in another
order, and whoever looks at frames one by one, or at their mean, is exactly at chance.

| group | what goes round | classes |
|---|---|---|
| order | the colour of a resting diamond | forward, backward |
| tempo | the colour of a resting cross | step 1, step k; either way round |
| direction | the place of a disc on a circle | clockwise, anticlockwise |
| speed | the place of a square on a circle | step 1, step k; either way round |

Frame descriptors, means over space, see a change of colour; they do not see where a thing is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onlinetada.errors import InputError

GROUPS = ("order", "tempo", "direction", "speed")
CLASSES = (
    "order forward",
    "order backward",
    "tempo slow",
    "tempo fast",
    "direction clockwise",
    "direction anticlockwise",
    "speed slow",
    "speed fast",
)

Float = NDArray[np.float32]


@dataclass(frozen=True)
class MotionOptions:
    """How clips are rendered.

    Attributes:
        frames: T, of a clip and of the cycle.
        size: side of the pictures in pixels.
        fast: k, the step of the fast classes; it has no factor in common with T.
        noise: standard deviation of each frame's noise, of 255.
    """

    frames: int = 8
    size: int = 32
    fast: int = 3
    noise: float = 10.0

    def __post_init__(self) -> None:
        if math.gcd(self.frames, self.fast) != 1 or not 1 < self.fast < self.frames / 2:
            raise InputError(f"fast must be above 1, below half of {self.frames}, and without a factor in common")


def render_clip(label: int, options: MotionOptions, seed: tuple[int, ...]) -> NDArray[np.uint8]:
    """One clip of a class.

    Args:
        label: index in ``CLASSES``.
        options: how it looks.
        seed: says everything else.

    Returns:
        (T, H, W, 3) uint8.
    """
    rng = np.random.default_rng(seed)
    group, second = divmod(label, 2)
    steps = _steps(group, second, options, rng)
    frames = _render(GROUPS[group], steps, options, rng)
    frames += rng.standard_normal(frames.shape, np.float32) * options.noise
    return np.clip(frames, 0, 255).astype(np.uint8)


def _steps(group: int, second: int, options: MotionOptions, rng: np.random.Generator) -> NDArray[np.int64]:
    """(T,) states that a clip goes through."""
    if GROUPS[group] in ("order", "direction"):
        step = -1 if second else 1
    else:
        step = (options.fast if second else 1) * int(rng.choice((-1, 1)))
    start = int(rng.integers(options.frames))
    return (start + step * np.arange(options.frames)) % options.frames


def _render(group: str, steps: NDArray[np.int64], options: MotionOptions, rng: np.random.Generator) -> Float:
    """(T, H, W, 3) pictures of these states; background, size and middle stay the same through the clip."""
    size = options.size
    coarse = rng.uniform(30, 110, (4, 4, 3)).astype(np.float32)
    background = coarse.repeat(-(-size // 4), 0).repeat(-(-size // 4), 1)[:size, :size]
    middle = size / 2 + rng.uniform(-0.06, 0.06, 2) * size
    radius = size * rng.uniform(0.10, 0.14)
    circle = size * rng.uniform(0.22, 0.28)
    grey, turn = rng.uniform(180, 250), rng.uniform(0, 1)
    angles = 2 * math.pi * (steps + turn) / options.frames
    moves = group in ("direction", "speed")
    if moves:
        middles = middle + circle * np.stack([np.sin(angles), np.cos(angles)], 1)
        colours = np.full((len(steps), 3), grey)
    else:
        middles = np.broadcast_to(middle, (len(steps), 2))
        colours = 140 + 110 * np.cos(angles[:, None] + np.array([0, 2, 4]) * math.pi / 3)
    places = np.arange(size)
    away_y = np.abs(places[None, :, None] - middles[:, 0, None, None])  # (T, H, 1)
    away_x = np.abs(places[None, None, :] - middles[:, 1, None, None])  # (T, 1, W)
    r = radius if moves else 2 * radius
    shapes = {
        "order": away_y + away_x < 1.2 * r,
        "tempo": (np.minimum(away_y, away_x) < 0.4 * r) & (np.maximum(away_y, away_x) < r),
        "direction": away_y**2 + away_x**2 < r**2,
        "speed": np.maximum(away_y, away_x) < 0.9 * r,
    }
    colours = colours.astype(np.float32)[:, None, None, :]
    return np.where(shapes[group][..., None], colours, background)
