"""Parity with the published code, and its weights, names and file interface."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from onlinetada import InputError, OnlineTAdaConv2d, TAdaConv2d, compat, load_published, published_state_dict
from onlinetada.functional import calibrated_conv2d

DATA = np.load(Path(__file__).parents[1] / "data" / "tadaconv_layers.npz")
CASES = [c for c in json.loads(str(DATA["spec"])) if "id" in c]
SAME_FACTORS = [c for c in CASES if c["conv"]["cal_dim"] == "cin" or c["conv"]["groups"] > 4]


def tensor(case, name):
    return torch.from_numpy(DATA[f"layer{case['id']}/{name}"])


def state_of(case):
    head = f"layer{case['id']}/state/"
    return {k.removeprefix(head): torch.from_numpy(DATA[k]) for k in DATA.files if k.startswith(head)}


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"layer{c['id']}")
@torch.no_grad()
def test_code_written_for_the_published_file_gives_the_published_numbers(case):
    module = nn.Module()
    module.rf, module.conv = compat.RouteFuncMLP(**case["route"]), compat.TAdaConv2d(**case["conv"])
    module.load_state_dict(state_of(case))
    module.eval()
    close(module.rf(tensor(case, "x")), tensor(case, "rf_out"))
    close(module.conv(tensor(case, "x"), tensor(case, "alpha")), tensor(case, "y"))


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"layer{c['id']}")
def test_function_gives_the_published_numbers(case):
    x, alpha, conv = tensor(case, "x"), tensor(case, "alpha"), case["conv"]
    state = state_of(case)
    y = calibrated_conv2d(
        x.transpose(1, 2).flatten(0, 1),
        state["conv.weight"][0, 0],
        alpha[..., 0, 0].transpose(1, 2).flatten(0, 1),
        state["conv.bias"][0, 0] if conv["bias"] else None,
        *(tuple(conv[k][1:]) for k in ("stride", "padding", "dilation")),
        conv["groups"],
        cal_dim=conv["cal_dim"],
    )
    close(y.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2), tensor(case, "y"))


@pytest.mark.parametrize("case", SAME_FACTORS, ids=lambda c: f"layer{c['id']}")
@torch.no_grad()
def test_layer_loads_published_weights_and_saves_them_back(case):
    space = {k: tuple(case["conv"][k][1:]) for k in ("kernel_size", "stride", "padding", "dilation")}
    layer = TAdaConv2d(**{**case["conv"], **space}).eval()
    published = state_of(case)
    load_published(layer, published)
    close(layer(tensor(case, "x")), tensor(case, "y"))
    back = published_state_dict(layer)
    assert back.keys() == published.keys()
    assert all(torch.equal(back[k], published[k]) for k in published)


@pytest.mark.parametrize("calibration", ["online", "attention", "route"])
def test_round_trip_inside_a_network(calibration):
    def network():
        net = nn.Sequential(nn.Conv2d(3, 16, 1), TAdaConv2d(16, 16, 3, calibration=calibration), nn.BatchNorm2d(16))
        for p in net.parameters():
            p.data.normal_()
        return net.eval()

    source, target, x = network(), network(), torch.randn(2, 3, 6, 6)
    published = published_state_dict(source)
    assert published["1.weight"].shape == (1, 1, 16, 16, 3, 3)
    assert ("1_rf.a.weight" in published) == (calibration == "route")
    load_published(target, published)
    assert torch.equal(source(x), target(x))


def test_online_layer_has_the_published_names():
    published = published_state_dict(OnlineTAdaConv2d(8, 6, 3))
    shapes = {k: tuple(v.shape) for k, v in published.items()}
    assert shapes == {
        "weight": (1, 1, 6, 8, 3, 3),
        "bias": (1, 1, 6),
        "temporalconv.weight": (8, 8, 3, 1, 1),
        "temporalconv.bias": (8,),
        "fc.weight": (1, 8, 3, 1, 1),
        "fc.bias": (1,),
    }


def changed(**changes):
    state = published_state_dict(OnlineTAdaConv2d(4, 4, 3))
    for name, value in changes.items():
        name = name.replace("__", ".")
        if value is None:
            del state[name]
        else:
            state[name] = value
    return state


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (changed(bias=None), "bias is missing in the state dict"),
        (changed(weight=None), "weight is missing in the state dict"),
        (changed(extra=torch.zeros(1)), "extra has no place"),
        (changed(weight=torch.zeros(1, 1, 4, 4, 5, 5)), r"weight has shape \(4, 4, 5, 5\) in the file"),
        (changed(temporalconv__weight=torch.zeros(9, 4, 3, 1, 1)), "makes 10 factors, the layer takes 5"),
        (published_state_dict(TAdaConv2d(4, 4, 3)), "calibration.head.taps is missing in the state dict"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(state, says):
    layer = OnlineTAdaConv2d(4, 4, 3)
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    with pytest.raises(InputError, match=says) as error:
        load_published(layer, state)
    assert "\n" not in str(error.value)
    assert all(torch.equal(v, before[k]) for k, v in layer.state_dict().items())


def test_compat_starts_at_one_and_checks_sizes():
    x = torch.randn(2, 8, 3, 5, 5)
    assert torch.equal(compat.RouteFuncMLP(8, 4, [3, 3]).eval()(x), torch.ones(2, 8, 3, 1, 1))
    with pytest.raises(InputError, match="kernel_size must be 1 in time"):
        compat.TAdaConv2d(4, 4, [3, 3, 3])
