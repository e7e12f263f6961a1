"""The models by name: how each is built, its inference options, and where its shipped weights lie."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import onlinetada.trackers.weights as shipped
from onlinetada.errors import InputError
from onlinetada.published import load_published
from onlinetada.trackers.confidence import ConfidenceCalibration
from onlinetada.trackers.loss import LossPolicy
from onlinetada.trackers.models.checkpoint import load_strictly
from onlinetada.trackers.options import InferenceConfig

DEFAULT_MODEL = "compact"
WEIGHTS_FOLDER = Path(shipped.__path__[0])

Build = Callable[[Any, Mapping[str, Any]], nn.Module]
Load = Callable[[nn.Module, Mapping[str, Tensor], str], None]


@dataclass(frozen=True)
class ModelSpec:
    """A model that can be asked for by name.

    Attributes:
        name: as users write it.
        summary: one line.
        build: (quirks, card) -> network without weights; the card is that of the weights that will be loaded.
        inference: options that hold where a card says nothing.
        load: (network, tensors, their source) puts the tensors of a weights file into the network.
    """

    name: str
    summary: str
    build: Build
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    load: Load = load_strictly

    @property
    def default_weights(self) -> Path:
        """Where the weights that ship lie, if they do."""
        return WEIGHTS_FOLDER / f"{self.name}.safetensors"

    @property
    def card(self) -> dict[str, Any]:
        """What is known of the shipped weights; {} without them."""
        return read_card(self.default_weights) if self.default_weights.is_file() else {}


def list_models() -> list[ModelSpec]:
    """All models, the default first."""
    return list(_MODELS.values())


def find_model(name: str) -> ModelSpec:
    """The model of this name; "default" is the best that ships.

    Raises:
        InputError: there is none; the message names those there are and the nearest.
    """
    spec = _MODELS.get(DEFAULT_MODEL if name == "default" else name)
    if spec is None:
        near = difflib.get_close_matches(name, [*_MODELS, "default"], 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(f"there is no model {name!r}{hint}; there are: default, {', '.join(_MODELS)}, opencv-*")
    return spec


def read_card(weights: str | Path) -> dict[str, Any]:
    """The JSON card beside a weights file; {} where there is none."""
    path = Path(weights).with_suffix(".json")
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"the model card {path} is no JSON: {error}") from None
    if not isinstance(card, dict):
        raise InputError(f"the model card {path} must be a JSON object")
    return card


def _build_compact(_quirks: Any, card: Mapping[str, Any]) -> nn.Module:
    from onlinetada.trackers.models.compact import CompactNetwork, CompactOptions

    options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in card.get("network", {}).items()}
    try:
        return CompactNetwork(CompactOptions(**options))
    except TypeError as error:
        raise InputError(f"the model card describes no compact network: {error}") from None


def _build_tctrack(quirks: Any, card: Mapping[str, Any]) -> nn.Module:
    from onlinetada.trackers.models.tctrack import TCTrack

    return TCTrack(quirks=_trained_quirks(quirks, card))


def _build_tctrackpp(quirks: Any, card: Mapping[str, Any]) -> nn.Module:
    from onlinetada.trackers.models.tctrack import TCTrack

    return TCTrack(plus_plus=True, quirks=_trained_quirks(quirks, card))


def _trained_quirks(quirks: Any, card: Mapping[str, Any]) -> Any:
    """What is asked for; without that, how the card says that the weights were trained."""
    return card.get("network", {}).get("quirks", quirks) if quirks == "none" else quirks


def _load_published(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """A file in the published layout, or one that our own training saved."""
    if any(".calibration." in name for name in tensors):
        load_strictly(network, tensors, source)
        return
    try:
        load_published(network, tensors)
    except InputError as error:
        raise InputError(f"{source} does not fit {type(network).__name__}: {error}") from None


def _tctrack_inference(penalty_k: float, window_influence: float, size_lr: float) -> InferenceConfig:
    # uncalibrated: the score is half a probability and half a logit, 0.4 where both say it is a toss-up
    return InferenceConfig(
        penalty_k=penalty_k,
        window_influence=window_influence,
        size_lr=size_lr,
        min_size_px=10.0,
        window="hann",
        half_image_rule=True,
        confidence=ConfidenceCalibration(bias=-0.8, peak=2.0),
    )


_MODELS = {
    spec.name: spec
    for spec in (
        ModelSpec(
            "compact",
            "our own: EfficientNet-Lite0 to stride 16, about a million parameters",
            _build_compact,
            # with a card's fitted confidence, below 0.5 the box is more likely off the target than on it
            InferenceConfig(camera_jump=0.3, loss=LossPolicy(enter_lost=0.5, uncertain=0.6, leave_lost=0.7)),
        ),
        ModelSpec(
            "tctrack",
            "TCTrack (CVPR 2022): AlexNet with Online-TAdaConv, temporal transformer",
            _build_tctrack,
            _tctrack_inference(0.0595, 0.43985, 0.3148),
            _load_published,
        ),
        ModelSpec(
            "tctrackpp",
            "TCTrack++ (TPAMI 2023): attention calibration, narrowing towers",
            _build_tctrackpp,
            _tctrack_inference(0.0346, 0.441, 0.328),
            _load_published,
        ),
    )
}
