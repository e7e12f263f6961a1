"""What the head should have said, and how far it is off."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from onlinetada.trackers.models.appearance import centre_prior
from onlinetada.trackers.models.backbone import STRIDE
from onlinetada.trackers.models.compact import Prediction

_FOCUS = 1.5
_MIN_BOX_SIDE_PX = 8.0
_OUT = -1e4  # takes a cell out of a sum of exponentials; infinities would turn gradients of empty sums into NaN


@dataclass(frozen=True)
class Losses:
    """Scalars of one batch.

    Attributes:
        score: quality focal loss of the logits.
        box: generalised IoU loss, weighted by how central the cell is.
        rank: how far the target's cells are from winning against all others together, on frames that show the target.
        iou: mean overlap of the box at the best cell with the truth, on frames that show the target.
    """

    score: Tensor
    box: Tensor
    rank: Tensor
    iou: Tensor


def losses(prediction: Prediction, boxes: Tensor, present: Tensor) -> Losses:
    """Compare predictions with the truth.

    A central cell whose box is right should score 1, one whose box is wrong 0.4 (Li et al., "Generalized focal
    loss", 2020); frames without the target should score 0 everywhere.

    Args:
        prediction: for M search regions.
        boxes: (M, 4) cx, cy, w, h in pixels from the middle.
        present: (M,) whether the target is there.
    """
    grid = round(prediction.logits.shape[1] ** 0.5)
    truth = torch.cat([boxes[:, :2], boxes[:, 2:].clamp(min=_MIN_BOX_SIDE_PX)], 1)
    prior = centre_prior(truth, grid, STRIDE).flatten(1) * present[:, None]
    total = prior.sum().clamp(min=1)
    iou, generalised = box_overlap(prediction.boxes, truth[:, None])
    wanted = prior * (0.4 + 0.6 * iou.detach().clamp(min=0))
    error = F.binary_cross_entropy_with_logits(prediction.logits, wanted, reduction="none")
    focus = (prediction.logits.sigmoid() - wanted).abs() ** _FOCUS
    best = prediction.logits.argmax(1, keepdim=True)
    return Losses(
        score=(error * focus).sum() / total,
        box=((1 - generalised) * prior).sum() / total,
        rank=(_rank(prediction.logits, prior > 0) * present).sum() / present.sum().clamp(min=1),
        iou=((iou.gather(1, best)[:, 0] * present).sum() / present.sum().clamp(min=1)).detach(),
    )


def _rank(logits: Tensor, inside: Tensor) -> Tensor:
    """(M,) cross-entropy of "the best cell is one of the target's": what is near it counts, and what looks like it."""
    on = logits.masked_fill(~inside, _OUT).logsumexp(1)
    off = logits.masked_fill(inside, _OUT).logsumexp(1)
    return torch.where(inside.any(1), F.softplus(off - on), 0.0)


def box_overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (Rezatofighi et al. 2019) of boxes (..., 4) given as cx, cy, w, h."""
    a1, a2 = a[..., :2] - a[..., 2:] / 2, a[..., :2] + a[..., 2:] / 2
    b1, b2 = b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2
    shared = area((torch.minimum(a2, b2) - torch.maximum(a1, b1)).clamp(min=0))
    union = area(a[..., 2:]) + area(b[..., 2:]) - shared + 1e-6
    hull = area(torch.maximum(a2, b2) - torch.minimum(a1, b1)) + 1e-6
    iou = shared / union
    return iou, iou - (hull - union) / hull


def area(wh: Tensor) -> Tensor:
    """Of boxes of size (..., 2). The gradient of ``prod`` would make the host wait for a GPU."""
    return wh[..., 0] * wh[..., 1]
