"""A whole look on the device as one function of tensors: crop, network, decoding, choice, signals, learning.

It does what ``look.Looker`` does with numpy on the host, in the same order and in float64 from the network's answer on.
Nothing in it depends on values, so that a CUDA graph can hold it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from onlinetada.state import StreamState
from onlinetada.trackers.confidence import APART, LEAST_SCORE, SIGNALS
from onlinetada.trackers.decide import cosine_window
from onlinetada.trackers.models.network import Candidates, LearningNetwork, TrackNetwork
from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.runtime.device_crop import sample

ENDS = (len(SIGNALS), len(SIGNALS) + 2, len(SIGNALS) + 4, len(SIGNALS) + 5)
"""Where groups of columns of the answer end: signals; offset x, y; size w, h in pixels of the crop; rate."""

NUMBERS = ENDS[-1] + 1
"""Columns of the answer: those of ``ENDS`` and the raw score."""

ROW_NUMBERS = 9
"""Columns of what is known of a row, in pixels of the crop from its centre: width and height of the box so far,
influence of the window, where the picture begins (x, y) and ends (x, y), the least width and height of a box."""


class DeviceStep(nn.Module):
    """One look of B rows.

    Args:
        network: in evaluation mode, on the device.
        config: inference options.
        device: where the network is.
    """

    def __init__(self, network: TrackNetwork, config: InferenceConfig, device: torch.device) -> None:
        super().__init__()
        self.network, self.config = network, config
        window = cosine_window(network.geometry.grid_size, config.window)
        self.window = torch.from_numpy(window).to(device)
        self._swap = network.geometry.color == "rgb"
        fitted = config.confidence
        weights = [getattr(fitted, name) for name in SIGNALS]
        self.confidence = torch.tensor([fitted.bias, *weights], dtype=torch.float64, device=device)

    def forward(
        self, pixels: Tensor, where: Tensor, warp: Tensor, fill: Tensor, rows: Tensor, state: StreamState
    ) -> Tensor:
        """Look, learn, and write the state.

        Args:
            pixels, where, warp, fill: see ``device_crop.sample``.
            rows: (B, 9) float64, see ``ROW_NUMBERS``.
            state: of B streams; rows that are frozen keep it.

        Returns:
            (B, NUMBERS) float64, see ``NUMBERS``.
        """
        search = sample(pixels, where, warp, fill, self.network.geometry.search_size)
        if self._swap:
            search = search.flip(1)
        candidates, _ = self.network.step(search, state)
        numbers = self.decide(candidates, rows)
        if candidates.features is not None:
            network = cast(LearningNetwork, self.network)
            network.learn(candidates.features, self.believed(numbers, rows).float(), state)
        return numbers

    def believed(self, numbers: Tensor, rows: Tensor) -> Tensor:
        """The boxes that the memory learns from, (B, 4), as ``Looker.learn`` has them; NaN for none."""
        signals, offset, size, rate, _ = numbers.tensor_split(ENDS, dim=1)
        begin, end, least = rows[:, 3:5], rows[:, 5:7], rows[:, 7:9]
        confidence = (self.confidence[0] + signals @ self.confidence[1:]).sigmoid()
        grown = rows[:, :2] * (1 - rate) + size * rate
        box = torch.cat([offset.maximum(begin).minimum(end), grown.maximum(least).minimum(end - begin)], 1)
        sure = (confidence >= self.config.learn_confidence) & box.isfinite().all(1)
        return torch.where(sure[:, None], box, torch.nan)

    def decide(self, candidates: Candidates, rows: Tensor) -> Tensor:
        """``decide.choose`` and ``confidence.measure_signals`` on the device: (B, NUMBERS)."""
        boxes, scores = candidates.boxes.double(), candidates.scores.double()
        old_w, old_h, influence = (rows[:, i : i + 1] for i in range(3))
        w, h = boxes[..., 2], boxes[..., 3]
        size_change = _either_way(_padded_side(w, h) / _padded_side(old_w, old_h))
        aspect_change = _either_way((old_w / (old_h + 1e-5)) / (w / (h + 1e-5)))
        penalised = torch.exp(-(size_change * aspect_change - 1) * self.config.penalty_k) * scores
        index = (penalised * (1 - influence) + self.window * influence).argmax(1, keepdim=True)
        chosen = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        peak = scores.gather(1, index)
        rate = penalised.gather(1, index) * self.config.size_lr
        area = (chosen[..., 2] * chosen[..., 3]).clamp(min=1e-9)
        jump = (area / (old_w * old_h).clamp(min=1e-9)).log().abs() / 2
        apart = ((boxes[..., :2] - chosen[..., :2]).abs() > APART * chosen[..., 2:]).any(2)
        apart = apart | ~apart.any(1, keepdim=True)
        held = scores.clamp(LEAST_SCORE, 1 - LEAST_SCORE)
        lead = _lead((held / (1 - held)).log(), index, apart)
        none = peak * 0
        alike = none if candidates.similarity is None else candidates.similarity.double().gather(1, index)
        parts = none if candidates.parts is None else candidates.parts.double().gather(1, index)
        contrast = none if candidates.answers is None else _lead(candidates.answers.double(), index, apart)
        return torch.cat([peak, lead, jump, alike, parts, contrast, chosen[:, 0], rate, peak], 1)


def _lead(values: Tensor, index: Tensor, apart: Tensor) -> Tensor:
    """(B, 1) by how much the chosen cells' values are above the best of those that are apart."""
    return values.gather(1, index) - torch.where(apart, values, -torch.inf).amax(1, keepdim=True)


def _padded_side(w: Tensor, h: Tensor) -> Tensor:
    pad = (w + h) / 2
    return ((w + pad) * (h + pad)).sqrt()


def _either_way(ratio: Tensor) -> Tensor:
    return torch.maximum(ratio, 1 / (ratio + 1e-5))
