"""Penalties, window and size rate, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onlinetada.trackers.decide import choose, cosine_window


def test_windows() -> None:
    hann = cosine_window(11, "hann").reshape(11, 11)
    assert hann[0].max() == 0 and hann[5, 5] == 1 and hann[5, 4] == pytest.approx(math.sin(math.pi * 0.4) ** 2)
    open_ = cosine_window(16, "open").reshape(16, 16)
    assert open_.min() > 0 and open_[7, 7] == open_[8, 8] == 1 and np.allclose(open_, open_.T)


def test_one_candidate_by_hand() -> None:
    boxes = np.array([[[3.0, -4.0, 30.0, 20.0]]])
    choice = choose(
        boxes,
        np.array([[0.8]]),
        np.array([[20.0, 20.0]]),
        np.ones(1),
        penalty_k=0.1,
        window_influence=0.4,
        size_lr=0.5,
    )
    size_change = math.sqrt((30 + 25) * (20 + 25)) / math.sqrt(40 * 40)
    aspect_change = 1 / ((20 / (20 + 1e-5)) / (30 / (20 + 1e-5)) + 1e-5)
    penalty = math.exp(-(size_change * aspect_change - 1) * 0.1)
    assert choice.rate[0] == pytest.approx(penalty * 0.8 * 0.5, rel=1e-6)
    assert choice.score[0] == 0.8 and tuple(choice.offset[0]) == (3, -4) and tuple(choice.size[0]) == (30, 20)


def test_rows_are_independent() -> None:
    rng = np.random.default_rng(0)
    boxes, scores = rng.uniform(5, 60, (4, 9, 4)), rng.uniform(0, 1, (4, 9))
    sizes, window = rng.uniform(10, 50, (4, 2)), cosine_window(3, "open")
    influence = np.array([[0.0], [0.3], [0.6], [0.9]])
    kw = {"penalty_k": 0.05, "size_lr": 0.3}
    together = choose(boxes, scores, sizes, window, window_influence=influence, **kw)
    for row in range(4):
        part = slice(row, row + 1)
        alone = choose(boxes[part], scores[part], sizes[part], window, window_influence=float(influence[row, 0]), **kw)
        assert alone.index[0] == together.index[row] and alone.rate[0] == together.rate[row]


def test_the_window_prefers_the_centre() -> None:
    boxes = np.tile([0.0, 0.0, 20.0, 20.0], (1, 9, 1))
    scores = np.full((1, 9), 0.5)
    scores[0, 0] = 0.6
    kw = {"penalty_k": 0.0, "size_lr": 1.0}
    window, sizes = cosine_window(3, "open"), np.array([[20.0, 20.0]])
    assert choose(boxes, scores, sizes, window, window_influence=0.0, **kw).index[0] == 0
    assert choose(boxes, scores, sizes, window, window_influence=0.5, **kw).index[0] == 4
