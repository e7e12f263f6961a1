"""Calibrated convolution against one kernel a sample."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinetada import InputError
from onlinetada.functional import calibrated_conv1d, calibrated_conv2d, calibrated_conv3d

_spec = importlib.util.spec_from_file_location("oracle", Path(__file__).with_name("oracle.py"))
oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(oracle)
FORMS = {1: calibrated_conv1d, 2: calibrated_conv2d, 3: calibrated_conv3d}


@st.composite
def cases(draw):
    nd = draw(st.sampled_from([1, 2, 2, 2, 3]))
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    c_in, c_out = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    n, k, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    options = {
        "stride": draw(st.integers(1, 2)),
        "padding": draw(st.integers(0, 2)),
        "dilation": dilation,
        "groups": groups,
    }
    if options["stride"] == 1:
        options["padding"] = draw(st.sampled_from([options["padding"], "same", "valid"]))
    bias = draw(st.sampled_from([None, (c_out,), (n, c_out), (n, 1)]))
    cal_dim = draw(st.sampled_from(["cin", "cout", "kernel"]))
    size = dilation * (k - 1) + draw(st.integers(1, 12 if nd < 3 else 3))
    torch.manual_seed(draw(st.integers(0, 1000)))
    alpha_shape = {"cin": (n, c_in), "cout": (n, c_out), "kernel": (n, *[k] * nd)}[cal_dim]
    x = torch.randn(n, c_in, *[size] * nd)
    if nd == 2 and draw(st.booleans()):
        x = x.contiguous(memory_format=torch.channels_last)
    return (
        nd,
        (x, torch.randn(c_out, c_in // groups, *[k] * nd), torch.randn(alpha_shape)),
        {"bias": None if bias is None else torch.randn(bias), "cal_dim": cal_dim, **options},
    )


@settings(max_examples=150, deadline=None)
@given(cases(), st.booleans())
def test_equals_one_kernel_a_sample(case, with_grad):
    nd, tensors, options = case
    expected = oracle.calibrated_conv(*tensors, **options)
    tensors = [t.requires_grad_(with_grad) for t in tensors]
    y = FORMS[nd](*tensors, **options)
    assert y.shape == expected.shape
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cal_dim", ["cin", "cout", "kernel"])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("n", [1, 3])
def test_gradients_equal_those_of_one_kernel_a_sample(cal_dim, groups, n):
    torch.manual_seed(0)
    shapes = [(n, 4, 7, 7), (4, 4 // groups, 3, 3), (n, 3, 3) if cal_dim == "kernel" else (n, 4), (n, 4)]
    grads = []
    for form in (calibrated_conv2d, oracle.calibrated_conv):
        torch.manual_seed(1)
        leaves = [torch.randn(s, requires_grad=True) for s in shapes]
        form(*leaves, padding=1, groups=groups, cal_dim=cal_dim).square().sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)


def test_never_builds_a_kernel_a_sample():
    """Peak memory: 64 samples of a 256 -> 256 layer would need 151 MB of kernels."""
    n, c = 64, 256
    x, weight, alpha = torch.randn(n, c, 3, 3), torch.randn(c, c, 3, 3), torch.rand(n, c)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    for cal_dim, factors in (("cin", alpha), ("cout", alpha), ("kernel", torch.rand(n, 3, 3))):
        with Watch():
            calibrated_conv2d(x, weight, factors, padding=1, cal_dim=cal_dim)
        assert largest <= max(weight.numel(), 9 * x.numel())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_keeps_the_dtype(dtype):
    y = calibrated_conv2d(
        torch.randn(2, 4, 5, 5, dtype=dtype), torch.randn(4, 4, 3, 3, dtype=dtype), torch.rand(2, 4, dtype=dtype)
    )
    assert y.dtype == dtype


def test_input_is_not_changed():
    x, weight, alpha = torch.randn(2, 4, 5, 5), torch.randn(4, 1, 3, 3), torch.rand(2, 4)
    before = x.clone(), weight.clone(), alpha.clone()
    with torch.inference_mode():
        for cal_dim in ("cin", "cout"):
            calibrated_conv2d(x, weight, alpha, groups=4, cal_dim=cal_dim)
    assert all(torch.equal(a, b) for a, b in zip(before, (x, weight, alpha), strict=True))


X, W, A = torch.randn(2, 4, 5, 5), torch.randn(6, 4, 3, 3), torch.rand(2, 4)


@pytest.mark.parametrize(
    ("args", "options", "says"),
    [
        ((X, W, A), {"cal_dim": "time"}, "cal_dim must be one of cin, cout, kernel"),
        ((X[0], W, A), {}, "x must have 4 dimensions"),
        ((X[:, :3], W, A), {}, "takes 4 channels"),
        ((X, W, A[:1]), {}, r"alpha must have shape \(2, 4\)"),
        ((X, W, A), {"cal_dim": "cout"}, r"alpha must have shape \(2, 6\)"),
        ((X, W, A), {"bias": torch.zeros(4)}, r"bias must have shape \(6,\)"),
        ((X.double(), W, A), {}, "x is torch.float64, weight is torch.float32"),
        ((X, W.to("meta"), A), {}, "weight is on meta"),
    ],
)
def test_wrong_input_is_one_clear_line(args, options, says):
    with pytest.raises(InputError, match=says) as error:
        calibrated_conv2d(*args, **options)
    assert "\n" not in str(error.value)
