"""A trained video network as a file: tensors, and beside them a card that says how to build and feed it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from onlinetada._version import __version__
from onlinetada.errors import InputError
from onlinetada.trackers.config import from_values
from onlinetada.trackers.recognition.motion import CLASSES
from onlinetada.trackers.recognition.recipe import NetworkChoice, RecognitionRecipe
from onlinetada.video import VideoNetwork, build


@dataclass(frozen=True)
class ModelCard:
    """What a file of weights is.

    Attributes:
        network: how to build it.
        num_classes: classes, or verbs and nouns.
        names: of the classes; empty where nobody named them.
        size: side of the pictures that it takes, in pixels.
        short_side: that videos are scaled to before the middle is cut out.
        frames, interval: of the clips that it was trained on.
        scores: in testing.
        version: of onlinetada that wrote it.
    """

    network: NetworkChoice
    num_classes: tuple[int, ...]
    names: tuple[str, ...]
    size: int
    short_side: int
    frames: int
    interval: int
    scores: dict[str, Any]
    version: str


def save_model(
    network: nn.Module,
    path: Path,
    *,
    recipe: RecognitionRecipe,
    num_classes: int | tuple[int, int],
    scores: Mapping[str, float],
) -> ModelCard:
    """Write ``path`` (.safetensors) and the card beside it (.json)."""
    from safetensors.torch import save_file

    data = recipe.data
    motion = data.kind == "motion"
    card = ModelCard(
        network=replace(recipe.network, weights=None),
        num_classes=(num_classes,) if isinstance(num_classes, int) else num_classes,
        names=CLASSES if motion else data.names,
        size=data.size if motion else data.test_size,
        short_side=data.size if motion else data.short_side,
        frames=data.frames,
        interval=1 if motion or data.sampling == "uniform" else data.interval,
        scores=dict(scores),
        version=__version__,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}, path)
    path.with_suffix(".json").write_text(json.dumps(asdict(card), indent=1) + "\n", encoding="utf-8")
    return card


def load_model(path: Path) -> tuple[VideoNetwork, ModelCard]:
    """A network in eval mode, and its card.

    Raises:
        InputError: a file is missing, or they do not fit each other.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    sheet = path.with_suffix(".json")
    for needed in (path, sheet):
        if not needed.exists():
            raise InputError(f"{needed}: no such file; a model is a .safetensors file with its .json card beside it")
    try:
        card = from_values(ModelCard, json.loads(sheet.read_text(encoding="utf-8")))
        tensors = load_file(path)
    except (ValueError, SafetensorError) as error:
        raise InputError(f"{path}: no model that can be read: {' '.join(str(error).split())[:160]}") from None
    counts = card.num_classes
    num_classes = counts[0] if len(counts) == 1 else (counts[0], counts[1])
    network = build(card.network.name, num_classes=num_classes, tada=card.network.tada, **card.network.options)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"{path}: not the network of its card: {' '.join(str(error).split())[:160]}") from None
    return network.eval(), card
