"""A recipe of action recognition: everything that decides what comes out, in one frozen value read from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from onlinetada.errors import InputError
from onlinetada.trackers.recognition.motion import MotionOptions


@dataclass(frozen=True)
class NetworkChoice:
    """Which network: the arguments of ``onlinetada.video.build``.

    Attributes:
        name: such as tada2d_r50.
        tada: calibrated or not; by default as the name says.
        options: temporal options and the network's shape.
        weights: file to begin with (.safetensors, or .pt and .pyth with tensors), relative to the recipe.
    """

    name: str = "tada2d_r50"
    tada: bool | None = None
    options: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None


@dataclass(frozen=True)
class DataOptions:
    """Where clips come from.

    Attributes:
        kind: rendered motion; a CSV file of path, label; or the annotations of Kinetics-400, Something-Something V2 or
            Epic-Kitchens-100.
        train, test: annotation files, relative to the recipe; motion needs none.
        labels: file that names the classes (Something-Something V2).
        videos: folder of the videos or frame folders, relative to the recipe.
        frames: T, of a clip.
        sampling: dense (every ``interval``-th frame from a random place) or uniform (one of each of T segments).
        interval: between frames of dense sampling.
        size: side of the crop in pixels.
        test_size: side of the crops in testing; the short side of videos is scaled to ``short_side``.
        short_side: of videos in testing, in pixels.
        clips, crops: of each video in testing.
        motion: how motion is rendered.
        train_clips, test_clips: rendered clips of an epoch, and of the test.
        workers: processes that read.
        names: of the classes, in the order of their numbers, where the annotation file has none.
    """

    kind: Literal["motion", "csv", "kinetics400", "ssv2", "epic100"] = "motion"
    train: str | None = None
    test: str | None = None
    labels: str | None = None
    videos: str | None = None
    frames: int = 8
    sampling: Literal["dense", "uniform"] = "dense"
    interval: int = 8
    size: int = 224
    test_size: int = 256
    short_side: int = 256
    clips: int = 10
    crops: int = 3
    motion: MotionOptions = field(default_factory=MotionOptions)
    train_clips: int = 4096
    test_clips: int = 512
    workers: int = 0
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.crops not in (1, 3):
            raise InputError(f"data.crops must be 1 (middle) or 3 (both ends too), not {self.crops}")
        if self.kind == "motion" and self.motion.frames != self.frames:
            raise InputError(f"data.motion.frames is {self.motion.frames}, data.frames is {self.frames}")
        if self.kind != "motion" and (self.train is None or self.test is None or self.videos is None):
            raise InputError("data.train, data.test and data.videos are needed")
        if self.kind == "ssv2" and self.labels is None:
            raise InputError("data.labels is needed: the file that numbers the classes of Something-Something V2")


@dataclass(frozen=True)
class AugmentOptions:
    """What is done to training clips.

    Attributes:
        scale: smallest and largest share of the picture's area that a crop has.
        ratio: smallest and largest ratio of a crop's sides.
        flip: mirror half of the clips.
        auto_augment: RandAugment of kornia, as (operations, magnitude); needs onlinetada[video].
        mixup, cutmix: concentration of the mixing share; 0 is none. With both, each takes half of the batches.
        label_smoothing: share of the target that goes to all classes.
    """

    scale: tuple[float, ...] = (0.08, 1.0)
    ratio: tuple[float, ...] = (0.75, 1.333)
    flip: bool = True
    auto_augment: tuple[int, ...] | None = None
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class OptimiserOptions:
    """SGD with momentum, or AdamW; linear warm-up, then a cosine.

    Attributes:
        kind: which.
        learning_rate: for the whole batch, of all processes together.
        momentum: of SGD (Nesterov).
        weight_decay: on weights of two dimensions and more.
        warm_up: share of the iterations until the full rate.
        new_factor: calibrations and norms of temporal pooling learn so much faster.
        head_factor: and so does the classifier.
        clip_norm: largest norm of the gradient; 0 is any.
        ema: share of the averaged weights that stays in every iteration; 0 keeps the last ones.
    """

    kind: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.24
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warm_up: float = 0.08
    new_factor: float = 1.0
    head_factor: float = 1.0
    clip_norm: float = 0.0
    ema: float = 0.0


@dataclass(frozen=True)
class RecognitionRecipe:
    """How a video network is trained and tested.

    Attributes:
        iterations: steps of the optimiser.
        batch: clips a step and process.
        name: of the weights' file.
        network, data, augment, optimiser: as they say.
        seed: of weights and clips.
        precision: of the arithmetic.
        log_every, checkpoint_every: iterations between lines of the log, and between checkpoints.
    """

    iterations: int
    batch: int = 16
    name: str = "video"
    network: NetworkChoice = field(default_factory=NetworkChoice)
    data: DataOptions = field(default_factory=DataOptions)
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    log_every: int = 50
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        for name in ("iterations", "batch", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
