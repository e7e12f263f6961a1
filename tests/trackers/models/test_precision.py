"""Backbones in bfloat16: float32 in and out, the same boxes within a pixel, state that steps as before."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from onlinetada.trackers.assemble import prepared
from onlinetada.trackers.models.compact import CompactNetwork, CompactOptions
from onlinetada.trackers.models.precision import backbone_dtype, backbone_in_bfloat16
from onlinetada.trackers.models.tctrack import TCTrack

CPU = torch.device("cpu")


def made(make: Any) -> tuple[Any, Any]:
    plain = make()
    half = make()
    half.load_state_dict(plain.state_dict())
    return prepared(plain, CPU), backbone_in_bfloat16(prepared(half, CPU))


@pytest.mark.parametrize(
    "make",
    [
        lambda: CompactNetwork(CompactOptions(search_size=128, depth=8)),
        lambda: CompactNetwork(
            CompactOptions(search_size=128, depth=8, calibration="online", calibrated_blocks=(6, 7))
        ),
        TCTrack,
    ],
    ids=["compact", "compact-online", "tctrack"],
)
@torch.no_grad()
def test_a_step_from_equal_state_is_within_a_pixel(make: Any) -> None:
    torch.manual_seed(0)
    plain, half = made(make)
    assert backbone_dtype(half) == torch.bfloat16 != backbone_dtype(plain)
    size, middle = plain.geometry.template_size, plain.geometry.template_size / 2
    template, search = (torch.rand(1, 3, s, s) * 255 for s in (size, plain.geometry.search_size))
    box = torch.tensor([[middle, middle, 40.0, 30.0]])
    states = [network.start(template, search, box) for network in (plain, half)]
    assert states[0].buffers.keys() == states[1].buffers.keys()
    for _ in range(3):
        for name, buffer in states[0].buffers.items():  # equal state, each in its own type
            states[1].buffers[name].copy_(buffer)
        (wanted, _), (given, _) = (n.step(search, s) for n, s in zip((plain, half), states, strict=True))
        assert given.boxes.dtype == given.scores.dtype == torch.float32
        best = int(wanted.scores.argmax())
        assert (wanted.boxes - given.boxes)[0, best].abs().max() < 1
        assert (wanted.scores - given.scores).abs().max() < 0.2  # deep features of noise, weights by chance
