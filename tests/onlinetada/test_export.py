"""An exported step is the same step: ONNX Runtime and torch.export against eager, several batches from one file."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from onlinetada import InputError, OnlineTAdaConv2d, TAdaConv2d, TemporalAggregation, init_state, step
from onlinetada.export import export_onnx, export_program, load_step

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def network(calibration):
    torch.manual_seed(0)
    net = nn.Sequential(
        OnlineTAdaConv2d(3, 16, 3, padding=1, calibration=calibration),
        nn.ReLU(),
        OnlineTAdaConv2d(16, 8, 3, groups=2, calibration=calibration),
        TemporalAggregation(8, causal=True),
    )
    for p in net.parameters():
        p.data.add_(torch.randn_like(p) * 0.1)
    return net.eval()


@pytest.mark.parametrize("calibration", ["online", "causal_route", "attention"])
@pytest.mark.parametrize(("write", "suffix"), [(export_onnx, ".onnx"), (export_program, ".pt2")])
def test_one_file_serves_every_batch(tmp_path, calibration, write, suffix):
    net = network(calibration)
    exported = load_step(write(net, torch.randn(1, 3, 16, 16), tmp_path / f"step{suffix}"))
    for batch in (1, 3):
        state, reference = exported.init_state(batch), init_state(net, batch)
        with torch.no_grad():
            for t in range(5):
                if t == 3:
                    state.reset([0])
                    reference.reset([0])
                    state.freeze([batch - 1])
                    reference.freeze([batch - 1])
                frame = torch.randn(batch, 3, 16, 16)
                y, _ = exported.step(frame, state)
                expected, _ = step(net, frame, reference)
                torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)
        assert state["0.seen"].tolist() == reference["0.seen"].tolist()


def test_inputs_and_outputs_are_named(tmp_path):
    import onnxruntime

    path = export_onnx(OnlineTAdaConv2d(3, 4, 3).eval(), torch.randn(1, 3, 8, 8), tmp_path / "layer.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["frame", "past", "seen"]
    assert [o.name for o in session.get_outputs()] == ["output", "next.past", "next.seen"]


def test_several_outputs_and_peeking(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = OnlineTAdaConv2d(3, 4, 3)

        def forward(self, x):
            y = self.conv(x)
            return {"a": y, "b": y.mean((2, 3))}

    exported = load_step(export_program(Two().eval(), torch.randn(1, 3, 8, 8), tmp_path / "two.pt2"))
    state = exported.init_state(2)
    (a, b), _ = exported.step(torch.randn(2, 3, 8, 8), state, commit=False)
    assert a.shape == (2, 4, 6, 6)
    assert b.shape == (2, 4)
    assert state["conv.seen"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: load_step(p / "none.onnx"), "there is no file"),
        (lambda p: load_step(__file__), "ends in .onnx or .pt2"),
        (lambda p: export_onnx(OnlineTAdaConv2d(3, 4, 3), torch.zeros(1, 3, 8, 8), p / "a.onnx"), "training mode"),
        (lambda p: export_onnx(TAdaConv2d(3, 4, 3).eval(), torch.zeros(1, 3, 8, 8), p / "a.onnx"), "cannot run live"),
        (lambda p: export_program(nn.Conv2d(3, 4, 3).eval(), torch.zeros(1, 3, 8, 8), p / "a.pt2"), "no state"),
    ],
)
def test_wrong_input_is_one_clear_line(tmp_path, call, says):
    with pytest.raises(InputError, match=says):
        call(tmp_path)
