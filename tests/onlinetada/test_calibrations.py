"""Calibrations start as the identity and stay there; their formulas, written out plainly."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from onlinetada import InputError, OnlineTAdaConv2d, TAdaConv2d
from onlinetada.calibrations import (
    CALIBRATIONS,
    CausalRouteFunction,
    GlobalFactors,
    LearnedFactors,
    OnlineCalibration,
    RouteFunction,
)


def disturb(module, scale=0.1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.data.add_(torch.randn(p.shape, generator=generator) * scale)
    return module


def factors(calibration, x):
    buffers = calibration.init_buffers(x.shape[0])
    return calibration.eval().advance(x, buffers)[0]


def by_type(m):
    if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
        nn.init.kaiming_normal_(m.weight)


def by_class_name(m):
    if any(part in type(m).__name__ for part in ("Conv", "Linear")) and getattr(m, "weight", None) is not None:
        nn.init.normal_(m.weight, 0, 0.02)


def by_dimension(m):
    for p in m.parameters(recurse=False):
        if p.dim() > 1:
            nn.init.xavier_uniform_(p)


@pytest.mark.parametrize("initialiser", [by_type, by_class_name, by_dimension])
@pytest.mark.parametrize("name", CALIBRATIONS)
@pytest.mark.parametrize("cal_dim", ["cin", "cout", "kernel"])
def test_starts_as_the_identity_and_survives_initialisers(name, cal_dim, initialiser):
    layer = TAdaConv2d(6, 4, 3, padding=1, cal_dim=cal_dim, calibration=name).eval()
    layer.apply(initialiser)
    x = torch.randn(2, 6, 5, 7, 7)
    plain = F.conv2d(x.transpose(1, 2).flatten(0, 1), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x).transpose(1, 2).flatten(0, 1), plain, atol=1e-6, rtol=1e-6)


def test_reset_parameters_goes_back_to_the_identity():
    layer = disturb(OnlineTAdaConv2d(4, 4, 3))
    assert (layer.calibration.head.taps != 0).any()
    layer.reset_parameters()
    assert (layer.calibration.head.taps == 0).all()
    assert (layer.calibration.head.offset == 0).all()


def test_route_function_is_the_articles_formula():
    c = disturb(RouteFunction(8, 6, reduction=2)).eval()
    x = torch.randn(2, 8, 5, 4, 4)
    v = x.mean((3, 4))
    u = v + F.conv1d(v.mean(2, keepdim=True), c.global_fc.weight, c.global_fc.bias)
    hidden = F.relu(c.norm(F.conv1d(F.pad(u, (1, 1)), c.squeeze.weight, c.squeeze.bias)))
    alpha = 1 + F.conv1d(F.pad(hidden, (1, 1)), c.head.taps.view(6, 4, 3))
    torch.testing.assert_close(factors(c, x).alpha, alpha)


def test_online_calibration_is_the_articles_formula():
    c = disturb(OnlineCalibration(4, 3))
    x = torch.randn(2, 4, 5, 3, 3)
    v = x.mean((3, 4))
    taps, offset = c.head.taps.view(4, 4, 3), c.head.offset
    for t in range(5):
        past = [v[:, :, max(0, s)] for s in (t - 2, t - 1, t)]
        out = 1 + offset + sum(p @ taps[:, :, k].T for k, p in enumerate(past))
        torch.testing.assert_close(factors(c, x).alpha[:, :, t], out[:, :3], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(factors(c, x).bias[:, :, t], out[:, 3:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("context", "mean"),
    [
        ("running_mean", lambda v, t: v[:, :, : t + 1].mean(2)),
        ("window", lambda v, t: torch.stack([v[:, :, max(0, t - k)] for k in range(4)]).mean(0)),
        ("exponential_mean", None),
    ],
)
def test_causal_context(context, mean):
    c = disturb(CausalRouteFunction(4, 4, context=context, context_window=4, decay=0.3, kernels=(1, 1)))
    x = torch.randn(2, 4, 9, 3, 3)
    v = x.mean((3, 4))
    g, running = [], v[:, :, 0]
    for t in range(9):
        running = 0.7 * running + 0.3 * v[:, :, t]
        g.append(running if mean is None else mean(v, t))
    u = v + c.global_fc(torch.stack(g, 2))
    expected = 1 + F.conv1d(F.relu(c.eval().norm(c.squeeze(u))), c.head.taps.view(4, 1, 1))
    torch.testing.assert_close(factors(c, x).alpha, expected, atol=1e-5, rtol=1e-5)


def test_temporally_varying_ablations_have_a_set_a_frame():
    x = torch.randn(2, 4, 6, 3, 3)
    for kind in (LearnedFactors, GlobalFactors):
        still = factors(disturb(kind(4, 4)), x).alpha
        moving = factors(disturb(kind(4, 4, num_frames=6)), x).alpha
        assert still.std(2).max() < 1e-6 < moving.std(2).max()
        with pytest.raises(InputError, match="factors for 3 frames, the clip has 6"):
            factors(kind(4, 4, num_frames=3), x)


def test_a_share_of_the_channels():
    layer = OnlineTAdaConv2d(8, 8, 3, calibration=partial(OnlineCalibration, share=0.25))
    disturb(layer.calibration)
    alpha = factors(layer.calibration, torch.randn(1, 8, 2, 5, 5)).alpha
    assert alpha.shape == (1, 2, 2)
    x = torch.randn(1, 8, 1, 5, 5)
    x[:, :2] = 0  # the calibrated channels carry nothing, so nothing may change but the bias
    plain = F.conv2d(x[:, :, 0], layer.weight)
    torch.testing.assert_close((layer(x)[:, :, 0] - plain).std((2, 3)), torch.zeros(1, 8), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: TAdaConv2d(4, 4, 3, calibration="routed"), "no calibration 'routed'; there are: route"),
        (lambda: OnlineTAdaConv2d(4, 4, 3, calibration="route"), "RouteFunction looks at later frames"),
        (lambda: TAdaConv2d(4, 4, 3, calibration=OnlineCalibration(8, 4)), "for 8 channels and 4 factors"),
        (lambda: TAdaConv2d(4, 4, 3, cal_dim="in"), "cal_dim must be one of"),
        (lambda: RouteFunction(4, 4, kernels=(2, 3)), "must be odd"),
        (lambda: OnlineCalibration(4, 4, share=0), "share must be above 0"),
        (lambda: OnlineCalibration(4, 4, window=0), "window must be at least 1"),
        (lambda: CausalRouteFunction(4, 4, context="mean"), "context must be one of running_mean"),
    ],
)
def test_wrong_choices_are_one_clear_line(make, says):
    with pytest.raises(InputError, match=says) as error:
        make()
    assert "\n" not in str(error.value)
