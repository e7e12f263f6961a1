"""Blocks that are trained for bytes answer better in bytes, and rounding is what it says."""

from __future__ import annotations

import pytest
import torch

from onlinetada.trackers.models.backbone import LITE0_BLOCKS, InvertedResidual, Lite0
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.batches import BatchOptions
from onlinetada.trackers.training.rounding import RoundedBlock, RoundingOptions, made_for_int8, round_in
from onlinetada.trackers.training.scenes import SceneOptions

BATCH = BatchOptions(pasted=2, still=1, real=1, scene=SceneOptions(frames=1, size=64, shift_px=10.0))


def test_rounding_gives_the_nearest_of_256_values_and_leaves_gradients_inside_alone() -> None:
    x = torch.linspace(-1.5, 4, 101, requires_grad=True)
    y = round_in(x, -1.0, 3.0)
    step = 4 / 255
    inside = (x > -1) & (x < 3)
    given = y.detach()
    assert (given - x.detach())[inside].abs().max() <= step / 2 + 1e-6
    assert given.min().item() == pytest.approx(-1, abs=step) and given.max().item() == pytest.approx(3, abs=step)
    assert torch.unique(given).numel() <= 256 and round_in(torch.zeros(1), -1.0, 3.0) == 0
    y.sum().backward()
    gradient, beyond = x.grad, (x < -1.1) | (x > 3.1)
    assert gradient is not None and bool((gradient[inside] == 1).all()) and bool((gradient[beyond] == 0).all())


@pytest.mark.parametrize("index", [0, 1, 2, 5])
def test_a_rounded_block_is_near_the_block(index: int) -> None:
    torch.manual_seed(0)
    block = InvertedResidual(LITE0_BLOCKS[index], cell_centred=index == 5)
    x = torch.randn(2, LITE0_BLOCKS[index].in_channels, 16, 16)
    with torch.no_grad():
        wanted, given = block(x), RoundedBlock(block)(x)
    assert 0 < (given - wanted).std() < 0.1 * wanted.std()


def test_training_makes_up_for_some_of_the_rounding(bank: Bank) -> None:
    torch.manual_seed(0)
    backbone = Lite0(depth=6, widths=(16, 2, 2)).requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    errors: list[float] = []
    options = RoundingOptions(iterations=120, pictures=4, blocks=3)
    made = made_for_int8(backbone, bank, BATCH, options, report=lambda _, error: errors.append(error))
    assert errors[-1] < errors[0]
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name])
        if name.startswith(("stem", "blocks.3", "blocks.4", "blocks.5")):
            assert torch.equal(tensor, made.state_dict()[name])
