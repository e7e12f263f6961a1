"""Trackers by name."""

from __future__ import annotations

from pathlib import Path

import torch

from onlinetada.trackers.assemble import build_engine
from onlinetada.trackers.models.tctrack import Quirks
from onlinetada.trackers.multi import MultiTracker
from onlinetada.trackers.result import Tracker
from onlinetada.trackers.single import SingleTracker


def build_tracker(
    model: str = "default",
    *,
    weights: str | Path | None = None,
    device: str | torch.device | None = None,
    quirks: Quirks = "none",
    penalty_k: float | None = None,
    window_influence: float | None = None,
    size_lr: float | None = None,
    runtime: str = "auto",
    dtype: str = "float32",
) -> Tracker:
    """A tracker for one target, ready for ``init``.

    Args:
        model: "default" (the best that ships), "compact", "tctrack", "tctrackpp", or "opencv-..." for OpenCV's own.
        weights: a checkpoint: .safetensors, or a torch file with a state dict, alone or under ``state_dict``, with or
            without ``module.`` in front of the names; or the .onnx that ``onlinetada export`` wrote. A card of the
            same name ending in .json is read with it. Without it the weights that ship. For "opencv-..." trackers
            their model files.
        device: "cpu", "cuda", "cuda:1"; by default the GPU where there is one.
        quirks: "published" runs TCTrack checkpoints exactly as their authors' test code does, without loss handling;
            "trained" keeps the re-reading that they were trained with and passes the memory on consistently;
            "none" does neither.
        penalty_k, window_influence, size_lr: see ``InferenceConfig``; by default the model's own.
        runtime: what computes the steps. "auto": ONNX Runtime on a CPU if a step that was exported from these weights
            lies beside them; on a GPU a captured CUDA graph of the whole step, crop and choice included; otherwise
            torch. "torch": step by step, on any device. "onnxruntime".
        dtype: "float32", or "bf16": the backbone computes in bfloat16, in torch; worth it where the processor has it.

    Raises:
        InputError: no such model or file, weights that do not fit, options out of range; one line each.
    """
    if model.startswith("opencv-"):
        from onlinetada.trackers.opencv import build_opencv_tracker

        return build_opencv_tracker(model, weights=weights)
    engine = build_engine(
        model,
        weights=weights,
        device=device,
        quirks=quirks,
        penalty_k=penalty_k,
        window_influence=window_influence,
        size_lr=size_lr,
        runtime=runtime,
        dtype=dtype,
    )
    return SingleTracker(engine, name=model)


def build_multi_tracker(
    model: str = "default",
    *,
    weights: str | Path | None = None,
    device: str | torch.device | None = None,
    quirks: Quirks = "none",
    penalty_k: float | None = None,
    window_influence: float | None = None,
    size_lr: float | None = None,
    runtime: str = "auto",
    dtype: str = "float32",
) -> MultiTracker:
    """A tracker for several targets in one stream; the arguments are those of `build_tracker`."""
    return MultiTracker(
        model,
        weights=weights,
        device=device,
        quirks=quirks,
        penalty_k=penalty_k,
        window_influence=window_influence,
        size_lr=size_lr,
        runtime=runtime,
        dtype=dtype,
    )
