"""Calibrated convolution, W_n = alpha_n * W for every sample n, without ever building the N kernels.

Exact identities decide the form (TAdaConv, arXiv 2110.06178, eq. 2, for the layer itself):

    cin     conv(x_n, alpha_n * W) == conv(alpha_n * x_n, W)
    cout    conv(x_n, alpha_n * W) == alpha_n * conv(x_n, W)
    one input channel a group (depthwise): cin may be applied on either side
    kernel  sum over the kernel's positions; unfolded once, scaled, one matrix product
    N == 1  alpha may be folded into the one kernel, where the kernel is the smallest of the three
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from onlinetada.errors import InputError

CalDim = Literal["cin", "cout", "kernel"]
IntOrInts = int | Sequence[int]
Padding = int | Sequence[int] | str

_PART_BYTES = 2 << 20  # stays in a core's share of the cache, with room for the output
_CONVS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def calibrated_conv1d(
    x: Tensor,
    weight: Tensor,
    alpha: Tensor,
    bias: Tensor | None = None,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    cal_dim: CalDim = "cin",
) -> Tensor:
    """`calibrated_conv2d` for x (N, C_in, L) and weight (C_out, C_in / groups, k)."""
    return _calibrated_conv(1, x, weight, alpha, bias, stride, padding, dilation, groups, cal_dim)


def calibrated_conv2d(
    x: Tensor,
    weight: Tensor,
    alpha: Tensor,
    bias: Tensor | None = None,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    cal_dim: CalDim = "cin",
) -> Tensor:
    """2-d convolution whose kernel is scaled for every sample: y_n = conv(x_n, alpha_n * weight) + bias_n.

    Args:
        x: (N, C_in, H, W). Frames of clips are samples: N = B * T.
        weight: (C_out, C_in / groups, kh, kw), shared by all samples.
        alpha: (N, C_in) for "cin" (also with groups), (N, C_out) for "cout", (N, kh, kw) for "kernel".
        bias: (C_out,), or one a sample: (N, C_out) or (N, 1). It is not scaled by alpha.
        stride, padding, dilation, groups: as in ``torch.nn.functional.conv2d``.
        cal_dim: which dimension of the kernel alpha scales.

    Returns:
        (N, C_out, H', W')

    Raises:
        InputError: shapes, dtypes or devices that do not fit, and an unknown ``cal_dim``.
    """
    return _calibrated_conv(2, x, weight, alpha, bias, stride, padding, dilation, groups, cal_dim)


def calibrated_conv3d(
    x: Tensor,
    weight: Tensor,
    alpha: Tensor,
    bias: Tensor | None = None,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
    *,
    cal_dim: CalDim = "cin",
) -> Tensor:
    """`calibrated_conv2d` for x (N, C_in, D, H, W) and weight (C_out, C_in / groups, kd, kh, kw)."""
    return _calibrated_conv(3, x, weight, alpha, bias, stride, padding, dilation, groups, cal_dim)


def _calibrated_conv(
    nd: int,
    x: Tensor,
    weight: Tensor,
    alpha: Tensor,
    bias: Tensor | None,
    stride: IntOrInts,
    padding: Padding,
    dilation: IntOrInts,
    groups: int,
    cal_dim: CalDim,
) -> Tensor:
    _check(nd, x, weight, alpha, bias, groups, cal_dim)
    options = (stride, padding, dilation, groups)
    rows = _rows_at_once(x, weight, cal_dim)
    if rows is None:
        return _whole(nd, x, weight, alpha, bias, options, cal_dim)
    y: Tensor | None = None
    for start in range(0, x.shape[0], rows):
        part = slice(start, start + rows)
        own_bias = bias if bias is None or bias.dim() == 1 else bias[part]
        done = _whole(nd, x[part], weight, alpha[part], own_bias, options, cal_dim)
        y = done.new_empty(x.shape[0], *done.shape[1:]) if y is None else y
        y[part] = done
    assert y is not None  # noqa: S101 - there are two samples at least
    return y


def _rows_at_once(x: Tensor, weight: Tensor, cal_dim: CalDim) -> int | None:
    """Samples to take at once so that what is made for them stays in the cache; None: all.

    On a CPU a large scaled copy of x costs more in fresh memory than in arithmetic, and so do the reorderings that the
    convolution itself makes of NCHW tensors: in parts the whole is often faster than the plain convolution.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled() or x.device.type != "cpu" or not x.is_contiguous():
        return None
    if x.element_size() < 4 and (cal_dim == "cout" or weight.shape[1] == 1):
        return None  # half floats scaled in place: nothing large is made
    size, kernel = x.numel() * x.element_size(), weight.numel() * weight.element_size()
    part = max(_PART_BYTES * torch.get_num_threads(), 16 * kernel)  # the kernel is reordered for every part
    if size < 2 * part or x.shape[0] < 2:
        return None
    return max(1, part * x.shape[0] // size)


def _whole(
    nd: int,
    x: Tensor,
    weight: Tensor,
    alpha: Tensor,
    bias: Tensor | None,
    options: tuple[IntOrInts, Padding, IntOrInts, int],
    cal_dim: CalDim,
) -> Tensor:
    conv, groups = _CONVS[nd], options[3]
    # Comparing N would fix it in a traced graph, and a compiler fuses the scaling anyway.
    if not torch.compiler.is_compiling() and x.shape[0] == 1:
        bias = bias if bias is None or bias.dim() == 1 else bias[0].expand(weight.shape[0])
        if _kernel_is_smallest(x, weight, cal_dim):
            return conv(x, weight * _kernel_factors(weight, alpha, groups, cal_dim), bias, *options)
    if cal_dim == "kernel":
        return _add_bias(_kernel_calibrated(nd, x, weight, alpha, *options), bias, nd)
    if cal_dim == "cin" and weight.shape[1] == 1 and weight.shape[0] <= x.shape[1]:
        cal_dim = "cout"  # depthwise: both sides are equal, and the output is written anyway
    if cal_dim == "cin":
        shared = bias is None or bias.dim() == 1
        y = conv(x * _spread(alpha, nd), weight, bias if shared else None, *options)
        return y if shared else _add_bias(y, bias, nd)
    return _scale_and_shift(conv(x, weight, None, *options), _spread(alpha, nd), bias, nd)


def _kernel_is_smallest(x: Tensor, weight: Tensor, cal_dim: CalDim) -> bool:
    return cal_dim == "kernel" or 2 * weight.numel() <= x.numel()


def _kernel_factors(weight: Tensor, alpha: Tensor, groups: int, cal_dim: CalDim) -> Tensor:
    """alpha of one sample, shaped to scale (C_out, C_in / groups, ...)."""
    spatial = [1] * (weight.dim() - 2)
    if cal_dim == "kernel":
        return alpha[None]
    if cal_dim == "cout":
        return alpha.view(-1, 1, *spatial)
    by_group = alpha.view(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1)
    return by_group.reshape(*weight.shape[:2], *spatial)


def _kernel_calibrated(
    nd: int,
    x: Tensor,
    weight: Tensor,
    alpha: Tensor,
    stride: IntOrInts,
    padding: Padding,
    dilation: IntOrInts,
    groups: int,
) -> Tensor:
    """Scale the view of x at every kernel position; then positions are input channels of a 1x1 convolution."""
    size = weight.shape[2:]
    stride, dilation = _ints(stride, nd), _ints(dilation, nd)
    x = F.pad(x, _pad_widths(padding, size, dilation))
    out = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], size, stride, dilation, strict=True)]
    taps: list[Tensor] = []
    for position in product(*map(range, size)):  # in the order of the kernel's memory
        spans = zip(position, dilation, stride, out, strict=True)
        window = tuple(slice(p * d, p * d + s * (o - 1) + 1, s) for p, d, s, o in spans)
        factor = alpha.flatten(1)[:, len(taps)]
        taps.append(x[(slice(None), slice(None), *window)] * factor.view(-1, *[1] * (nd + 1)))
    unfolded = torch.stack(taps, 2).flatten(1, 2)  # (N, C_in * k, ...), positions fastest, as in the kernel
    flat = weight.reshape(weight.shape[0], -1, *[1] * nd)
    return _CONVS[nd](unfolded, flat, None, 1, 0, 1, groups)


def _scale_and_shift(y: Tensor, factor: Tensor, bias: Tensor | None, nd: int) -> Tensor:
    if _needs_grad(y, factor):
        return _add_bias(y * factor, bias, nd)
    y.mul_(factor)  # made here, so scaled in place: that spares a pass over fresh memory
    return _add_bias(y, bias, nd)


def _add_bias(y: Tensor, bias: Tensor | None, nd: int) -> Tensor:
    """y is ours to change unless autograd looks on."""
    if bias is None:
        return y
    shift = _spread_bias(bias, nd).to(y.dtype)
    return y + shift if _needs_grad(y, shift) else y.add_(shift)


def _needs_grad(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def _spread(factor: Tensor, nd: int) -> Tensor:
    return factor.view(*factor.shape, *[1] * nd)


def _spread_bias(bias: Tensor, nd: int) -> Tensor:
    return bias.view(1, -1, *[1] * nd) if bias.dim() == 1 else _spread(bias, nd)


def _ints(value: IntOrInts, nd: int) -> tuple[int, ...]:
    return (value,) * nd if isinstance(value, int) else tuple(value)


def _pad_widths(padding: Padding, size: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """(left, right) widths for F.pad, last dimension first."""
    if padding == "valid":
        pairs = [(0, 0)] * len(size)
    elif padding == "same":
        totals = [d * (k - 1) for k, d in zip(size, dilation, strict=True)]
        pairs = [(t // 2, t - t // 2) for t in totals]
    else:
        pairs = [(p, p) for p in _ints(padding, len(size))]  # type: ignore[arg-type]
    return [width for pair in reversed(pairs) for width in pair]


def _check(nd: int, x: Tensor, weight: Tensor, alpha: Tensor, bias: Tensor | None, groups: int, cal_dim: Any) -> None:
    if cal_dim not in get_args(CalDim):
        raise InputError(f"cal_dim must be one of {', '.join(get_args(CalDim))}; it is {cal_dim!r}")
    if x.dim() != nd + 2:
        raise InputError(f"x must have {nd + 2} dimensions (N, C, ...), it has shape {tuple(x.shape)}")
    if weight.dim() != nd + 2 or weight.shape[1] * groups != x.shape[1]:
        raise InputError(
            f"weight {tuple(weight.shape)} with groups={groups} takes {weight.shape[1] * groups} channels, "
            f"x {tuple(x.shape)} has {x.shape[1]}"
        )
    n, c_out = x.shape[0], weight.shape[0]
    wanted = {"cin": (n, x.shape[1]), "cout": (n, c_out), "kernel": (n, *weight.shape[2:])}[cal_dim]
    if tuple(alpha.shape) != wanted:
        raise InputError(f"alpha must have shape {tuple(wanted)} for cal_dim={cal_dim!r}, it has {tuple(alpha.shape)}")
    if bias is not None and not _fits_bias(bias, n, c_out):
        raise InputError(f"bias must have shape ({c_out},), ({n}, {c_out}) or ({n}, 1), it has {tuple(bias.shape)}")
    for name, other in (("weight", weight), ("alpha", alpha), ("bias", bias)):
        if other is not None and other.device != x.device:
            raise InputError(f"{name} is on {other.device}, x is on {x.device}")
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise InputError(f"x is {x.dtype}, weight is {weight.dtype}: convert one, or run under torch.autocast")


def _fits_bias(bias: Tensor, n: int, c_out: int) -> bool:
    # By rank: comparing N with C_out would fix N in a traced graph.
    if bias.dim() == 1:
        return bias.shape[0] == c_out
    return bias.dim() == 2 and bias.shape[0] == n and bias.shape[1] in (c_out, 1)


def kernel_numel(size: Sequence[int]) -> int:
    """Positions of a kernel: the number of factors that ``cal_dim="kernel"`` takes."""
    return prod(size)
