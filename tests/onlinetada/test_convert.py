"""Converting a network changes nothing until it is trained, and says what it did."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from onlinetada import InputError, OnlineTAdaConv2d, TAdaConv2d, convert, converted_layers, from_conv, streaming


class Residual(nn.Module):
    def __init__(self, channels, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=4, padding_mode="reflect")

    def forward(self, x):
        return torch.relu(self.conv2(torch.relu(self.bn(self.conv1(x)))))


def network():
    torch.manual_seed(0)
    stem = nn.Conv2d(3, 8, 7, 2, 3)
    return nn.Sequential(stem, nn.Sequential(Residual(8), Residual(8)), Residual(8), nn.Conv2d(8, 5, 1)).eval()


@pytest.mark.parametrize("calibration", ["online", "causal_route", "attention", "route", "learned", "global"])
@pytest.mark.parametrize("cal_dim", ["cin", "cout", "kernel"])
def test_output_and_weights_are_kept(calibration, cal_dim):
    net, x = network(), torch.randn(2, 3, 32, 32)
    before, weights = net(x), {n: p for n, p in net.named_parameters()}
    assert convert(net, calibration=calibration, cal_dim=cal_dim) is net
    torch.testing.assert_close(net(x), before, atol=1e-6, rtol=1e-6)
    after = dict(net.named_parameters())
    assert all(after[n] is p for n, p in weights.items())
    assert len(converted_layers(net)) == 8


def test_three_dimensional_networks():
    net = nn.Sequential(nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1)), nn.ReLU(), nn.Conv3d(4, 4, (3, 1, 1))).eval()
    x = torch.randn(2, 3, 6, 9, 9)
    before = net(x)
    convert(net, calibration="route")
    torch.testing.assert_close(net(x), before, atol=1e-6, rtol=1e-6)
    assert isinstance(net[0], TAdaConv2d)
    assert type(net[2]) is nn.Conv3d


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"names": "1.*"}, {"1.0.conv1", "1.0.conv2", "1.1.conv1", "1.1.conv2"}),
        ({"names": ["*.conv1"]}, {"1.0.conv1", "1.1.conv1", "2.conv1"}),
        ({"stages": "2"}, {"2.conv1", "2.conv2"}),
        ({"stages": ["1.1", "2"], "names": "*conv2"}, {"1.1.conv2", "2.conv2"}),
        ({"kernel_sizes": {7, (1, 1)}}, {"0", "3"}),
    ],
)
def test_choosing(options, expected):
    assert {c.name for c in converted_layers(convert(network(), **options))} == expected


def test_share_and_options_reach_the_calibration():
    layers = converted_layers(convert(network(), names="2.conv1", share=0.5, window=5))
    assert [layer.num_factors for layer in layers] == [4]
    assert "2.conv1: OnlineTAdaConv2d 8->8 3x3, OnlineCalibration, 4 factors" in str(layers[0])


def test_a_single_convolution_and_shared_ones():
    assert isinstance(convert(nn.Conv2d(3, 4, 3)), OnlineTAdaConv2d)
    shared = nn.Conv2d(4, 4, 1)
    net = convert(nn.ModuleList([shared, nn.Sequential(shared)]))
    assert net[0] is net[1][0]


def test_keeps_mode_dtype_and_frozen_weights():
    conv = nn.Conv2d(3, 4, 3, dtype=torch.float64).eval()
    conv.weight.requires_grad_(False)
    layer = from_conv(conv)
    assert not layer.training
    assert not layer.weight.requires_grad
    assert layer.calibration.head.taps.dtype == torch.float64


def test_a_converted_network_runs_live():
    net = convert(network())
    with torch.no_grad(), streaming(net, batch_size=2) as state:
        for _ in range(3):
            net(torch.randn(2, 3, 32, 32))
    assert state["1.0.conv1.seen"].tolist() == [3, 3]


class Odd(nn.Conv2d):
    pass


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: convert(network(), names="layer9.*"), "no convolution matches. It has 8 convolutions"),
        (lambda: convert(nn.Linear(2, 2)), "has no nn.Conv2d"),
        (lambda: convert(nn.Sequential(nn.Conv3d(3, 3, 3)), names="0"), "its temporal kernel is 3"),
        (lambda: convert(nn.Sequential(nn.Conv3d(3, 3, 1, padding=1)), names="0"), "temporal stride or padding"),
        (lambda: convert(nn.Sequential(Odd(3, 3, 1)), names="0"), "whose own forward would be lost"),
        (lambda: convert(nn.Sequential(nn.Linear(3, 3)), names="0"), "it is a Linear"),
        (lambda: convert(network(), calibration="on-line"), "no calibration 'on-line'"),
        (lambda: convert(network(), windw=3), "does not take these options"),
    ],
)
def test_what_cannot_be_converted_is_said_in_one_line(call, says):
    with pytest.raises(InputError, match=says) as error:
        call()
    assert "\n" not in str(error.value)
