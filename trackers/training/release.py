"""From a finished training to weights that ship: half floats in one file, and a card that says what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onlinetada._version import __version__
from onlinetada.trackers.models.registry import find_model, read_card
from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.training.jobs import AnyRecipe, job_for
from onlinetada.trackers.training.validation import (
    ClipSets,
    as_plain,
    fit_confidence,
    run_clips,
    score_loss,
    score_runs,
)

_LICENSE = "Apache-2.0"
_TERMS = (
    "The weights are offered under Apache-2.0. They were trained from ImageNet weights (Apache-2.0) on the data named "
    "here; some of it is for research use, and whoever uses the weights otherwise should judge those terms."
)
_TERMS_OF_OTHERS = (
    "The weights were trained on the data named here; whoever uses or passes them on should judge those terms."
)
_PROTOCOL = (
    "one pass from the first box of each track, 0-based; success is the mean over overlap thresholds 0, 0.05 .. 1, "
    "precision the share of centres within 20 px; frames that show the target, "
)
_NOT_FOR = "identifying or judging people; weapons; anything where a wrong box hurts someone without a person watching"


def write_weights(network: nn.Module, path: Path, *, half: bool = True, about: Mapping[str, str] | None = None) -> str:
    """Save a network and return the file's SHA-256, which is the same wherever the weights and the words are.

    Args:
        network: to save.
        path: of the file (.safetensors).
        half: matrices and filters as half floats.
        about: words that the file carries, such as its licence.
    """
    from safetensors.torch import save

    tensors = {
        name: _compact(value) if half else value.detach().cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    content = _with_words_sorted(save(tensors, metadata=None if about is None else dict(about)))
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _with_words_sorted(content: bytes) -> bytes:
    """A safetensors file whose words are in order; safetensors puts them in another one each time."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    words = {"__metadata__": dict(sorted(header.pop("__metadata__").items()))} if "__metadata__" in header else {}
    text = json.dumps(words | header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


_OF_THE_LAST_PART = ("recipe", "torch", "threads", "processes")  # what is not said of earlier parts


def _compact(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.half() if value.is_floating_point() and value.dim() > 1 else value


def release(
    network: nn.Module,
    path: Path,
    *,
    recipe: AnyRecipe,
    training: Mapping[str, Any],
    terms: Mapping[str, str],
    clips: ClipSets | None = None,
    inference: InferenceConfig | None = None,
) -> dict[str, Any]:
    """Write ``path`` (.safetensors) and the card beside it, and return the card.

    Args:
        network: averaged weights.
        path: of the weights.
        recipe: it was trained with. TCTrack is saved as it is: its decoding is too steep for half floats.
        training: what was done: iterations, search frames, seconds, device.
        terms: data set -> its terms.
        clips: to measure on and to fit the confidence on; without them, the card has no figures and the confidence is
            not fitted.
        inference: options that users get; the defaults without.
    """
    job = job_for(recipe)
    ours = job.model == "compact"
    license_name, terms_of_use = (_LICENSE, _TERMS) if ours else ("that of whoever trained them", _TERMS_OF_OTHERS)
    about = {"model": job.model, "version": __version__, "license": license_name, "terms": terms_of_use}
    digest = write_weights(network, path, half=ours, about=about)
    config = find_model(job.model).inference if inference is None else inference
    card: dict[str, Any] = {
        "model": path.stem,
        "version": __version__,
        "sha256": digest,
        "file_bytes": path.stat().st_size,
        "parameters": sum(p.numel() for p in network.parameters()),
        "license": license_name,
        "terms": terms_of_use,
        "not_for": _NOT_FOR,
        "network": job.description(network),
        "inference": {name: getattr(config, name) for name in ("penalty_k", "window_influence", "size_lr")},
        "data": dict(terms),
        "training": _told_once({**training, "recipe": asdict(recipe)}, set()),
    }
    if clips is not None:
        card |= _measured(network, config, clips)
    card = rounded(card)
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return card


def origin(initial: Path | None) -> dict[str, Any]:
    """What a card's ``training`` says of the weights that it began with: their hash, and their own training."""
    if initial is None:
        return {}
    training = read_card(initial).get("training", {})
    kept = {name: value for name, value in training.items() if name not in _OF_THE_LAST_PART}
    if isinstance(training.get("recipe"), dict):
        kept["seed"] = training["recipe"].get("seed")
    return {"begins_with": {"sha256": hashlib.sha256(initial.read_bytes()).hexdigest(), **kept}}


def _told_once(training: dict[str, Any], told: set[str]) -> dict[str, Any]:
    """The same, with what several runs began with told for the first of them only; the others name its hash."""
    begun = training.get("begins_with")
    if not isinstance(begun, dict | list):
        return training
    runs = []
    for run in begun if isinstance(begun, list) else [begun]:
        known = run["sha256"] in told
        told.add(run["sha256"])
        runs.append({"sha256": run["sha256"]} if known else _told_once(run, told))
    return training | {"begins_with": runs if isinstance(begun, list) else runs[0]}


def rounded(value: Any) -> Any:
    """The same nested values with floats of four significant digits: what lies beyond is noise."""
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


@torch.no_grad()
def _measured(network: nn.Module, config: InferenceConfig, clips: ClipSets) -> dict[str, Any]:
    tracks: Any = network.eval()  # an nn.Module that is a TrackNetwork
    measured: dict[str, Any] = {}
    fitted = fit_confidence(tracks, config, clips.seen)
    if fitted is not None:
        config = replace(config, confidence=fitted)
        measured["confidence"] = asdict(fitted)
    measured["loss_and_return"] = score_loss(tracks, config, clips.held_out)
    measured["validation"] = {
        "protocol": _PROTOCOL + "the first frame left out",
        "clips": len(clips.held_out),
        "scores": as_plain(score_runs(run_clips(tracks, config, clips.held_out))),
    }
    if clips.compare:
        tracked = run_clips(tracks, config, clips.compare)
        scores = {run.name.removesuffix("/0"): score_runs([run], first_frame=True)["all"] for run in tracked}
        measured["comparison"] = {"protocol": _PROTOCOL + "the first frame counted", "scores": as_plain(scores)}
    return measured
