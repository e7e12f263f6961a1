"""The loss is low where the answer is right and only there."""

from __future__ import annotations

import pytest
import torch

from onlinetada.trackers.models.appearance import cell_centres, centre_prior
from onlinetada.trackers.models.compact import Prediction
from onlinetada.trackers.training.losses import box_overlap, losses

GRID = 12
TRUTH = torch.tensor([[20.0, -10.0, 60.0, 40.0]])


def right_answer() -> Prediction:
    prior = centre_prior(TRUTH, GRID, 16).flatten(1)
    boxes = TRUTH[:, None].expand(1, GRID * GRID, 4).clone()
    return Prediction(torch.logit(prior.clamp(1e-4, 1 - 1e-4)), boxes, torch.zeros_like(prior))


def test_cells_are_centred_as_crops_are() -> None:
    assert cell_centres(16, 16).tolist() == [16 * j + 8 - 128 for j in range(16)]


def test_prior_is_one_at_the_nearest_cell_and_zero_outside_of_the_ellipse() -> None:
    prior = centre_prior(torch.tensor([[8.0, 8.0, 64.0, 32.0], [9.0, 7.0, 2.0, 2.0]]), GRID, 16)
    assert prior[0, 6, 6] == 1 and prior[1, 6, 6] == 1
    assert prior[0, 6, 7] > 0 and prior[0, 6, 9] == 0 and prior[0, 8, 6] == 0
    assert (prior[1] > 0).sum() == 1


def test_right_answer_costs_nothing_and_wrong_ones_do() -> None:
    present = torch.tensor([True])
    right = losses(right_answer(), TRUTH, present)
    assert right.box == pytest.approx(0, abs=1e-5) and right.iou == pytest.approx(1, abs=1e-4)
    assert right.score < 1e-3
    moved = right_answer()._replace(boxes=right_answer().boxes + torch.tensor([15.0, 0, 0, 0]))
    assert losses(moved, TRUTH, present).box > 0.3
    inverted = right_answer()._replace(logits=-right_answer().logits)
    assert losses(inverted, TRUTH, present).score > 1


def test_absent_targets_ask_for_silence_and_teach_no_box() -> None:
    answer = right_answer()
    boxes = answer.boxes.requires_grad_()
    absent = losses(answer._replace(boxes=boxes), TRUTH, torch.tensor([False]))
    absent.box.backward()
    assert boxes.grad is not None and boxes.grad.abs().sum() == 0
    silent = answer._replace(logits=torch.full((1, GRID * GRID), -9.0))
    assert losses(silent, TRUTH, torch.tensor([False])).score < 1e-3 < absent.score


def test_rank_loss_is_high_where_something_else_wins() -> None:
    present = torch.tensor([True])
    right = right_answer()
    assert losses(right, TRUTH, present).rank < 0.02
    rival = right._replace(logits=right.logits.index_fill(1, torch.tensor([0]), right.logits.max().item()))
    assert losses(rival, TRUTH, present).rank == pytest.approx(0.69, abs=0.1)
    shifted = right._replace(logits=right.logits - 3)
    assert losses(shifted, TRUTH, present).rank == pytest.approx(float(losses(right, TRUTH, present).rank), abs=1e-4)


def test_rank_loss_of_absent_targets_is_nothing_and_has_no_gradient() -> None:
    logits = right_answer().logits.requires_grad_()
    rank = losses(right_answer()._replace(logits=logits), TRUTH, torch.tensor([False])).rank
    rank.backward()
    assert rank == 0 and logits.grad is not None and (logits.grad == 0).all()


def test_overlap_of_known_boxes() -> None:
    a = torch.tensor([0.0, 0, 10, 10])
    iou, generalised = box_overlap(a, torch.tensor([5.0, 0, 10, 10]))
    assert iou == pytest.approx(1 / 3, abs=1e-5) and generalised == pytest.approx(1 / 3, abs=1e-5)
    iou, generalised = box_overlap(a, torch.tensor([20.0, 0, 10, 10]))
    assert iou == 0 and generalised == pytest.approx(-1 / 3, abs=1e-5)
