"""From a network's candidates to a target's next place: penalties, window, size rate, for many targets at once.

The arithmetic is that of the published Siamese trackers (SiamRPN, CVPR 2018, and after), in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """The candidates that B targets take.

    Attributes:
        index: (B,) cell of the map.
        score: (B,) raw, not penalised.
        offset: (B, 2) x, y from the search region's centre, in pixels of the crop.
        size: (B, 2) w, h in pixels of the crop.
        rate: (B,) how far the box goes towards the new size.
    """

    index: npt.NDArray[np.int64]
    score: Floats
    offset: Floats
    size: Floats
    rate: Floats


def cosine_window(grid_size: int, kind: Literal["hann", "open"]) -> Floats:
    """(grid_size ** 2,) preference for the centre of the map, zero on the border ("hann") or outside of it ("open")."""
    curve = np.hanning(grid_size) if kind == "hann" else np.hanning(grid_size + 2)[1:-1]
    window = np.outer(curve, curve).flatten()
    return window if kind == "hann" else window / window.max()


def choose(
    boxes: Floats,
    scores: Floats,
    old_size: Floats,
    window: Floats,
    *,
    penalty_k: float,
    window_influence: float | Floats,
    size_lr: float,
) -> Choice:
    """The best candidate of each target.

    Args:
        boxes: (B, N, 4) cx, cy, w, h in pixels of the crop, from its centre.
        scores: (B, N)
        old_size: (B, 2) w, h so far, in pixels of the crop.
        window: (N,) of `cosine_window`.
        penalty_k, size_lr: see ``InferenceConfig``.
        window_influence: one for all, or (B, 1).
    """
    w, h = boxes[..., 2], boxes[..., 3]
    old_w, old_h = old_size[:, :1], old_size[:, 1:]
    size_change = _either_way(_padded_side(w, h) / _padded_side(old_w, old_h))
    aspect_change = _either_way((old_w / (old_h + 1e-5)) / (w / (h + 1e-5)))
    penalty = np.exp(-(size_change * aspect_change - 1) * penalty_k)
    penalised = penalty * scores
    index = (penalised * (1 - window_influence) + window * window_influence).argmax(1)
    rows = np.arange(len(index))
    chosen = boxes[rows, index]
    return Choice(index, scores[rows, index], chosen[:, :2], chosen[:, 2:], penalised[rows, index] * size_lr)


def _padded_side(w: Floats, h: Floats) -> Floats:
    pad = (w + h) / 2
    return np.asarray(np.sqrt((w + pad) * (h + pad)))


def _either_way(ratio: Floats) -> Floats:
    return np.maximum(ratio, 1 / (ratio + 1e-5))
