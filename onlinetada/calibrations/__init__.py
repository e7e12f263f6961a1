"""How the factors of a calibrated layer are made. All are interchangeable, all start at exactly one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from onlinetada.calibrations.attention import AttentionCalibration
from onlinetada.calibrations.attentive import AttentiveRouteFunction, CausalAttentiveRouteFunction
from onlinetada.calibrations.base import Calibration, FactorHead, Factors
from onlinetada.calibrations.online import CausalRouteFunction, OnlineCalibration
from onlinetada.calibrations.route import GlobalFactors, LearnedFactors, RouteFunction
from onlinetada.errors import InputError

CalibrationFactory = Callable[..., Calibration]

CALIBRATIONS: dict[str, CalibrationFactory] = {
    "route": RouteFunction,
    "route_local": partial(RouteFunction, context="local"),
    "route_global": partial(RouteFunction, context="global"),
    "route_linear": partial(RouteFunction, context="local", linear=True),
    "learned": LearnedFactors,
    "global": GlobalFactors,
    "online": OnlineCalibration,
    "causal_route": CausalRouteFunction,
    "attention": AttentionCalibration,
    "route_v2": AttentiveRouteFunction,
    "causal_route_v2": CausalAttentiveRouteFunction,
}


def build_calibration(
    calibration: str | Calibration | CalibrationFactory, channels: int, num_factors: int, **factory: Any
) -> Calibration:
    """A calibration from its name, from a factory such as ``partial(OnlineCalibration, window=5)``, or as it is.

    Args:
        calibration: a key of ``CALIBRATIONS``, a callable ``(channels, num_factors, *, device, dtype)``, or a module.
        channels: C of the layer's input.
        num_factors: factors a frame that the layer has.
        factory: device and dtype of the parameters.
    """
    if isinstance(calibration, str):
        if calibration not in CALIBRATIONS:
            raise InputError(f"no calibration {calibration!r}; there are: {', '.join(CALIBRATIONS)}")
        calibration = CALIBRATIONS[calibration]
    made = calibration if isinstance(calibration, Calibration) else calibration(channels, num_factors, **factory)
    if not isinstance(made, Calibration):
        raise InputError(f"calibration must be a name, a Calibration or its factory, it made {type(made).__name__}")
    if made.channels != channels or made.num_factors > num_factors:
        raise InputError(
            f"the calibration is for {made.channels} channels and {made.num_factors} factors, "
            f"the layer has {channels} and {num_factors}"
        )
    return made


__all__ = [
    "CALIBRATIONS",
    "AttentionCalibration",
    "AttentiveRouteFunction",
    "Calibration",
    "CalibrationFactory",
    "CausalAttentiveRouteFunction",
    "CausalRouteFunction",
    "FactorHead",
    "Factors",
    "GlobalFactors",
    "LearnedFactors",
    "OnlineCalibration",
    "RouteFunction",
    "build_calibration",
]
