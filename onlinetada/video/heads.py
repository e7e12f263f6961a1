"""From feature maps to predictions, over clips and live."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onlinetada.errors import InputError
from onlinetada.layers import OnlineTemporalAvgPool

NumClasses = int | tuple[int, int]
Prediction = Tensor | dict[str, Tensor]


class Head(nn.Module):
    """Mean over space and time, then a norm if there is one, dropout and linear classifiers.

    Args:
        channels: C.
        num_classes: classes; (verbs, nouns) for two classifiers; 0 for the features of every frame.
        window: None for the mean over the whole clip, else the frames before a prediction that its mean is over: then
            the head is causal and the prediction for a clip is that after its last frame.
        phases: product of the temporal strides before the head.
        norm: of the pooled features.
        dropout: share of the features that training leaves out.
    """

    def __init__(
        self,
        channels: int,
        num_classes: NumClasses,
        *,
        window: int | None = None,
        phases: int = 1,
        norm: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.names = _names(num_classes)
        counts = [num_classes] if isinstance(num_classes, int) else list(num_classes)
        self.pool = None if window is None or not self.names else OnlineTemporalAvgPool(window)
        if self.pool is not None:
            self.pool.phases = phases
        self.norm = nn.Identity() if norm is None else norm
        self.dropout = nn.Dropout(dropout)
        self.classifiers = nn.ModuleDict(
            {name: nn.Linear(channels, count) for name, count in zip(self.names, counts, strict=False)}
        )

    def forward(self, x: Tensor, *, per_frame: bool = False) -> Prediction:
        """Feature maps (B, C, T, H, W), or of one frame (B, C, H, W).

        Args:
            per_frame: of a clip, a prediction for every frame: (B, T, classes).

        Returns:
            (B, classes); a dict of two for verbs and nouns; without classes (B, T, C), or (B, C) of one frame.
        """
        pooled = x.mean((-2, -1))
        if not self.names:
            return self.norm(pooled.transpose(1, 2) if pooled.dim() == 3 else pooled)
        if self.pool is not None:
            pooled = self.pool(pooled[..., None, None])[..., 0, 0]
        if pooled.dim() == 3:
            pooled = pooled.transpose(1, 2) if per_frame else pooled[:, :, -1] if self.pool else pooled.mean(2)
        features = self.dropout(self.norm(pooled))
        scores = {name: classifier(features) for name, classifier in self.classifiers.items()}
        return scores["label"] if self.names == ("label",) else scores


def action_probabilities(scores: dict[str, Tensor]) -> Tensor:
    """Verb and noun scores -> (B, verbs, nouns), probability of every action as the product of its parts'."""
    return scores["verb"].softmax(1)[:, :, None] * scores["noun"].softmax(1)[:, None, :]


def action_top(scores: dict[str, Tensor]) -> Tensor:
    """(B, 2) the verb and the noun of the most probable action."""
    joint = action_probabilities(scores)
    best = joint.flatten(1).argmax(1)
    return torch.stack([best // joint.shape[2], best % joint.shape[2]], 1)


def _names(num_classes: NumClasses) -> tuple[str, ...]:
    if isinstance(num_classes, int):
        if num_classes < 0:
            raise InputError(f"num_classes must be 0 (features) or more, it is {num_classes}")
        return ("label",) if num_classes else ()
    if len(num_classes) != 2 or min(num_classes) < 1:
        raise InputError(f"num_classes must be a number, or (verbs, nouns); it is {num_classes}")
    return ("verb", "noun")
