"""Weights in the layouts of the published TAdaConv and TCTrack code: loading them, and saving back.

Published code keeps a calibrated layer in two modules (the convolution and its route function), with leading
singleton dimensions and 3-d convolutions of 1x1 space; ours is one module. The values are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from onlinetada.calibrations import AttentionCalibration, Calibration, FactorHead, OnlineCalibration, RouteFunction
from onlinetada.errors import InputError
from onlinetada.layers.tada import TAdaConv2d

# ours -> published, below the calibration; the head is converted apart
_ROUTE = {"global_fc": "g", "squeeze": "a", "norm": "bn"}
_ATTENTION = {
    "prior": "init",
    "query": "attentionintegrate.query_conv",
    "key": "attentionintegrate.key_conv",
    "value": "attentionintegrate.value_conv",
}


def load_published(module: nn.Module, state_dict: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """Load a state dict in a published layout into a network of our layers, or into a single layer.

    Args:
        module: its calibrated layers must sit where the published network has its own; everything else has the
            same names. Shapes may differ by singleton dimensions.
        state_dict: tensors, for example of ``torch.load(path, weights_only=True)``.
        strict: whether every tensor on both sides must find its counterpart.

    Raises:
        InputError: a tensor is missing, of another shape, or left over; names the first and says how many.
    """
    own = module.state_dict()
    left = dict(state_dict)
    found: dict[str, Tensor] = {}
    for name, layer in _calibrated(module):
        dot = f"{name}." if name else ""
        conv, route = _prefixes(name, layer, left)
        below_route = {} if route is None else _take(left, route)  # first: the convolution's prefix may be ""
        translated = _from_published(layer, _take(left, conv), below_route)
        found.update({dot + key: value for key, value in translated.items()})
    for key in list(left):
        if key in own and key not in found:
            found[key] = left.pop(key)
    missing = [k for k in own if k not in found and not k.endswith("num_batches_tracked")]
    if strict:
        _complain("is missing in", missing)
        _complain("has no place in this network; it is in", list(left))
    for key, value in found.items():
        if key not in own:
            continue
        if _squeezed(value) != _squeezed(own[key]):
            raise InputError(f"{key} has shape {tuple(value.shape)} in the file, {tuple(own[key].shape)} is needed")
        own[key] = value.reshape(own[key].shape)
    module.load_state_dict(own)


def published_state_dict(module: nn.Module, *, route_suffix: str = "_rf") -> dict[str, Tensor]:
    """The module's tensors in the published layout: what `load_published` reads.

    Args:
        module: a network of our layers, or a single one (its parts are then called ``conv`` and ``rf``).
        route_suffix: the route function of layer ``x`` is saved as ``x`` + this.
    """
    own = {k: v.detach() for k, v in module.state_dict().items()}
    out: dict[str, Tensor] = {}
    for name, layer in _calibrated(module):
        dot = f"{name}." if name else ""
        for key in [k for k in own if k.startswith(dot)]:
            del own[key]
        separate = isinstance(layer.calibration, RouteFunction)
        conv_dot = "conv." if separate and not name else dot
        route_dot = ("rf." if not name else f"{name}{route_suffix}.") if separate else conv_dot
        out[conv_dot + "weight"] = layer.weight.detach()[None, None]
        if layer.bias is not None:
            out[conv_dot + "bias"] = layer.bias.detach()[None, None]
        out.update({route_dot + k: v.detach() for k, v in _to_published(layer.calibration).items()})
    return {**own, **out}


def _to_published(calibration: Calibration) -> dict[str, Tensor]:
    names, head_names = _layout(calibration)
    head = _head(calibration)
    out = {}
    for key, value in calibration.state_dict().items():
        child, _, rest = key.partition(".")
        if child in names:
            is_conv1d = isinstance(calibration.get_submodule(child), nn.Conv1d)
            out[f"{names[child]}.{rest}"] = value[..., None, None] if is_conv1d and rest == "weight" else value
    taps = head.taps.view(head.shape)[..., None, None]
    rows = [calibration.num_factors, head.shape[0] - calibration.num_factors]
    for head_name, part in zip(head_names, torch.split(taps, rows), strict=False):
        out[f"{head_name}.weight"] = part
    if head.offset is not None:
        for head_name, part in zip(head_names, torch.split(head.offset, rows), strict=False):
            out[f"{head_name}.bias"] = part
    return out


def _from_published(layer: TAdaConv2d, conv: dict[str, Tensor], route: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names below one layer, from its published tensors; what is absent stays absent."""
    given = {**conv, **route}
    calibration = layer.calibration
    names, head_names = _layout(calibration)
    theirs = {published: ours for ours, published in names.items()}
    out: dict[str, Tensor] = {k: conv[k].squeeze(0).squeeze(0) for k in ("weight", "bias") if k in conv}
    for key, value in given.items():
        child, _, rest = key.rpartition(".")
        if child in theirs:
            is_conv1d = isinstance(calibration.get_submodule(theirs[child]), nn.Conv1d)
            flat = value.squeeze(-1).squeeze(-1) if is_conv1d and rest == "weight" else value
            out[f"calibration.{theirs[child]}.{rest}"] = flat
    for rest, ours in (("weight", "taps"), ("bias", "offset")):
        parts = [given[f"{h}.{rest}"] for h in head_names if f"{h}.{rest}" in given]
        if parts:
            joined = torch.cat(parts)
            wanted = _head(calibration).shape[0]
            if joined.shape[0] != wanted:
                raise InputError(f"the published calibration makes {joined.shape[0]} factors, the layer takes {wanted}")
            out[f"calibration.head.{ours}"] = joined.flatten()
    known = {*("weight", "bias"), *(f"{h}.{r}" for h in head_names for r in ("weight", "bias"))}
    odd = [k for k in given if k not in known and k.rpartition(".")[0] not in theirs]
    _complain("has no place in this layer; it is in", odd)
    return out


def _layout(calibration: Calibration) -> tuple[dict[str, str], tuple[str, ...]]:
    if isinstance(calibration, RouteFunction):
        return _ROUTE, ("b",)
    if isinstance(calibration, AttentionCalibration):
        return _ATTENTION, ("temporalconv", "fc")
    if isinstance(calibration, OnlineCalibration):
        return {}, ("temporalconv", "fc")
    raise InputError(f"there is no published layout for {type(calibration).__name__}")


def _head(calibration: Calibration) -> FactorHead:
    head = calibration.head
    assert isinstance(head, FactorHead)  # noqa: S101 - all that have a layout have one
    return head


def _prefixes(name: str, layer: TAdaConv2d, given: Mapping[str, Tensor]) -> tuple[str, str | None]:
    """Where a layer's convolution and its route function are in a published state dict, dots included."""
    dot = f"{name}." if name else ""
    conv = next((p for p in (dot, f"{dot}conv.") if f"{p}weight" in given), None)
    if conv is None:
        raise InputError(f"{dot}weight is missing in the state dict: no published layer at {name or 'the top'!r}")
    if not isinstance(layer.calibration, RouteFunction):
        return conv, None
    parent = name.rpartition(".")[0]
    beside = f"{parent}." if parent else ""
    routes = [k.removesuffix("a.weight") for k in given if k.endswith(".a.weight") and f"{k[:-8]}b.weight" in given]
    depth = beside.count(".") + 1
    named = [f"{name}_rf.", f"{dot}rf.", *(r for r in routes if r.startswith(beside) and r.count(".") == depth)]
    route = next((r for r in named if r in routes), None)
    if route is None:
        raise InputError(f"no route function for {name or 'the layer'} in the state dict; tried {named[0]}*")
    return conv, route


def _take(left: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Remove and return what lies below a prefix."""
    return {key.removeprefix(prefix): left.pop(key) for key in list(left) if key.startswith(prefix)}


def _calibrated(module: nn.Module) -> Iterable[tuple[str, TAdaConv2d]]:
    return [(n, m) for n, m in module.named_modules() if isinstance(m, TAdaConv2d)]


def _squeezed(x: Tensor) -> list[int]:
    return [n for n in x.shape if n != 1]


def _complain(what: str, names: list[str]) -> None:
    if names:
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        raise InputError(f"{names[0]} {what} the state dict{more}")
