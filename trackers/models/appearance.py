"""What a network keeps of a target's first frame: part templates and a filter that tells it from its surroundings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PARTS_A_SIDE = 5
_PART_STEP = 0.6  # in halves of the box
_MIN_RADIUS_PX = 14.0
_POSITIVE_WEIGHT = 8.0
_CONJUGATE_GRADIENTS = 5
_TINY = 1e-30


def cell_centres(grid_size: int, stride: int, device: torch.device | None = None) -> Tensor:
    """(grid_size,) positions of the cells in pixels, measured from the middle of the picture."""
    index = torch.arange(grid_size, device=device, dtype=torch.float32)
    return (index + 0.5 - grid_size / 2) * stride


def centre_prior(boxes: Tensor, grid_size: int, stride: int) -> Tensor:
    """How much each cell belongs to the middle of a box: a Gaussian inside the box's ellipse, 0 outside.

    The ellipse has a radius of at least 14 px, and the cell nearest to the centre always gets 1.

    Args:
        boxes: (N, 4) cx, cy, w, h in pixels from the middle of the picture.

    Returns:
        (N, grid_size, grid_size) between 0 and 1.
    """
    cells = cell_centres(grid_size, stride, boxes.device)
    distance = (cells - boxes[:, :2, None]).abs()  # (N, 2, grid)
    radius = (boxes[:, 2:] / 2).clamp(min=_MIN_RADIUS_PX)
    squared = (distance / radius[:, :, None]) ** 2
    squared = squared[:, 1, :, None] + squared[:, 0, None, :]
    prior = torch.exp(-2 * squared) * (squared < 1)
    nearest = distance == distance.amin(2, keepdim=True)
    return torch.where(nearest[:, 1, :, None] & nearest[:, 0, None, :], 1.0, prior)


def part_features(features: Tensor, boxes: Tensor, stride: int) -> Tensor:
    """Features at 5 x 5 points spread over a box and a little beyond it.

    Args:
        features: (B, C, G, G).
        boxes: (B, 4) cx, cy, w, h in pixels from the middle.

    Returns:
        (B, 25, C).
    """
    points = _part_points(boxes, PARTS_A_SIDE // 2, features.shape[-1] * stride / 2).to(features.dtype)
    sampled = F.grid_sample(features, points, align_corners=False)
    return sampled.flatten(2).transpose(1, 2)


def read_parts(answers: Tensor, boxes: Tensor, stride: int) -> Tensor:
    """What maps say, each of one of the 3 x 3 parts inside of a box, at the places of these parts.

    Args:
        answers: (B, 9, G, G).
        boxes: (B, N, 4) cx, cy, w, h in pixels from the middle.

    Returns:
        (B, 9, N).
    """
    batch, count = boxes.shape[:2]
    points = _part_points(boxes.flatten(0, 1), 1, answers.shape[-1] * stride / 2).to(answers.dtype)
    points = points.view(batch, count, -1, 2).transpose(1, 2)  # (B, 9, N, 2)
    each = F.grid_sample(answers.flatten(0, 1)[:, None], points.flatten(0, 1)[:, None], align_corners=False)
    return each.view(batch, -1, count)


def _part_points(boxes: Tensor, reach: int, half_side: float) -> Tensor:
    """(B, n, n, 2) x, y of n x n parts of boxes (B, 4), n = 2 * reach + 1, in halves of the picture from its middle."""
    # made on the device: to bring five numbers there from the host, the host would have to wait
    offsets = torch.arange(-reach, reach + 1, device=boxes.device, dtype=torch.float32) * _PART_STEP
    step_y, step_x = torch.meshgrid(offsets, offsets, indexing="ij")
    steps = torch.stack([step_x, step_y], -1)
    return (boxes[:, None, None, :2] + steps * boxes[:, None, None, 2:] / 2) / half_side


def target_filter(features: Tensor, prior: Tensor, ridge: Tensor) -> Tensor:
    """The linear filter that answers the prior on the target's first frame: ridge regression in closed form.

    It weighs the target against what surrounds it, as a correlation filter does (Bertinetto et al., "Meta-learning
    with differentiable closed-form solvers", 2019), and gradients pass through the solution.

    Args:
        features: (B, C, G, G), unit length a cell.
        prior: (B, G, G) the wanted answer.
        ridge: () strength of the regularisation, relative to the mean squared feature.

    Returns:
        (B, C + 1) weights, the last one the constant.
    """
    with torch.autocast(features.device.type, enabled=False):
        gram, moment = _normal_equations(features, prior)
        return _solve(gram, moment, ridge.float())


def adapted_filter(features: Tensor, prior: Tensor, before: Tensor, keep: float) -> Tensor:
    """The filter that answers the prior on a later frame and stays near what it was: a proximal ridge regression.

    It minimises the weighted squared error on this frame + keep * |weights - before|^2. That has one solution, so a
    step of any size is stable, and all that has to be remembered is the filter itself. A few conjugate gradients from
    the filter so far come within a hundredth of the step: what tells cells of one frame apart has few directions.

    Args:
        features: (B, C, G, G), unit length a cell.
        prior: (B, G, G) the wanted answer.
        before: (B, C + 1) weights so far, the last one the constant.
        keep: how strongly they hold, relative to the mean squared feature.
    """
    with torch.autocast(features.device.type, enabled=False):
        gram, moment = _normal_equations(features, prior)
        weights = before.float()[..., None]
        left = moment[..., None] - gram @ weights  # the gradient where the proximal term is zero
        along, squared = left, left.transpose(1, 2) @ left
        for _ in range(_CONJUGATE_GRADIENTS):
            image = gram @ along + keep * along
            pace = squared / (along.transpose(1, 2) @ image).clamp(min=_TINY)
            weights = weights + pace * along
            left = left - pace * image
            was, squared = squared, left.transpose(1, 2) @ left
            along = left + squared / was.clamp(min=_TINY) * along
        return weights[..., 0]


def _normal_equations(features: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
    design = F.pad(features.float().flatten(2), (0, 0, 0, 1), value=1.0)  # (B, C + 1, G * G)
    answer = prior.float().flatten(1)
    weight = 1 + _POSITIVE_WEIGHT * answer
    weighted = design * (weight / weight.sum(1, keepdim=True))[:, None]
    return weighted @ design.transpose(1, 2), (weighted @ answer[..., None])[..., 0]


def _solve(gram: Tensor, moment: Tensor, ridge: Tensor) -> Tensor:
    gram = gram + ridge * torch.eye(gram.shape[-1], device=gram.device)
    # cholesky would make the host wait for the device, to see whether it failed (with a ridge it cannot), and so would
    # cholesky_solve, whose CUDA version allocates its own memory
    factor = torch.linalg.cholesky_ex(gram)[0]
    half = torch.linalg.solve_triangular(factor, moment[..., None], upper=False)
    return torch.linalg.solve_triangular(factor.mT, half, upper=True)[..., 0]
