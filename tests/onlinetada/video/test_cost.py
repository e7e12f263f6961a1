"""Costs against published ones and against counting by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from onlinetada import TAdaConv2d
from onlinetada.video import build
from onlinetada.video.cost import count


def cost_of(name, shape, **options):
    with torch.device("meta"):
        network = build(name, num_classes=400, **options)
    return count(network, shape)


@pytest.mark.parametrize(
    ("name", "shape", "giga", "mega"),
    [
        ("tadaconvnextv2_t", (1, 3, 16, 256, 256), 47, None),  # as its authors' model zoo says
        ("slowfast_4x16", (1, 3, 32, 256, 256), 36.1, 34.5),
        ("r3d_18", (1, 3, 16, 112, 112), 40.7, 33.37),
        ("r2plus1d_18", (1, 3, 16, 112, 112), 40.5, 31.51),
    ],
)
def test_published_costs(name, shape, giga, mega):
    cost = cost_of(name, shape)
    assert cost.multiply_adds / 1e9 == pytest.approx(giga, rel=0.01)
    assert mega is None or cost.parameters / 1e6 == pytest.approx(mega, rel=0.005)


def test_one_layer_by_hand():
    layer = TAdaConv2d(16, 32, 3, padding=1, bias=False, calibration="route")
    cost = count(layer, (2, 16, 4, 8, 8))
    (own,) = cost.layers
    frames, pixels = 2 * 4, 64
    assert own.multiply_adds == frames * pixels * 16 * 32 * 9
    assert own.parameters == 16 * 32 * 9
    # the clip's linear map is once a clip, the two convolutions of three taps once a frame
    assert own.route_multiply_adds == 2 * 16 * 16 + frames * (3 * 16 * 4 + 3 * 4 * 16)
    assert own.pixel_multiply_adds == 2 * frames * pixels * 16
    assert own.calibration_parameters == sum(p.numel() for p in layer.calibration.parameters())
    assert "%" in str(cost)


def test_calibration_is_a_thousandth_and_a_2_plus_1_d_kernel_a_third():
    tada, plain = (cost_of("tada2d_r50", (1, 3, 8, 224, 224), tada=tada) for tada in (True, False))
    assert tada.route / tada.multiply_adds < 0.001
    assert tada.multiply_adds - tada.route - tada.pixels == plain.multiply_adds
    assert tada.parameters == pytest.approx(27.5e6, rel=0.005)
    space = nn.Conv3d(8, 8, (1, 3, 3), padding=(0, 1, 1), bias=False)
    both = nn.Sequential(space, nn.Conv3d(8, 8, (3, 1, 1), padding=(1, 0, 0), bias=False))
    one, two = (count(m, (1, 8, 4, 8, 8)).multiply_adds for m in (space, both))
    assert two / one == pytest.approx(4 / 3)
