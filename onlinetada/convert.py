"""Turn the convolutions of an ordinary network into calibrated ones, weights kept and output unchanged."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from torch import nn

from onlinetada.calibrations import CALIBRATIONS, Calibration, CalibrationFactory, build_calibration
from onlinetada.errors import InputError
from onlinetada.functional import CalDim
from onlinetada.layers.tada import OnlineTAdaConv2d, TAdaConv2d


@dataclass(frozen=True)
class ConvertedLayer:
    """One calibrated layer of a model, and what its calibration costs."""

    name: str
    layer: str
    calibration: str
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    num_factors: int
    calibration_parameters: int

    def __str__(self) -> str:
        kernel = "x".join(map(str, self.kernel_size))
        return (
            f"{self.name}: {self.layer} {self.in_channels}->{self.out_channels} {kernel}, {self.calibration}, "
            f"{self.num_factors} factors a frame, {self.calibration_parameters} parameters"
        )


def convert(
    model: nn.Module,
    *,
    names: str | Iterable[str] = "*",
    stages: str | Iterable[str] | None = None,
    kernel_sizes: Collection[int | tuple[int, int]] | None = None,
    calibration: str | CalibrationFactory = "online",
    cal_dim: CalDim = "cin",
    share: float = 1.0,
    **options: Any,
) -> nn.Module:
    """Swap chosen ``nn.Conv2d``, and ``nn.Conv3d`` of temporal kernel 1, for their calibrated form, in place.

    Parameters are handed over as they are, so the output does not change until the calibrations are trained. What was
    swapped: `converted_layers`. Run the result on clips with ``onlinetada.clips`` and live with
    ``onlinetada.streaming``; without either, every frame is taken on its own.

    Args:
        model: the network; changed in place.
        names: glob pattern(s) of module names, such as "layer3.*.conv2".
        stages: name prefix(es); only what lies below one of them is swapped.
        kernel_sizes: only these, such as {3} or {(3, 3)}.
        calibration: name or factory; a causal one makes `OnlineTAdaConv2d`, another `TAdaConv2d`.
        cal_dim: what alpha scales: "cin", "cout" or "kernel".
        share: share of the channels that is calibrated.
        options: further arguments of the calibration, such as ``window=5``.

    Returns:
        The model (or, if it is a single convolution itself, the layer that replaces it).

    Raises:
        InputError: nothing was chosen, or something chosen by its full name cannot be converted.
    """
    patterns = [names] if isinstance(names, str) else list(names)
    below = [stages] if isinstance(stages, str) else None if stages is None else list(stages)
    wanted = None if kernel_sizes is None else {(k, k) if isinstance(k, int) else tuple(k) for k in kernel_sizes}
    make = _factory(calibration, {"share": share, **options} if share != 1.0 else options)
    swaps: dict[nn.Module, nn.Module] = {}
    for name, module in model.named_modules():
        if not any(fnmatchcase(name, p) for p in patterns) or not _is_below(name, below):
            continue
        why_not = _why_not(module)
        if why_not and name in patterns:
            raise InputError(f"{name} cannot be converted: {why_not}")
        if not why_not and (wanted is None or tuple(module.kernel_size[-2:]) in wanted):
            swaps[module] = _calibrated(module, make, cal_dim)
    if not swaps:
        raise InputError(f"nothing was converted: no convolution matches. {_candidates(model)}")
    for parent in list(model.modules()):
        for child_name, child in parent.named_children():
            if child in swaps:
                setattr(parent, child_name, swaps[child])
    return swaps.get(model, model)


def converted_layers(model: nn.Module) -> list[ConvertedLayer]:
    """The calibrated layers of a model, in order; print them for a report."""
    return [
        ConvertedLayer(
            name=name,
            layer=type(module).__name__,
            calibration=type(module.calibration).__name__,
            in_channels=module.in_channels,
            out_channels=module.out_channels,
            kernel_size=tuple(module.kernel_size),
            num_factors=module.calibration.num_factors,
            calibration_parameters=sum(p.numel() for p in module.calibration.parameters()),
        )
        for name, module in model.named_modules()
        if isinstance(module, TAdaConv2d)
    ]


def from_conv(
    conv: nn.Module,
    *,
    calibration: str | CalibrationFactory = "online",
    cal_dim: CalDim = "cin",
    **options: Any,
) -> TAdaConv2d:
    """The calibrated form of one convolution; it takes over the parameters themselves."""
    why_not = _why_not(conv)
    if why_not:
        raise InputError(f"{type(conv).__name__} cannot be converted: {why_not}")
    return _calibrated(conv, _factory(calibration, options), cal_dim)


def _calibrated(conv: Any, make: CalibrationFactory, cal_dim: CalDim) -> TAdaConv2d:
    factory = {"device": conv.weight.device, "dtype": conv.weight.dtype}
    built = make(1, 1, **factory)
    padding = conv.padding if isinstance(conv.padding, str) else conv.padding[-2:]
    layer = (OnlineTAdaConv2d if built.causal else TAdaConv2d)(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size[-2:],
        conv.stride[-2:],
        padding,
        conv.dilation[-2:],
        conv.groups,
        conv.bias is not None,
        conv.padding_mode,
        cal_dim=cal_dim,
        calibration=make,
        **factory,
    )
    layer.weight, layer.bias = conv.weight, conv.bias
    if isinstance(conv, nn.Conv3d):
        layer.weight = nn.Parameter(conv.weight.detach().squeeze(2), requires_grad=conv.weight.requires_grad)
    return layer.train(conv.training)


def _factory(calibration: str | CalibrationFactory, options: dict[str, Any]) -> CalibrationFactory:
    if isinstance(calibration, Calibration):
        raise InputError("give the calibration's name or a factory: one module cannot serve several layers")
    if isinstance(calibration, str):
        if calibration not in CALIBRATIONS:
            raise InputError(f"no calibration {calibration!r}; there are: {', '.join(CALIBRATIONS)}")
        calibration = CALIBRATIONS[calibration]
    made = partial(calibration, **options)
    try:
        build_calibration(made, 1, 1)
    except TypeError as error:
        raise InputError(f"the calibration does not take these options: {error}") from error
    return made


def _why_not(module: nn.Module) -> str | None:
    """Why a module cannot be converted, or None if it can."""
    if type(module) is nn.Conv2d:
        return None
    if type(module) is nn.Conv3d:
        if module.kernel_size[0] != 1:
            return f"its temporal kernel is {module.kernel_size[0]}, only 1 can be calibrated frame by frame"
        if module.stride[0] != 1 or (not isinstance(module.padding, str) and module.padding[0] != 0):
            return "it has a temporal stride or padding"
        return None
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        return f"it is a {type(module).__name__}, whose own forward would be lost"
    return f"it is a {type(module).__name__}, not an nn.Conv2d or nn.Conv3d"


def _is_below(name: str, stages: list[str] | None) -> bool:
    return stages is None or any(name == s or name.startswith(f"{s}.") for s in stages)


def _candidates(model: nn.Module) -> str:
    names = [n for n, m in model.named_modules() if _why_not(m) is None]
    if not names:
        return "The model has no nn.Conv2d and no nn.Conv3d of temporal kernel 1"
    return f"It has {len(names)} convolutions that can be, such as {', '.join(repr(n) for n in names[:3])}"
