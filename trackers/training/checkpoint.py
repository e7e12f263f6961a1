"""Checkpoints: all tensors in safetensors files of at most 16 MB, everything else in one JSON file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn, optim

from onlinetada.errors import InputError

_META = "meta.json"
_SHARD_BYTES = 16 * 10**6


def save_checkpoint(
    folder: Path, *, network: nn.Module, average: nn.Module, optimiser: optim.Optimizer, meta: Mapping[str, Any]
) -> None:
    """Write a checkpoint; the one before stays whole until the new one is."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{k}": v for k, v in state.items()}
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.mkdir(parents=True)
    save_sharded(tensors, fresh)
    (fresh / _META).write_text(json.dumps(dict(meta), indent=1) + "\n", encoding="utf-8")
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(
    folder: Path, *, network: nn.Module, average: nn.Module, optimiser: optim.Optimizer
) -> dict[str, Any]:
    """Take over what ``save_checkpoint`` wrote and return its meta values.

    Raises:
        InputError: no checkpoint there, or one of another network.
    """
    before = folder.with_name(folder.name + ".old")
    if not folder.exists() and before.exists():  # stopped between two renames
        folder = before
    if not (folder / _META).exists():
        raise InputError(f"{folder}: no checkpoint to resume; start without --resume")
    tensors = load_sharded(folder)
    try:
        network.load_state_dict(_below(tensors, "network."))
        average.load_state_dict(_below(tensors, "average."))
    except RuntimeError as error:
        raise InputError(f"{folder}: a checkpoint of another network: {' '.join(str(error).split())[:160]}") from None
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _below(tensors, "optimiser.").items():
        number, key = name.split(".")
        state.setdefault(int(number), {})[key] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
    meta: dict[str, Any] = json.loads((folder / _META).read_text(encoding="utf-8"))
    return meta


def save_sharded(tensors: Mapping[str, Tensor], folder: Path) -> list[Path]:
    """Write tensors into numbered safetensors files of at most 16 MB, unless one tensor alone is larger."""
    from safetensors.torch import save_file

    shards: list[dict[str, Tensor]] = [{}]
    used = 0
    for name, value in tensors.items():
        size = value.numel() * value.element_size()
        if shards[-1] and used + size > _SHARD_BYTES:
            shards.append({})
            used = 0
        shards[-1][name] = value.detach().cpu().contiguous()
        used += size
    paths = [folder / f"tensors-{i:03d}.safetensors" for i in range(len(shards))]
    for path, shard in zip(paths, shards, strict=True):
        save_file(shard, path)
    return paths


def load_sharded(folder: Path) -> dict[str, Tensor]:
    """All tensors that ``save_sharded`` wrote."""
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("tensors-*.safetensors")):
        tensors |= load_file(path)
    return tensors


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
