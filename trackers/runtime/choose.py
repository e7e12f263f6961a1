"""Which runtime computes the steps: the exported graph beside the weights where it fits them, otherwise torch."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from onlinetada.errors import InputError
from onlinetada.trackers.models.network import TrackNetwork
from onlinetada.trackers.options import RUNTIMES
from onlinetada.trackers.runtime.graph import FEATURES
from onlinetada.trackers.runtime.session import OnnxNetwork, onnxruntime_problem


def checked_runtime(runtime: str) -> str:
    """The same, if it is one of ``RUNTIMES``; otherwise an InputError."""
    if runtime not in RUNTIMES:
        raise InputError(f"runtime must be one of {', '.join(RUNTIMES)}; it is {runtime!r}")
    return runtime


def weights_beside(path: Path) -> Path:
    """The weights that begin streams: the file itself, or what lies beside an exported step.

    Raises:
        InputError: nothing lies beside it.
    """
    if path.suffix != ".onnx":
        return path
    if not path.is_file():
        raise InputError(f"there is no weights file {path}")
    beside = path.with_suffix(".safetensors")
    if not beside.is_file():
        raise InputError(f"{path} needs {beside.name} beside it, which `onlinetada export` wrote there")
    return beside


def with_runtime(
    network: TrackNetwork,
    weights: Path,
    device: torch.device,
    runtime: str,
    *,
    quirks: str = "none",
    dtype: str = "float32",
) -> TrackNetwork:
    """The network, its steps computed by ONNX Runtime where that is asked for, or faster and possible.

    Args:
        network: ready for inference on ``device``.
        weights: file that it was loaded from, or an exported step; one may lie beside the other.
        device: ONNX Runtime is used on the CPU alone.
        runtime: "auto" takes ONNX Runtime on a CPU if an exported step of these very weights is there.
        quirks: what the network was built with; an exported step has its own.
        dtype: of the backbone in torch; an exported step has its own.

    Raises:
        InputError: ONNX Runtime was asked for and cannot do it.
    """
    must = weights.suffix == ".onnx" or runtime == "onnxruntime"
    if runtime == "torch" or (not must and (quirks, dtype) != ("none", "float32")):
        return network
    problem = _problem(weights, device, dtype)
    if problem is None:
        found = OnnxNetwork(network, weights.with_suffix(".onnx"))
        problem = _mismatch(found, weights_beside(weights), quirks)
        if problem is None:
            return found
        if not must:
            warnings.warn(f"{problem}; steps are computed by torch, more slowly", RuntimeWarning, stacklevel=2)
    if must:
        raise InputError(problem)
    return network


def _problem(weights: Path, device: torch.device, dtype: str) -> str | None:
    path = weights.with_suffix(".onnx")
    if not path.is_file():
        return f"there is no exported step {path}: write it with `onlinetada export MODEL --format onnx --out FILE`"
    if device.type != "cpu":
        return f"ONNX Runtime computes on the CPU here; for {device} use --runtime torch"
    if dtype != "float32":
        return f"dtype {dtype} is of steps in torch; an exported step has its own: leave it out, or use --runtime torch"
    return onnxruntime_problem()


def _mismatch(found: OnnxNetwork, weights: Path, quirks: str) -> str | None:
    from onlinetada.trackers.runtime.export import file_sha256

    if found.facts.get("weights_sha256") != file_sha256(weights):
        return f"{found.path} was exported from other weights than {weights.name}: export it again"
    if FEATURES in found.gives and not {"parts", "answers"} <= set(found.gives):
        return f"{found.path} was exported by an earlier version, without what the confidence needs: export it again"
    held = found.facts.get("quirks", "none")
    if held != quirks:
        return f"{found.path} was exported with quirks {held}, not {quirks}: export it again, or give --quirks {held}"
    return None
