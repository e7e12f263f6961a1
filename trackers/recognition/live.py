"""The running prediction of an online network on frames as they come."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import onlinetada
from onlinetada.errors import InputError
from onlinetada.trackers.io.frames import Frame
from onlinetada.trackers.recognition.data import normalised
from onlinetada.trackers.recognition.modelfile import ModelCard
from onlinetada.trackers.recognition.reading import cropped, scaled
from onlinetada.trackers.recognition.sampling import even_crop
from onlinetada.trackers.result import Image
from onlinetada.video import VideoNetwork


@dataclass(frozen=True)
class Prediction:
    """What is seen up to one frame.

    Attributes:
        index, timestamp_s: of the frame.
        probabilities: (classes,) of each classifier: "label", or "verb" and "noun".
        latency_ms: from the picture to this.
    """

    index: int
    timestamp_s: float
    probabilities: dict[str, Tensor]
    latency_ms: float

    def best(self, count: int) -> dict[str, list[tuple[int, float]]]:
        """The most probable classes of each classifier, with their probabilities."""
        out = {}
        for name, values in self.probabilities.items():
            top = values.topk(min(count, len(values)))
            out[name] = list(zip(top.indices.tolist(), top.values.tolist(), strict=True))
        return out


def recognise(
    network: VideoNetwork, card: ModelCard, frames: Iterable[Frame], *, every: int | None = None, device: str = "cpu"
) -> Iterator[Prediction]:
    """Feed frames to an online network, one prediction a frame that is fed.

    Args:
        network: built with ``online=True``.
        card: how it wants its pictures.
        frames: BGR, as ``open_source`` gives them.
        every: feed every so many frames; by default the interval that the network was trained with.
        device: of the arithmetic.

    Raises:
        InputError: the network needs whole clips.
    """
    if not network.online:
        raise InputError("this network looks at later frames; train one with network.options online: true")
    return _predictions(network.to(device).eval(), card, frames, every or card.interval, device)


def _predictions(
    network: VideoNetwork, card: ModelCard, frames: Iterable[Frame], every: int, device: str
) -> Iterator[Prediction]:
    state = onlinetada.init_state(network, batch_size=1)
    for frame in frames:
        if frame.index % every:
            continue
        begin = time.perf_counter()
        with torch.inference_mode():
            scores, state = onlinetada.step(network, prepare(frame.image, card).to(device), state)
        heads = {"label": scores} if isinstance(scores, Tensor) else scores
        probabilities = {name: s[0].float().softmax(0).cpu() for name, s in heads.items()}
        latency_ms = 1e3 * (time.perf_counter() - begin)
        yield Prediction(frame.index, frame.timestamp_s, probabilities, latency_ms)


def prepare(image: Image, card: ModelCard) -> Tensor:
    """A BGR picture -> (1, 3, size, size): scaled, the middle cut out, normalised; as in testing."""
    pictures = scaled(np.ascontiguousarray(image[None, :, :, ::-1]), card.short_side)
    height, width = pictures.shape[1:3]
    square = cropped(pictures, even_crop(height, width, card.size, 0, 1), card.size)
    return normalised(torch.from_numpy(np.ascontiguousarray(square)).permute(0, 3, 1, 2))
