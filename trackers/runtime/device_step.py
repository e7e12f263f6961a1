"""A whole look on the device as one function of tensors: crop, network, decoding, choice, signals, learning.

It does what ``look.Looker`` does with numpy on the host, in the same order and in float64 from the network's answer on.
Nothing in it depends on values, so that a CUDA graph can hold it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from onlinetada.state import StreamState
from onlinetada.trackers.confidence import SAME_TARGET_IOU, SIGNALS
from onlinetada.trackers.decide import cosine_window
from onlinetada.trackers.models.network import Candidates, LearningNetwork, TrackNetwork
from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.runtime.device_crop import sample

NUMBERS = 10
"""Columns of the answer: 4 signals, offset x, y, size w, h in pixels of the crop, rate, raw score."""

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
            (B, 10) float64, see ``NUMBERS``.
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
        signals, offset, size, rate = numbers[:, :4], numbers[:, 4:6], numbers[:, 6:8], numbers[:, 8:9]
        begin, end, least = rows[:, 3:5], rows[:, 5:7], rows[:, 7:9]
        confidence = (self.confidence[0] + signals @ self.confidence[1:]).sigmoid()
        grown = rows[:, :2] * (1 - rate) + size * rate
        box = torch.cat([offset.maximum(begin).minimum(end), grown.maximum(least).minimum(end - begin)], 1)
        sure = (confidence >= self.config.learn_confidence) & box.isfinite().all(1)
        return torch.where(sure[:, None], box, torch.nan)

    def decide(self, candidates: Candidates, rows: Tensor) -> Tensor:
        """``decide.choose`` and ``confidence.measure_signals`` on the device: (B, 10)."""
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
        elsewhere = torch.where(_iou(boxes, chosen) < SAME_TARGET_IOU, scores, -torch.inf).amax(1, keepdim=True)
        margin = torch.where(elsewhere.isfinite(), peak - elsewhere, peak.abs())
        area = (chosen[..., 2] * chosen[..., 3]).clamp(min=1e-9)
        jump = (area / (old_w * old_h).clamp(min=1e-9)).log().abs() / 2
        alike = peak * 0 if candidates.similarity is None else candidates.similarity.double().gather(1, index)
        return torch.cat([peak, margin, jump, alike, chosen[:, 0], rate, peak], 1)


def _padded_side(w: Tensor, h: Tensor) -> Tensor:
    pad = (w + h) / 2
    return ((w + pad) * (h + pad)).sqrt()


def _either_way(ratio: Tensor) -> Tensor:
    return torch.maximum(ratio, 1 / (ratio + 1e-5))


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """Overlap of boxes (..., 4) cx, cy, w, h."""
    least = torch.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    shared = (least - torch.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)).clamp(min=0).prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - shared
    return shared / union.clamp(min=1e-9)
