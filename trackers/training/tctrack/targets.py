"""What the maps of TCTrack should say of a target, and how far off they are (arXiv 2203.01885; 2308.10330).

Nothing here makes the host wait for the device: cells are chosen by random numbers that come with the samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from onlinetada.trackers.models.tctrack import GRID_SIZE, REACH, STRIDE, TCTrackMaps, decode_sides, encode_sides
from onlinetada.trackers.training.losses import area, box_overlap
from onlinetada.trackers.training.tctrack.recipe import LossOptions

_FIRST_CELL_PX = 63.0  # where the middle of cell 0 lies in the search region
_POSITIVE, _NEGATIVE, _BOXED = 0.78, 0.3, 0.5
_SURELY_BOXED = 0.8
_DROPPED = 1 / 1.2
_NEGATIVES_A_POSITIVE = 2
_NEGATIVES_WITHOUT_TARGET = 16
_LARGEST_CODE = 0.99


@dataclass(frozen=True)
class Targets:
    """For B search regions of N = 121 cells.

    Attributes:
        central: (B, N) 1 in the middle of the target, 0 from the ellipse of its half sizes on.
        positive: (B, N) bool, cells that are the target.
        negative: (B, N) bool, chosen cells of the background.
        box_weight: (B, N) how much the box at a cell counts.
        sides: (B, 4, N) left, right, top, bottom: distances from the cell to the box, coded.
        corners: (B, 4) x1, y1, x2, y2 in pixels from the middle.
    """

    central: Tensor
    positive: Tensor
    negative: Tensor
    box_weight: Tensor
    sides: Tensor
    corners: Tensor


def make_targets(boxes: Tensor, present: Tensor, keys: Tensor, cells: Tensor) -> Targets:
    """Targets of the judged regions.

    The most central cells are always positive: a target that lies between cells would otherwise have none.

    Args:
        boxes: (B, 4) cx, cy, w, h in pixels from the middle.
        present: (B,) bool.
        keys: (B, 2, N) uniform random numbers.
        cells: (N, 2) x, y of the cells in pixels from the middle.
    """
    corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    edges = ((corners + REACH - _FIRST_CELL_PX) / STRIDE).clamp(0, GRID_SIZE - 1).floor()
    low, high = edges[:, :2], edges[:, 2:]
    index = (cells + REACH - _FIRST_CELL_PX) / STRIDE  # (N, 2) column, row
    from_middle = (index - (low + high)[:, None] / 2) / ((high - low + 1)[:, None] / 2)
    central = (1 - from_middle.square().sum(2)).clamp(min=0) * present[:, None]
    best = (central == central.amax(1, keepdim=True)) & present[:, None]
    positive = (central > _POSITIVE) | best
    background = (central <= _NEGATIVE) & ~positive
    wanted = positive.sum(1) * _NEGATIVES_A_POSITIVE + ~present * _NEGATIVES_WITHOUT_TARGET
    unsure = (central >= _BOXED) & (central < _SURELY_BOXED)
    dropped = _chosen(unsure, (unsure.sum(1) * _DROPPED).floor(), keys[:, 1])
    sides = torch.stack(
        [
            cells[:, 0] - corners[:, 0, None],
            corners[:, 2, None] - cells[:, 0],
            cells[:, 1] - corners[:, 1, None],
            corners[:, 3, None] - cells[:, 1],
        ],
        1,
    )
    return Targets(
        central=central,
        positive=positive,
        negative=_chosen(background, wanted, keys[:, 0]),
        box_weight=central * (central >= _BOXED) * ~dropped,
        sides=encode_sides(sides),
        corners=corners,
    )


def _chosen(candidates: Tensor, count: Tensor, keys: Tensor) -> Tensor:
    """Of the candidates (B, N), at most ``count`` (B,) in each row: those with the smallest keys."""
    rank = keys.masked_fill(~candidates, 2.0).argsort(1).argsort(1)
    return candidates & (rank < count[:, None])


def losses(maps: TCTrackMaps, targets: Targets, cells: Tensor, options: LossOptions) -> tuple[Tensor, Tensor]:
    """What is minimised, and (4,) score part, box part, IoU loss and mean IoU at the best cells.

    Args:
        maps: of clips, in float32; their last frame is judged.
        targets: of those frames.
        cells: (N, 2) x, y of the cells in pixels from the middle.
        options: weights of the parts.
    """
    logits, score = maps.cls[:, -1].flatten(2), maps.score[:, -1].flatten(1)
    coded = maps.loc[:, -1].flatten(2)
    two_way = _two_way(logits, targets)
    one_way = F.binary_cross_entropy_with_logits(score, targets.central)
    left, right, top, bottom = decode_sides(_in_range(coded)).unbind(1)
    x, y = cells[:, 0], cells[:, 1]
    answers = torch.stack([x - left, y - top, x + right, y + bottom], -1)  # (B, N, 4) raw: sides may have crossed
    weight = targets.box_weight
    total = weight.sum() + 1e-6
    iou = -(_overlap(answers, targets.corners[:, None]) + 1e-6).log()
    centre = _centre_distance(answers, targets.corners[:, None])
    iou_loss = (iou * weight).sum() / total
    l1 = ((coded - targets.sides).abs().sum(1) * weight).sum() / len(weight)
    boxes = options.iou * iou_loss + options.l1 * l1 + options.centre * (centre * weight).sum() / total
    scores = options.two_way * two_way + options.one_way * one_way
    best = (logits.softmax(1)[:, 1] + score).argmax(1)
    found = answers.detach().gather(1, best[:, None, None].expand(-1, 1, 4))[:, 0]
    overlap, _ = box_overlap(_centred(found), _centred(targets.corners))
    shown = targets.positive.any(1)
    mean = (overlap * shown).sum() / shown.sum().clamp(min=1)
    return options.box * boxes + options.score * scores, torch.stack([scores, boxes, iou_loss, mean]).detach()


def _in_range(coded: Tensor) -> Tensor:
    """Coded distances cut to what decodes, with gradients as if they were not: what left the range can come back."""
    return coded + (coded.clamp(-_LARGEST_CODE, _LARGEST_CODE) - coded).detach()


def _two_way(logits: Tensor, targets: Targets) -> Tensor:
    """Cross entropy, target cells and chosen background cells counting half each."""
    background, target = logits.log_softmax(1).neg().unbind(1)
    wrong_target = (target * targets.positive).sum() / targets.positive.sum().clamp(min=1)
    wrong_background = (background * targets.negative).sum() / targets.negative.sum().clamp(min=1)
    return (wrong_target + wrong_background) / 2


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes x1, y1, x2, y2; those of ``a`` may be turned inside out, which overlaps nothing."""
    shared = area((torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0))
    union = area(a[..., 2:] - a[..., :2]) + area(b[..., 2:] - b[..., :2]) - shared
    return (shared / (union + 1e-6)).clamp(min=0)


def _centre_distance(a: Tensor, b: Tensor) -> Tensor:
    """Distance of the centres, each axis relative to the root of the size of ``b``."""
    offset = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    return (offset.square() / (b[..., 2:] - b[..., :2]) + 1e-9).sum(-1).sqrt()


def _centred(corners: Tensor) -> Tensor:
    low, high = corners[..., :2], corners[..., 2:]
    return torch.cat([(low + high) / 2, (high - low).clamp(min=0)], -1)
