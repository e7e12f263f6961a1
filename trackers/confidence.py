"""How sure a tracker may be: a logistic function of cheap signals, fitted on held-out video.

The raw score alone is none: it stays high on background and on things that look alike. The signals add how far the
best candidate stands out, how abruptly the size would change and, where the network has it, how much the place still
looks like the first frame's target, as a whole and part by part.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

APART = 0.75  # of its width or height: candidates further from the best than that speak for something else
LEAST_SCORE = 1e-6  # odds of scores between this and 1 - this are told apart


@dataclass(frozen=True)
class ConfidenceCalibration:
    """confidence = 1 / (1 + exp(-(bias + sum of weight * signal))).

    The defaults are no calibration: they read scores between 0 and 1 as if 0.4 were a toss-up. A model's card brings
    fitted ones.

    Attributes:
        bias: constant.
        peak: weight of the best candidate's raw score.
        lead: weight of the lead of its log odds, log(score / (1 - score)), over those of the best candidate elsewhere.
            Scores themselves say less: near 0 and 1 they are all alike, and beyond they count as if they were there.
        size_jump: weight of |log(size of the candidate / size of the box)|.
        similarity: weight of the cosine with the first frame's target; the signal is 0 where the network has none.
        parts: weight of how much the parts of the candidate's box look like those of the first frame's target, see
            ``Candidates``; 0 where the network has none.
        contrast: weight of the lead that the network's own filter sees there; 0 where the network has none.
    """

    bias: float = -4.0
    peak: float = 10.0
    lead: float = 0.0
    size_jump: float = 0.0
    similarity: float = 0.0
    parts: float = 0.0
    contrast: float = 0.0

    def __call__(self, signals: Floats) -> Floats:
        """(B, 6) signals as `measure_signals` gives them to (B,) confidences between 0 and 1."""
        weights = np.array([getattr(self, name) for name in SIGNALS])
        logit = np.minimum(np.maximum(self.bias + signals @ weights, -30), 30)  # np.clip takes longer
        return np.asarray(1 / (1 + np.exp(-logit)))


SIGNALS: tuple[str, ...] = tuple(f.name for f in fields(ConfidenceCalibration) if f.name != "bias")


def measure_signals(
    boxes: Floats,
    scores: Floats,
    best: npt.NDArray[np.int64],
    old_size: Floats,
    *,
    similarity: Floats | None = None,
    parts: Floats | None = None,
    answers: Floats | None = None,
) -> Floats:
    """The signals of B chosen candidates.

    Args:
        boxes: (B, N, 4) cx, cy, w, h in pixels of the crop, from its centre.
        scores: (B, N) raw.
        best: (B,) index of the candidate that was chosen.
        old_size: (B, 2) the box so far, in pixels of the crop.
        similarity, parts, answers: (B, N) of ``Candidates``, where the network has them.

    Returns:
        (B, 6) in the order of `SIGNALS`.
    """
    rows = np.arange(len(best))
    chosen, none = boxes[rows, best], np.zeros(len(best))
    beside = np.abs(boxes[..., :2] - chosen[:, None, :2]) > APART * chosen[:, None, 2:]
    apart: npt.NDArray[np.bool_] = np.logical_or.reduce(beside, axis=2)
    # a box as large as the region leaves no elsewhere: the best leads by nothing
    apart |= ~np.logical_or.reduce(apart, axis=1, keepdims=True)

    def lead(values: Floats) -> Floats:
        return np.asarray(values[rows, best] - np.where(apart, values, -np.inf).max(1))

    held = np.minimum(np.maximum(scores, LEAST_SCORE), 1 - LEAST_SCORE)
    area, old_area = chosen[:, 2] * chosen[:, 3], old_size[:, 0] * old_size[:, 1]
    return np.stack(
        [
            scores[rows, best],
            lead(np.log(held / (1 - held))),
            np.abs(np.log(np.maximum(area, 1e-9) / np.maximum(old_area, 1e-9))) / 2,
            none if similarity is None else similarity[rows, best],
            none if parts is None else parts[rows, best],
            none if answers is None else lead(answers),
        ],
        1,
    )


def fit_calibration(signals: Floats, on_target: npt.ArrayLike, *, decay: float = 1e-2) -> ConfidenceCalibration:
    """Logistic regression by Newton's method.

    Args:
        signals: (M, 6) of M frames.
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
