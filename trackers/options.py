"""Everything about inference that is not in a network: one frozen value, one set for all videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

from onlinetada.errors import InputError
from onlinetada.trackers.confidence import ConfidenceCalibration
from onlinetada.trackers.loss import LossPolicy

RUNTIMES = ("auto", "torch", "onnxruntime")
"""What may compute a network's steps, see ``build_tracker``."""

DTYPES = ("float32", "bf16")
"""What a backbone may compute in."""


@dataclass(frozen=True)
class RecoveryOptions:
    """What is done while a target is lost.

    A find near the last place needs the confidence that the loss policy asks for. One far from it needs more, and for
    longer: what looks alike elsewhere is mostly something else.

    Attributes:
        growth_per_s: how fast the search region at the last place grows, in multiples of its side.
        max_growth: how far it grows.
        windows_per_frame: search regions besides that at the last place, in one frame: the cost's bound.
        reach_per_s: how fast the sweep over the image widens around the last place, in multiples of the region's side.
        overlap: share of its side that a window of the sweep has in common with the next.
        scales: target sizes, relative to the last, that the sweep looks for.
        confirm: confidence that a find of the sweep needs.
        confirm_ms: how long it is followed before it counts at all.
    """

    growth_per_s: float = 0.5
    max_growth: float = 1.5
    windows_per_frame: int = 3
    reach_per_s: float = 1.5
    overlap: float = 0.5
    scales: tuple[float, ...] = (1.0,)
    confirm: float = 0.8
    confirm_ms: float = 300.0

    def __post_init__(self) -> None:
        if (
            min(self.growth_per_s, self.reach_per_s, self.confirm_ms) < 0
            or min(self.windows_per_frame, self.max_growth) < 1
        ):
            raise InputError("recovery: rates and times must not be negative, windows_per_frame, max_growth at least 1")
        if not 0 <= self.overlap < 1 or not self.scales or min(self.scales) <= 0:
            raise InputError("recovery: overlap must be in [0, 1), scales positive numbers")


@dataclass(frozen=True)
class InferenceConfig:
    """How answers become boxes.

    Attributes:
        penalty_k: how strongly changes of size and aspect are held against a candidate.
        window_influence: weight of the cosine window against the score, 0..1.
        size_lr: how fast the box takes a new size at a score of 1.
        min_size_px: a box never gets smaller.
        window: "hann" is zero on the border of the map as published, "open" is not.
        half_image_rule: boxes of more than half the image are searched for at the first frame's scale, as published.
        learn_confidence: a network whose memory goes on learns from frames of at least this confidence.
        confidence: from the network's answer to a confidence.
        loss: from confidences to tracking, uncertain, lost.
        camera_jump: where the camera has moved by more since the last frame, a target is looked for in two places:
            where it was in the picture, and where in the scene; in halves of the search region's side. None: never.
        recover: whether a lost target is held, its memory frozen, and searched; published trackers do not.
        recovery: how it is searched.
    """

    penalty_k: float = 0.06
    window_influence: float = 0.35
    size_lr: float = 0.35
    min_size_px: float = 5.0
    window: Literal["hann", "open"] = "open"
    half_image_rule: bool = False
    learn_confidence: float = 0.5
    camera_jump: float | None = None
    confidence: ConfidenceCalibration = field(default_factory=ConfidenceCalibration)
    loss: LossPolicy = field(default_factory=LossPolicy)
    recover: bool = True
    recovery: RecoveryOptions = field(default_factory=RecoveryOptions)

    def __post_init__(self) -> None:
        if not 0 <= self.window_influence <= 1:
            raise InputError(f"window_influence must be between 0 and 1, it is {self.window_influence}")
        if self.penalty_k < 0 or self.size_lr < 0 or self.min_size_px < 1:
            raise InputError("penalty_k and size_lr must not be negative, min_size_px at least 1")
        if self.camera_jump is not None and self.camera_jump < 0:
            raise InputError(f"camera_jump must not be negative, it is {self.camera_jump}")


_NESTED = {"confidence", "loss", "recovery"}
_Options = TypeVar("_Options", InferenceConfig, ConfidenceCalibration, LossPolicy, RecoveryOptions)


def with_changes(options: _Options, changes: Mapping[str, Any], *, source: str) -> _Options:
    """A copy with some options changed, nested ones by mappings, as a model's card holds them.

    Raises:
        InputError: an option that does not exist, or a value that is out of its range.
    """
    known = {f.name for f in fields(options)}
    values: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known:
            raise InputError(f"{source}: there is no option {name!r}; there are: {', '.join(sorted(known))}")
        if name in _NESTED and isinstance(value, Mapping):
            value = with_changes(getattr(options, name), value, source=source)
        values[name] = tuple(value) if isinstance(value, list) else value
    return replace(options, **values)
