"""What all video networks have in common."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from onlinetada.errors import InputError
from onlinetada.video.heads import Head, Prediction


class VideoNetwork(nn.Module):
    """Feature maps, then a head.

    Attributes:
        online: whether everything in it is causal, so that it runs inside ``onlinetada.streaming``.
    """

    online: bool
    head: Head

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> feature maps (B, C, T', H', W'); online also a frame (B, 3, H, W) -> (B, C, H', W')."""

    def forward(self, x: Tensor, *, per_frame: bool = False) -> Prediction:
        """Scores of clips (B, 3, T, H, W); in a stream, of the next frame (B, 3, H, W) of each of B streams.

        Args:
            per_frame: scores for every frame that is left after temporal strides, (B, T', classes).

        Returns:
            (B, classes); the online form's are those after the last frame. For verbs and nouns a dict of both.

        Raises:
            InputError: an input of another shape, or a frame for a network that needs whole clips.
        """
        if x.dim() == 4 and not self.online:
            raise InputError("this network takes clips (B, 3, T, H, W); build it with online=True to give it frames")
        if x.dim() not in (4, 5) or x.shape[1] != 3:
            raise InputError(f"the input must be (B, 3, T, H, W), or frames (B, 3, H, W); it is {tuple(x.shape)}")
        return self.head(self.features(x), per_frame=per_frame)
