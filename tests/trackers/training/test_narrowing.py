"""Narrow blocks come to say what the wide ones said, and nothing else changes."""

from __future__ import annotations

import pytest
import torch

from onlinetada.errors import InputError
from onlinetada.trackers.models.backbone import Lite0
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.batches import BatchOptions
from onlinetada.trackers.training.narrowing import NarrowingOptions, narrowed
from onlinetada.trackers.training.scenes import SceneOptions

BATCH = BatchOptions(pasted=2, still=1, real=1, scene=SceneOptions(frames=1, size=64, shift_px=10.0))


@pytest.fixture
def wide() -> Lite0:
    torch.manual_seed(0)
    return Lite0(depth=6).requires_grad_(False)


def test_it_learns_to_answer_like_the_wide_one(wide: Lite0, bank: Bank) -> None:
    errors: list[float] = []
    options = NarrowingOptions(iterations=200, pictures=4, blocks=3)
    before = {name: tensor.clone() for name, tensor in wide.state_dict().items()}
    narrow = narrowed(wide, (16, 3, 3), bank, BATCH, options, report=lambda _, error: errors.append(error))
    assert narrow.stem.weight.shape[0] == 16 and narrow.blocks[2].get_parameter("expand.weight").shape[0] == 72
    assert len(errors) == 2 and errors[-1] < 0.6  # the variance is 1
    for name, tensor in wide.state_dict().items():
        assert torch.equal(tensor, before[name])
        if name.startswith(("blocks.3", "blocks.4", "blocks.5")):
            assert torch.equal(tensor, narrow.state_dict()[name])


def test_as_wide_as_before_begins_without_an_error(wide: Lite0, bank: Bank) -> None:
    narrow = narrowed(wide, (32, 6), bank, BATCH, NarrowingOptions(iterations=1, pictures=4, learning_rate=0.0))
    for name, tensor in wide.state_dict().items():
        assert torch.equal(tensor, narrow.state_dict()[name])


def test_more_widths_than_are_trained(wide: Lite0, bank: Bank) -> None:
    with pytest.raises(InputError, match="only 1 blocks"):
        narrowed(wide, (16, 3), bank, BATCH, NarrowingOptions(blocks=1))
