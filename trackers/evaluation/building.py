"""Which tracker a run uses, as a value: it can be pickled, compared and written beside the results."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onlinetada.errors import InputError
from onlinetada.trackers.result import Tracker


@dataclass(frozen=True)
class TrackerChoice:
    """The arguments of ``build_tracker``. Calling it builds the tracker."""

    model: str = "default"
    weights: str | None = None
    device: str | None = None
    quirks: str = "none"
    penalty_k: float | None = None
    window_influence: float | None = None
    size_lr: float | None = None
    runtime: str = "auto"
    dtype: str = "float32"

    def __call__(self) -> Tracker:
        from onlinetada.trackers.build import build_tracker

        return build_tracker(**self._arguments())

    def check(self) -> None:
        """Refuse what cannot be built, before anything is written.

        Raises:
            InputError: no such model, or no such file of weights.
        """
        if self.model.startswith("opencv-"):
            self()
            return
        from onlinetada.trackers.assemble import torch_device

        self._weights_files()
        torch_device(self._arguments()["device"])

    def engine(self) -> Any:
        """An engine for many targets at once.

        Raises:
            InputError: the model has no network of ours.
        """
        from onlinetada.trackers.assemble import build_engine

        if self.model.startswith("opencv-"):
            raise InputError(f"--batch needs a network; {self.model} runs one sequence at a time")
        return build_engine(**self._arguments())

    def settings(self) -> dict[str, object]:
        """What decides the results: everything but the device, files by their hash."""
        left_out = {"device": self.device, "weights": self.weights, "runtime": "auto", "dtype": "float32"}
        values = {k: v for k, v in asdict(self).items() if v is not None and (k not in left_out or v != left_out[k])}
        files = self._weights_files()
        return {**values, "weights_sha256": _sha256(files)} if files else values

    def _weights_files(self) -> list[Path]:
        if self.model.startswith("opencv-"):
            paths = [Path(p) for p in (self.weights or "").split(",") if p]
            return [f for p in paths for f in (sorted(p.glob("*.onnx")) if p.is_dir() else [p])]
        from onlinetada.trackers.assemble import weights_path
        from onlinetada.trackers.models.registry import find_model
        from onlinetada.trackers.runtime.choose import checked_runtime, weights_beside
        from onlinetada.trackers.runtime.session import learning_beside

        given = weights_path(find_model(self.model), self.weights)
        path = weights_beside(given)
        if not path.is_file():
            raise InputError(f"{path}: no such file of weights")
        further = [path.with_suffix(".json")]  # it holds inference options
        if checked_runtime(self.runtime) != "torch":
            further += [path.with_suffix(".onnx"), learning_beside(path)]
        return [path, *(file for file in further if file.is_file())]

    def _arguments(self) -> dict[str, Any]:
        device = self.device
        rank = os.environ.get("LOCAL_RANK")
        if rank is not None and device in (None, "cuda"):
            import torch

            if torch.cuda.is_available():
                device = f"cuda:{int(rank) % torch.cuda.device_count()}"
        return {**asdict(self), "device": device}


def _sha256(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
