"""Every row of the ablations is a network that the row's name describes."""

from __future__ import annotations

import pytest
import torch

from onlinetada import TAdaConv2d, TemporalAggregation
from onlinetada.video import ABLATIONS, build

_SHAPE = {"depths": (1, 1, 1, 1), "widths": (8, 64, 64, 64, 64), "num_classes": 3}


@pytest.mark.parametrize("row", ABLATIONS)
def test_a_row_builds_and_runs(row):
    torch.manual_seed(0)
    network = build("tada2d_r18", **_SHAPE, **ABLATIONS[row](4)).train()
    network(torch.rand(2, 3, 4, 32, 32)).sum().backward()
    calibrated = [n for n, m in network.named_modules() if isinstance(m, TAdaConv2d)]
    pooled = [n for n, m in network.named_modules() if isinstance(m, TemporalAggregation)]
    assert len({str(o) for o in map(str, calibrated)}) == {"none": 0, "pooling, no calibration": 0}.get(
        row, len(row.removeprefix("stages ").split("-")) if row.startswith("stages ") else 4
    )
    assert bool(pooled) == (row not in ("none", "learned", "learned, varying", "dynamic", "dynamic, varying",
                                         "adaptive", "no pooling", "shared norm"))  # fmt: skip


def test_shares_and_dimensions():
    def factors(row):
        network = build("tada2d_r18", **_SHAPE, **ABLATIONS[row](4))
        return [m.calibration.num_factors for m in network.modules() if isinstance(m, TAdaConv2d)]

    assert factors("share 1/64") == [1, 1, 1, 1]
    assert factors("share 1/2") == [4, 32, 32, 32]
    assert factors("kernel") == [9, 9, 9, 9]
    assert factors("cout") == [64, 64, 64, 64]


def test_rows_differ_where_they_say():
    assert ABLATIONS["learned, varying"](8)["num_frames"] == 8
    assert "num_frames" not in ABLATIONS["learned"](8)
    assert ABLATIONS["local, linear"](8) == {"context": "local", "linear": True}
