"""Causal temporal stride, 3-d calibration and short clips."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from onlinetada import InputError, OnlineConv3d, TAdaConv3d, TemporalAvgPool, TemporalStride
from onlinetada.calibrations import FactorHead


def disturbed(layer):
    for module in layer.modules():
        if isinstance(module, FactorHead):
            nn.init.normal_(module.taps, std=0.3)
    return layer.eval()


@pytest.mark.parametrize("window", [3, 5])
@pytest.mark.parametrize("frames", [1, 2, 3, 7])
def test_pooling_counts_frames_outside_the_clip_as_zero(window, frames):
    x = torch.randn(2, 3, frames, 4, 5)
    padded = F.pad(x, (0, 0, 0, 0, window // 2, window // 2))
    torch.testing.assert_close(TemporalAvgPool(window)(x), F.avg_pool3d(padded, (window, 1, 1), 1))


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (1, 2), (2, 2), (5, 4), (3, 1), (1, 3)])
def test_strided_outputs_are_every_sth_of_the_unstrided_ones(kernel, stride):
    strided = OnlineConv3d(2, 3, (kernel, 3, 3), padding=1, temporal_stride=stride)
    dense = OnlineConv3d(2, 3, (kernel, 3, 3), padding=1)
    dense.load_state_dict(strided.state_dict())
    x = torch.randn(2, 2, 9, 5, 5)
    torch.testing.assert_close(strided(x), dense(x)[:, :, stride - 1 :: stride], atol=1e-5, rtol=1e-5)
    assert torch.equal(TemporalStride(stride)(x), x[:, :, stride - 1 :: stride])


def test_a_clip_shorter_than_the_stride_is_refused():
    with pytest.raises(InputError, match="shorter than the temporal stride"):
        TemporalStride(4)(torch.zeros(1, 1, 3, 2, 2))


@pytest.mark.parametrize("calibration", ["route", "causal_route"])
@pytest.mark.parametrize("stride", [1, 2])
@torch.no_grad()
def test_every_output_frame_has_a_3d_kernel_of_its_own(calibration, stride):
    layer = disturbed(TAdaConv3d(4, 6, (3, 3, 3), 2, temporal_stride=stride, calibration=calibration))
    x = torch.randn(2, 4, 8, 6, 6)
    alpha = layer.calibration.advance(x, layer.calibration.init_buffers(2))[0].alpha
    causal = layer.causal
    assert causal == (calibration == "causal_route")
    if causal:
        padded = torch.cat([x[:, :, :1]] * 2 + [x], 2)
    else:
        padded = F.pad(x, (0, 0, 0, 0, 1, 1))
    times = range(stride - 1, 8, stride) if causal else range(0, 8, stride)
    y = layer(x)
    assert y.shape == (2, 6, len(times), 3, 3)
    for i, t in enumerate(times):
        for b in range(2):
            kernel = layer.weight * alpha[b, :, t].view(1, -1, 1, 1, 1)
            wanted = F.conv3d(padded[b : b + 1, :, t : t + 3], kernel, None, (1, 2, 2), (0, 1, 1))
            torch.testing.assert_close(y[b, :, i], wanted[0, :, 0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_attention_over_time_sees_a_window_and_no_more():
    layer = TAdaConv3d(8, 8, (1, 1, 1), calibration="causal_route_v2")
    calibration = disturbed(layer).calibration
    x = torch.randn(1, 8, 30, 2, 2)
    other = x.clone()
    other[:, :, 10] += 5
    a, b = (calibration.advance(clip, calibration.init_buffers(1))[0].alpha for clip in (x, other))
    reach = 10 + 2 + (calibration.window - 1) + 2  # two convolutions of three taps around the attention
    changed = ((a - b).abs().amax((0, 1)) > 1e-7).nonzero().flatten().tolist()
    assert changed[0] == 10 and changed[-1] <= reach and len(changed) > 5
