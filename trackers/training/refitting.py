"""What is done to trained weights between parts of the training and at its end, from files to a file with a card."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from onlinetada.errors import InputError
from onlinetada.trackers.models.backbone import Lite0
from onlinetada.trackers.models.checkpoint import load_strictly, read_state_dict
from onlinetada.trackers.models.compact import CompactNetwork
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.narrowing import narrowed
from onlinetada.trackers.training.recipe import Recipe
from onlinetada.trackers.training.release import origin, release, rounded
from onlinetada.trackers.training.validation import ClipSets

_BACKBONE = "backbone."

Say = Callable[[str], None]


def narrow(weights: Path, recipe: Recipe, bank: Bank, out: Path, *, say: Say = print) -> None:
    """Write weights whose early blocks are as narrow as the recipe's model has them, see `narrowed`.

    Args:
        weights: of a compact network as wide as published.
        recipe: that the training goes on with.
        bank: training pictures.
        out: file to write (.safetensors), a card beside it.
        say: prints a line.
    """
    if not recipe.model.widths:
        raise InputError("the recipe's model names no widths")
    tensors = averaged([weights])
    wide = Lite0(depth=recipe.model.depth).requires_grad_(False)
    load_strictly(wide, _of_backbone(tensors), str(weights))
    wide = wide.to(bank.pictures.device)
    torch.manual_seed(recipe.seed)
    report = _Report(recipe.narrowing.iterations, say)
    made = narrowed(wide, recipe.model.widths, bank, recipe.batch, recipe.narrowing, report=report)
    tensors |= {_BACKBONE + name: tensor.cpu().contiguous() for name, tensor in made.state_dict().items()}
    _write(tensors, out)
    training = {"narrowing": asdict(recipe.narrowing), "narrowing_error": report.error, **origin(weights)}
    card = {"model": "compact", "network": asdict(recipe.model), "training": training}
    out.with_suffix(".json").write_text(json.dumps(rounded(card), indent=1) + "\n", encoding="utf-8")


def release_average(
    weights: Sequence[Path],
    recipe: Recipe,
    out: Path,
    *,
    terms: Mapping[str, str],
    clips: ClipSets | None = None,
) -> dict[str, Any]:
    """Write the average of weights, with the card that it is released with.

    Runs from the same beginning lie in one valley, and so does the beginning: their average is often better than any of
    them (Wortsman et al. 2022, "Model soups" and "Robust fine-tuning of zero-shot models").

    Args:
        weights: of a compact network: runs of the same recipe, and what they began with.
        recipe: that they were trained with.
        out: file to write (.safetensors).
        terms: data set -> its terms.
        clips: see `release`.
    """
    network = CompactNetwork(recipe.model).requires_grad_(False)
    load_strictly(network, averaged(weights), str(weights[0]))
    origins = [origin(path)["begins_with"] for path in weights]
    training = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "begins_with": origins[0] if len(origins) == 1 else origins,
    }
    return release(network.eval(), out, recipe=recipe, training=training, terms=terms, clips=clips)


def averaged(weights: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of the tensors of several files, in float32; counters are those of the first."""
    files = [read_state_dict(path) for path in weights]
    for path, held in zip(weights, files, strict=True):
        if {n: t.shape for n, t in held.items()} != {n: t.shape for n, t in files[0].items()}:
            raise InputError(f"{path} is of another network than {weights[0]}: their average is none")
    return {
        name: torch.stack([held[name].float() for held in files]).mean(0) if tensor.is_floating_point() else tensor
        for name, tensor in files[0].items()
    }


class _Report:
    """Says how far it is, and keeps the last error."""

    def __init__(self, iterations: int, say: Say) -> None:
        self.error, self._iterations, self._say = float("nan"), iterations, say

    def __call__(self, iteration: int, error: float) -> None:
        self.error = error
        self._say(f"{iteration:6}/{self._iterations}  error {error:.4f}")


def _of_backbone(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(_BACKBONE): t for n, t in tensors.items() if n.startswith(_BACKBONE)}


def _write(tensors: dict[str, Tensor], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    save_file(tensors, partial)
    partial.replace(out)
