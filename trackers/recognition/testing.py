"""Multi-clip multi-crop testing: the scores of a video are the mean of its views' probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onlinetada.trackers.recognition.data import normalised

Views = Iterable[tuple[str, Tensor, tuple[int, ...]]]


@dataclass(frozen=True)
class Outcome:
    """What was said of every test video.

    Attributes:
        names: of the videos.
        labels: (N, 1), or (N, 2) verbs and nouns.
        probabilities: one (N, classes) array a label.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int64]
    probabilities: tuple[NDArray[np.float32], ...]

    def top(self, count: int, part: int = 0) -> float:
        """Share of the videos whose class is among the best ``count``."""
        best = np.argsort(-self.probabilities[part], 1)[:, :count]
        return float((best == self.labels[:, part, None]).any(1).mean())

    def action_top1(self) -> float:
        """Share of the videos whose verb and noun, the most probable pair, are both right."""
        right = [p.argmax(1) == self.labels[:, i] for i, p in enumerate(self.probabilities)]
        return float(np.logical_and.reduce(right).mean())

    def within(self, groups: Mapping[str, tuple[int, ...]]) -> dict[str, float]:
        """By group of classes: the share that is right when only the group's classes can be answered."""
        out = {}
        for name, classes in groups.items():
            rows = np.isin(self.labels[:, 0], classes)
            own = np.array(classes)
            answers = own[self.probabilities[0][rows][:, own].argmax(1)]
            out[name] = float((answers == self.labels[rows, 0]).mean())
        return out

    def mean_class(self) -> float:
        """Top-1 of every class that occurs, averaged."""
        right = self.probabilities[0].argmax(1) == self.labels[:, 0]
        return float(np.mean([right[self.labels[:, 0] == c].mean() for c in np.unique(self.labels[:, 0])]))

    def summary(self) -> dict[str, float]:
        """Top-1, top-5 where there are more classes, and the mean over classes; or of verbs, nouns, actions."""
        if len(self.probabilities) == 1:
            top5 = {"top5": self.top(5)} if self.probabilities[0].shape[1] > 5 else {}
            return {"top1": self.top(1), **top5, "mean_class": self.mean_class()}
        return {"verb_top1": self.top(1, 0), "noun_top1": self.top(1, 1), "action_top1": self.action_top1()}


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    videos: Views,
    *,
    device: str = "cpu",
    views_at_once: int = 64,
    on_video: Callable[[int], None] = lambda done: None,
) -> Outcome:
    """Run a network over test videos.

    Args:
        network: whole clips in, scores out.
        videos: name, views (V, 3, T, H, W) uint8 and label of each.
        views_at_once: views in one forward; several short videos share it.
        on_video: called with the number of videos done.
    """
    network = network.to(device).eval()
    names: list[str] = []
    labels: list[tuple[int, ...]] = []
    means: list[list[Tensor]] = []
    waiting: list[Tensor] = []
    for name, views, label in videos:
        names.append(name)
        labels.append(label)
        waiting.append(views)
        if sum(len(v) for v in waiting) >= views_at_once:
            means += _means(network, waiting, device, views_at_once)
            waiting = []
            on_video(len(names))
    means += _means(network, waiting, device, views_at_once) if waiting else []
    parts = [torch.stack([m[i] for m in means]).numpy() for i in range(len(means[0]))] if means else []
    return Outcome(tuple(names), np.array(labels, np.int64), tuple(parts))


def _means(network: nn.Module, waiting: list[Tensor], device: str, at_once: int) -> list[list[Tensor]]:
    views = torch.cat(waiting)
    scores: list[list[Tensor]] = []
    for part in views.split(at_once):
        said = network(normalised(part.to(device)))
        heads = [said] if isinstance(said, Tensor) else list(said.values())
        scores.append([head.float().softmax(1).cpu() for head in heads])
    by_head = [torch.cat([s[i] for s in scores]) for i in range(len(scores[0]))]
    counts = [len(v) for v in waiting]
    split = [head.split(counts) for head in by_head]
    return [[head[i].mean(0) for head in split] for i in range(len(waiting))]
