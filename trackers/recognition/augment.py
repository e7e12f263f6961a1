"""Augmentation of whole batches by kornia: RandAugment, mixup and cutmix; and the soft targets that they need."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from onlinetada.errors import InputError
from onlinetada.trackers.recognition.recipe import AugmentOptions


class Augmentation:
    """Changes batches of clips (B, 3, T, H, W) in [0, 1]; the same change for all frames of a clip.

    Raises:
        InputError: RandAugment, mixup or cutmix is asked for and kornia is not installed.
    """

    def __init__(self, options: AugmentOptions) -> None:
        self.options = options
        self.kornia: Any = None
        if options.auto_augment is not None or options.mixup or options.cutmix:
            self.kornia = _kornia()

    def pictures(self, clips: Tensor) -> Tensor:
        """RandAugment; every clip gets operations of its own."""
        if self.options.auto_augment is None:
            return clips
        from kornia.augmentation.auto import RandAugment

        operations, magnitude = self.options.auto_augment
        policy = RandAugment(n=operations, m=magnitude)
        changed = torch.empty_like(clips)
        for clip, out in zip(clips, changed, strict=True):
            parameters = policy.forward_parameters(torch.Size((1, *clip[:, 0].shape)))
            for t in range(clip.shape[1]):  # drawn once, so that all frames are changed alike
                out[:, t] = policy(clip[None, :, t], params=parameters)[0]
        return changed.clamp(0, 1)

    def mixed(self, clips: Tensor, label: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Mixup or cutmix of a batch with itself, and the targets (B, classes).

        Args:
            label: (B,) classes.
        """
        smoothing = self.options.label_smoothing
        target = F.one_hot(label, classes).float() * (1 - smoothing) + smoothing / classes
        choices = [name for name in ("mixup", "cutmix") if getattr(self.options, name)]
        if not choices or clips.shape[0] < 2:
            return clips, target
        name = choices[int(torch.randint(len(choices), ()))]
        pair, share, clips = self._mix(name, clips)
        return clips, target * (1 - share[:, None]) + target[pair] * share[:, None]

    def _mix(self, name: str, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The partner of every clip, its share, and the mixture. Frames are channels to the library."""
        flat = clips.flatten(1, 2)
        # The library mixes labels of its own: numbers of the clips tell who was mixed with whom.
        numbers = torch.arange(clips.shape[0], device=clips.device)
        concentration = float(getattr(self.options, name))
        beta = torch.distributions.Beta(concentration, concentration).sample().item()
        if name == "mixup":
            low = torch.tensor([beta, beta + 1e-6])
            layer = self.kornia.RandomMixUpV2(lambda_val=low, p=1.0, data_keys=["input", "class"])
            mixed, said = layer(flat, numbers)
            return said[:, 1].long(), said[:, 2].to(clips.dtype), mixed.view_as(clips)
        cut = torch.tensor([1 - beta, 1 - beta + 1e-6]).clamp(0, 1).sqrt()
        layer = self.kornia.RandomCutMixV2(
            num_mix=1, cut_size=cut, beta=1.0, p=1.0, use_correct_lambda=True, data_keys=["input", "class"]
        )
        # What the library says of the share is off by its rounding of the box: a channel of numbers tells it exactly.
        tags = numbers.to(flat.dtype).view(-1, 1, 1, 1).expand(-1, 1, *flat.shape[2:])
        mixed, said = layer(torch.cat([flat, tags], 1), numbers)
        share = (mixed[:, -1] != tags[:, 0]).to(clips.dtype).mean((1, 2))
        return said[0, :, 1].long(), share, mixed[:, :-1].reshape(clips.shape)


def _kornia() -> Any:
    try:
        import kornia.augmentation
    except ImportError:
        raise InputError("this augmentation needs kornia: pip install 'onlinetada[video]'") from None
    return kornia.augmentation
