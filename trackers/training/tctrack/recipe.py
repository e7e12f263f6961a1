"""A recipe for TCTrack and TCTrack++, with the values of the published training as defaults.

arXiv 2203.01885, section 4.1; arXiv 2308.10330, section V.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from onlinetada.errors import InputError


@dataclass(frozen=True)
class SamplingOptions:
    """What a sample shows: a template, and search regions of later or earlier frames, the last of which is judged.

    Attributes:
        samples: in a batch of one process.
        frame_range: the judged frame is at most so many frames of the track away from the template's.
        negative: share of samples whose template shows another target.
        template_shift_px, search_shift_px: largest offset of the target from the middle.
        template_scale, search_scale: largest relative change of width and height, each.
        blur: share of search regions that are blurred.
        flip: share of samples that are mirrored.
        colour: share of pictures whose colour is changed.
        grey: share of samples without colour.
    """

    samples: int = 140
    frame_range: int = 50
    negative: float = 0.0
    template_shift_px: float = 4.0
    template_scale: float = 0.05
    search_shift_px: float = 64.0
    search_scale: float = 0.18
    blur: float = 0.2
    flip: float = 0.0
    colour: float = 1.0
    grey: float = 0.0


@dataclass(frozen=True)
class Stage:
    """From this epoch on, so many search regions come before the one that is judged."""

    epoch: int
    earlier: int


@dataclass(frozen=True)
class LossOptions:
    """Weights of the parts of the loss.

    Attributes:
        box: of everything about boxes.
        score: of everything about scores.
        iou, l1, centre: parts of ``box``: -log IoU, difference of the coded distances, distance of the centres.
        two_way, one_way: parts of ``score``: softmax of background and target, logit of how central a cell is.
    """

    box: float = 3.0
    score: float = 1.2
    iou: float = 1.0
    l1: float = 0.0
    centre: float = 1.0
    two_way: float = 1.0
    one_way: float = 1.0


@dataclass(frozen=True)
class ScheduleOptions:
    """SGD, a learning rate for every epoch.

    Attributes:
        warm_up_epochs: the rate grows from ``start_rate`` to ``peak_rate`` by the same factor each epoch.
        start_rate, peak_rate: of everything but the backbone.
        end_rate: of the last epoch; in between the rates are spaced logarithmically.
        backbone_factor: the backbone learns so much slower.
        backbone_epoch: until then all of it is frozen. Its first two blocks always are.
        momentum, weight_decay: of SGD.
        clip_norm: largest norm of the gradient.
        ema: share of averaged weights that stays in every iteration; as published there is no averaging.
    """

    warm_up_epochs: int = 5
    start_rate: float = 0.005
    peak_rate: float = 0.01
    end_rate: float = 5e-5
    backbone_factor: float = 0.1
    backbone_epoch: int = 10
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_norm: float = 10.0
    ema: float = 0.0


@dataclass(frozen=True)
class TCTrackRecipe:
    """How TCTrack or TCTrack++ is trained.

    Attributes:
        model: which of the two.
        epochs: passes of ``epoch_samples`` samples.
        epoch_samples: samples an epoch, of all processes together if ``processes`` says how many there will be.
        name: of the weights' file; by default the model's.
        quirks: "none" trains a consistent network. "trained" re-reads tokens in the modulation as the published
            training does; such weights track with the same setting, which their card says.
        sampling: what the samples show.
        stages: the curriculum of the clip length.
        loss: weights of its parts.
        schedule: how it learns.
        seed: of weights and samples.
        imagenet: ImageNet weights of the AlexNet, relative to the recipe; ``--backbone`` on the command line is the
            same. Without them (and without ``initial``) nothing is frozen, which is not the published training.
        initial: weights of the whole network to begin with instead.
        precision: of the arithmetic before the loss.
        material: see ``Recipe``.
        log_every, checkpoint_every, validate_every, validate_clips: see ``Recipe``.
    """

    model: Literal["tctrack", "tctrackpp"]
    epochs: int = 100
    epoch_samples: int = 600_000
    processes: int = 1
    name: str | None = None
    quirks: Literal["none", "trained"] = "none"
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    stages: tuple[Stage, ...] = (Stage(0, 3),)
    loss: LossOptions = field(default_factory=LossOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    seed: int = 0
    imagenet: str | None = None
    initial: str | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    material: str = "tctrack_material.yaml"
    log_every: int = 100
    checkpoint_every: int = 1000
    validate_every: int = 0
    validate_clips: int = 24

    def __post_init__(self) -> None:
        if min(self.epochs, self.epoch_samples, self.processes, self.sampling.samples) < 1:
            raise InputError("epochs, epoch_samples, processes and sampling.samples must be at least 1")
        if not self.stages or self.stages[0].epoch != 0 or min(s.earlier for s in self.stages) < 1:
            raise InputError("stages must begin with epoch 0, and have at least 1 earlier search region")
        if not 0 <= self.schedule.warm_up_epochs < self.epochs:
            raise InputError(f"schedule.warm_up_epochs must be less than the {self.epochs} epochs")

    @property
    def epoch_iterations(self) -> int:
        """Steps of the optimiser in an epoch."""
        return max(1, self.epoch_samples // (self.sampling.samples * self.processes))

    @property
    def iterations(self) -> int:
        """Steps of the optimiser in all."""
        return self.epochs * self.epoch_iterations

    def earlier(self, epoch: int) -> int:
        """Search regions before the judged one in an epoch."""
        return next(s.earlier for s in reversed(self.stages) if s.epoch <= epoch)

    def rate(self, epoch: int) -> float:
        """Learning rate of everything but the backbone in an epoch."""
        schedule = self.schedule
        if epoch < schedule.warm_up_epochs:
            share = epoch / schedule.warm_up_epochs
            return schedule.start_rate * (schedule.peak_rate / schedule.start_rate) ** share
        steps = self.epochs - schedule.warm_up_epochs - 1
        share = (epoch - schedule.warm_up_epochs) / max(1, steps)
        return schedule.peak_rate * (schedule.end_rate / schedule.peak_rate) ** min(1.0, share)
