"""How sure a tracker may be: a logistic function of cheap signals, fitted on held-out video.

The raw score alone is none: it stays high on background and on things that look alike. The signals add how far the
best candidate stands out, how abruptly the size would change and, where the network has it, how much the place still
looks like the first frame's target.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SAME_TARGET_IOU = 0.3  # candidates that overlap the best by more speak for the same thing


@dataclass(frozen=True)
class ConfidenceCalibration:
    """confidence = 1 / (1 + exp(-(bias + sum of weight * signal))).

    The defaults are no calibration: they read scores between 0 and 1 as if 0.4 were a toss-up. A model's card brings
    fitted ones.

    Attributes:
        bias: constant.
        peak: weight of the best candidate's raw score.
        margin: weight of its score's lead over the best candidate elsewhere.
        size_jump: weight of |log(size of the candidate / size of the box)|.
        similarity: weight of the cosine with the first frame's target; the signal is 0 where the network has none.
    """

    bias: float = -4.0
    peak: float = 10.0
    margin: float = 0.0
    size_jump: float = 0.0
    similarity: float = 0.0

    def __call__(self, signals: Floats) -> Floats:
        """(B, 4) signals as `measure_signals` gives them to (B,) confidences between 0 and 1."""
        weights = np.array([getattr(self, name) for name in SIGNALS])
        logit = np.minimum(np.maximum(self.bias + signals @ weights, -30), 30)  # np.clip takes longer
        return np.asarray(1 / (1 + np.exp(-logit)))


SIGNALS: tuple[str, ...] = tuple(f.name for f in fields(ConfidenceCalibration) if f.name != "bias")


def measure_signals(
    boxes: Floats, scores: Floats, similarity: Floats | None, best: npt.NDArray[np.int64], old_size: Floats
) -> Floats:
    """The signals of B chosen candidates.

    Args:
        boxes: (B, N, 4) cx, cy, w, h in pixels of the crop.
        scores: (B, N) raw.
        similarity: (B, N) or None.
        best: (B,) index of the candidate that was chosen.
        old_size: (B, 2) the box so far, in pixels of the crop.

    Returns:
        (B, 4) in the order of `SIGNALS`.
    """
    rows = np.arange(len(best))
    peak = scores[rows, best]
    elsewhere = np.where(_iou(boxes, boxes[rows, best][:, None]) < SAME_TARGET_IOU, scores, -np.inf).max(1)
    margin = np.where(np.isfinite(elsewhere), peak - elsewhere, np.abs(peak))
    area = boxes[rows, best, 2] * boxes[rows, best, 3]
    old_area = old_size[:, 0] * old_size[:, 1]
    jump = np.abs(np.log(np.maximum(area, 1e-9) / np.maximum(old_area, 1e-9))) / 2
    alike = np.zeros_like(peak) if similarity is None else similarity[rows, best]
    return np.stack([peak, margin, jump, alike], 1)


def fit_calibration(signals: Floats, on_target: npt.ArrayLike, *, decay: float = 1e-2) -> ConfidenceCalibration:
    """Logistic regression by Newton's method.

    Args:
        signals: (M, 4) of M frames.
        on_target: (M,) whether the box was on the target.
        decay: weight decay on the standardised signals; keeps separable data finite.

    Raises:
        ValueError: only one of the two classes is there.
    """
    wanted = np.asarray(on_target, dtype=np.float64)
    if wanted.min() == wanted.max():
        raise ValueError("a calibration needs frames on the target and frames off it")
    mean, spread = signals.mean(0), signals.std(0)
    varies = spread > 1e-6  # a signal that never changes says nothing
    spread = np.where(varies, spread, np.inf)
    x = np.concatenate([np.ones((len(signals), 1)), (signals - mean) / spread], 1)
    w, ridge = np.zeros(x.shape[1]), decay * np.diag([0.0] + [1.0] * signals.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        gradient = x.T @ (p - wanted) / len(x) + ridge @ w
        hessian = (x * (p * (1 - p))[:, None]).T @ x / len(x) + ridge + 1e-9 * np.eye(len(w))
        w -= np.linalg.solve(hessian, gradient)
    weights = w[1:] / spread
    bias = float(w[0] - (weights * mean).sum())
    return ConfidenceCalibration(bias, **{n: float(v) for n, v in zip(SIGNALS, weights, strict=True)})


def _iou(a: Floats, b: Floats) -> Floats:
    """Overlap of boxes (..., 4) cx, cy, w, h; column by column, which is faster than along the last axis."""
    shared = _shared(a[..., 0], a[..., 2], b[..., 0], b[..., 2]) * _shared(a[..., 1], a[..., 3], b[..., 1], b[..., 3])
    union = a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - shared
    return np.asarray(shared / np.maximum(union, 1e-9))


def _shared(a: Floats, a_extent: Floats, b: Floats, b_extent: Floats) -> Floats:
    """Length that spans with these middles have in common."""
    half_a, half_b = a_extent / 2, b_extent / 2
    return np.maximum(np.minimum(a + half_a, b + half_b) - np.maximum(a - half_a, b - half_b), 0)
