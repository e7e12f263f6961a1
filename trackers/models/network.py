"""What every tracking network offers: one function for training, batches and live streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from onlinetada.state import StreamState


@dataclass(frozen=True)
class Geometry:
    """How a network wants its pictures.

    With p = context * (w + h), a template is cropped from a square of side sqrt((w + p) * (h + p)) around the target,
    a search region from a square that is search_size / template_size times as large.

    Attributes:
        template_size: side of the square template in pixels.
        search_size: side of the square search region in pixels.
        context: share of (w + h) that is added to both sides of a box before the crop is taken.
        color: channel order of the pictures.
        crop: "integer" as in the published Siamese code (whole pixels, padded first, then resized), or "subpixel".
        grid_size: candidates are a grid_size x grid_size map, flattened row by row.
    """

    template_size: int
    search_size: int
    context: float
    color: Literal["bgr", "rgb"]
    crop: Literal["integer", "subpixel"]
    grid_size: int


@dataclass(frozen=True)
class Candidates:
    """What a network says of one search region a stream. N = grid_size ** 2.

    Attributes:
        boxes: (B, N, 4) cx, cy, w, h in pixels of the search region, cx and cy measured from its centre.
        scores: (B, N), larger is better; their scale is the model's own.
        similarity: (B, N) cosine, -1..1, of each cell's features with the target's own from the first frame, where
            the network has it; it lets the tracker tell the target from something that merely looks like one.
        features: (B, ...) what ``learn`` needs of this frame, where the network learns from what is believed.
        parts: (B, N) mean cosine of the parts of each box with the same parts of the first frame's target, where the
            network keeps parts.
        answers: (B, N) of the network's own filter for the target, cell by cell, near 1 on it; where it has one.
    """

    boxes: Tensor
    scores: Tensor
    similarity: Tensor | None = None
    features: Tensor | None = None
    parts: Tensor | None = None
    answers: Tensor | None = None


class LearningNetwork(Protocol):
    """A network whose memory goes on after the first frame, by what the tracker believes of each."""

    def learn(self, features: Tensor, boxes: Tensor, state: StreamState) -> None:
        """Take in B boxes (B, 4) cx, cy, w, h in pixels of the search region, measured from its centre, in place.

        Args:
            features: those of ``Candidates`` of the same frame.
            boxes: NaN leaves a row as it is.
            state: frozen rows stay as they are.
        """

    def learned(self, features: Tensor, boxes: Tensor, memory: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What ``learn`` would write: name -> new buffer. Nothing that came in is changed."""


class TrackNetwork(Protocol):
    """A Siamese network whose whole memory of a target, template features included, is a row of a state.

    Pictures are float tensors with values 0..255; normalisation is the network's business. An implementation is an
    ``nn.Module``; ``start`` and ``step`` are for evaluation mode.
    """

    geometry: Geometry

    def start(self, template: Tensor, search: Tensor, box: Tensor) -> StreamState:
        """Begin B streams.

        Args:
            template: (B, 3, S, S) crop around the target.
            search: (B, 3, R, R) search region of the same frame, with the target at its centre.
            box: (B, 4) cx, cy, w, h of the target in pixels of the template.
        """

    def step(self, search: Tensor, state: StreamState, *, commit: bool = True) -> tuple[Candidates, StreamState]:
        """One frame of B streams: (B, 3, R, R). The state is written in place unless ``commit`` is false."""

    def forward(self, template: Tensor, clip: Tensor, box: Tensor, *, first: Tensor | None = None) -> Any:
        """The same for T frames at once, for training: what ``start`` and then T times ``step`` would see.

        Args:
            template: (B, 3, S, S).
            clip: (B, 3, T, R, R) search regions.
            box: (B, 4) as for ``start``.
            first: (B, 3, R, R) the search region that the streams start on; the first of the clip without it.

        Returns:
            The head's raw maps, each (B, T, ...), in a tuple with named fields of the network's own.
        """
