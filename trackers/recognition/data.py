"""Training and test clips of a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from onlinetada.trackers.recognition.annotations import VideoItem, class_counts, read_items
from onlinetada.trackers.recognition.motion import CLASSES, render_clip
from onlinetada.trackers.recognition.reading import Pictures, Video, cropped, scaled
from onlinetada.trackers.recognition.recipe import DataOptions, RecognitionRecipe
from onlinetada.trackers.recognition.sampling import (
    Indices,
    dense_indices,
    even_crop,
    random_crop,
    uniform_indices,
)

_TEST_SEED = 2**31
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Material:
    """What a recipe trains and tests on.

    Attributes:
        train, test: items; empty for rendered motion.
        num_classes: classes, or verbs and nouns.
    """

    train: tuple[VideoItem, ...]
    test: tuple[VideoItem, ...]
    num_classes: int | tuple[int, int]


def load_material(data: DataOptions, base: Path) -> Material:
    """Read a recipe's annotation files.

    Args:
        base: folder that its paths are relative to.
    """
    if data.kind == "motion":
        return Material((), (), len(CLASSES))
    assert data.train is not None and data.test is not None and data.videos is not None  # noqa: S101  recipe looked
    labels = None if data.labels is None else base / data.labels
    train, test = (read_items(data, base / part, base / data.videos, labels) for part in (data.train, data.test))
    return Material(tuple(train), tuple(test), class_counts(train + test))


def training_batches(
    recipe: RecognitionRecipe, material: Material, *, begin: int = 0, rank: int = 0, size: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches from iteration ``begin`` on: clips (B, 3, T, H, W) uint8 and labels (B, 1 or 2).

    Clip k of the training is the same however often it was interrupted and however many processes read.
    """
    clips = _TrainingClips(recipe, material)
    count = (recipe.iterations - begin) * recipe.batch
    first = begin * recipe.batch
    numbers = [(first + i) * size + rank for i in range(count)]
    loader: DataLoader[Any] = DataLoader(
        clips, batch_size=recipe.batch, sampler=numbers, num_workers=recipe.data.workers, drop_last=True
    )
    return iter(loader)


class _TrainingClips(Dataset[tuple[Tensor, Tensor]]):
    """Clip k: of epoch k // N, in that epoch's order."""

    def __init__(self, recipe: RecognitionRecipe, material: Material) -> None:
        self.recipe, self.items = recipe, material.train
        self.count = len(self.items) or recipe.data.train_clips
        self.order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        epoch, place = divmod(number, self.count)
        if self.order[0] != epoch:
            self.order = (epoch, np.random.default_rng((self.recipe.seed, epoch)).permutation(self.count))
        chosen = int(self.order[1][place])
        if not self.items:
            clip = render_clip(chosen % len(CLASSES), self.recipe.data.motion, (self.recipe.seed, 1, number))
            return _tensor(clip), torch.tensor([chosen % len(CLASSES)])
        rng = np.random.default_rng((self.recipe.seed, 2, number))
        item = self.items[chosen]
        return _tensor(self._clip(item, rng)), torch.tensor(item.label)

    def _clip(self, item: VideoItem, rng: np.random.Generator) -> Pictures:
        data, augment = self.recipe.data, self.recipe.augment
        pictures = read_clip(item, data, rng=rng)
        height, width = pictures.shape[1:3]
        box = random_crop(height, width, augment.scale, augment.ratio, rng)
        clip = cropped(pictures, box, data.size)
        return clip[:, :, ::-1] if augment.flip and rng.random() < 0.5 else clip


def held_out_clips(data: DataOptions, material: Material) -> Iterator[tuple[str, Tensor, tuple[int, ...]]]:
    """Every test video: its name, its views (clips * crops, 3, T, H, W) uint8, its label."""
    if not material.test:
        for number in range(data.test_clips):
            label = number % len(CLASSES)
            yield f"{number}", _tensor(render_clip(label, data.motion, (_TEST_SEED, number)))[None], (label,)
    for item in material.test:
        views = []
        for clip in range(data.clips):
            pictures = scaled(read_clip(item, data, clip=clip), data.short_side)
            for crop in range(data.crops):
                height, width = pictures.shape[1:3]
                box = even_crop(height, width, data.test_size, crop, data.crops)
                views.append(_tensor(cropped(pictures, box, data.test_size)))
        yield item.name, torch.stack(views), item.label


def read_clip(item: VideoItem, data: DataOptions, *, rng: np.random.Generator | None = None, clip: int = 0) -> Pictures:
    """(T, H, W, 3) frames of an item: at random with ``rng``, else the ``clip``-th of the test's clips."""
    video = Video(item.path)
    end = video.num_frames if item.end is None else min(item.end, video.num_frames)
    count = max(1, end - item.begin)
    indices: Indices
    if data.sampling == "dense":
        indices = dense_indices(count, data.frames, data.interval, rng=rng, clip=clip, of=data.clips)
    else:
        indices = uniform_indices(count, data.frames, rng=rng, clip=clip, of=data.clips)
    return video.read(np.minimum(item.begin + indices, video.num_frames - 1))


def normalised(clips: Tensor) -> Tensor:
    """uint8 (B, 3, T, H, W) or (B, 3, H, W) -> float with ImageNet's mean and deviation."""
    shape = (1, 3, *[1] * (clips.dim() - 2))
    mean, std = (torch.tensor(v, device=clips.device).view(shape) for v in (MEAN, STD))
    return (clips.float() / 255 - mean) / std


def _tensor(clip: Pictures) -> Tensor:
    """(T, H, W, 3) -> (3, T, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(clip)).permute(3, 0, 1, 2)
