"""Reading and writing weights: safetensors, or torch files read without executing anything in them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch import Tensor, nn

from onlinetada.errors import InputError


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

    A torch file holds a state dict, or a dict that holds one under ``state_dict``; a ``module.`` in front of every
    name, as DataParallel leaves it, is taken away.

    Raises:
        InputError: no such file, not a file of tensors, or one whose reading would execute code.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no weights file {path}")
    held = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if isinstance(held, Mapping) and isinstance(held.get("state_dict"), Mapping):
        held = held["state_dict"]
    if not isinstance(held, Mapping) or not held or not all(isinstance(v, Tensor) for v in held.values()):
        raise InputError(
            f"{path} holds no state dict: expected tensors by name, or a dict with them under 'state_dict'"
        )
    prefix = "module." if all(str(name).startswith("module.") for name in held) else ""
    return {str(name).removeprefix(prefix): tensor for name, tensor in held.items()}


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} is refused: it is no plain file of tensors, and objects in it are never executed; "
            "save its state dict alone, with torch.save or safetensors"
        ) from None
    except (RuntimeError, BadZipFile, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} cannot be read as weights, it is no torch or safetensors file ({_first_line(error)})"
        ) from None


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise InputError(f"reading {path} needs safetensors: pip install safetensors") from None
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read as weights: {_first_line(error)}") from None


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], source: str = "the state dict") -> None:
    """Load tensors whose names and shapes must be the module's own; half floats become the module's type.

    Raises:
        InputError: names the first tensor that is missing, unexpected or of another shape, and how many there are.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in tensors]
    unexpected = [name for name in tensors if name not in own]
    if missing or unexpected:
        parts = [
            f"{len(names)} tensors {what}, first {names[0]!r}"
            for what, names in (("missing", missing), ("unexpected", unexpected))
            if names
        ]
        raise InputError(f"{source} does not fit {type(module).__name__} of {len(own)} tensors: {'; '.join(parts)}")
    odd = [name for name in own if own[name].shape != tensors[name].shape]
    if odd:
        raise InputError(
            f"{source} does not fit {type(module).__name__}: {len(odd)} tensors of another shape, first {odd[0]!r} "
            f"{tuple(tensors[odd[0]].shape)} instead of {tuple(own[odd[0]].shape)}"
        )
    module.load_state_dict(dict(tensors))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
