"""A whole look on the device: crop, network, decoding, penalty, window, choice, signals, as one function of tensors.

It does what ``look.Looker`` does with numpy on the host, in the same order and in float64 from the network's answer on.
Nothing in it depends on values, so that a CUDA graph can hold it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onlinetada.state import StreamState
from onlinetada.trackers.confidence import SAME_TARGET_IOU
from onlinetada.trackers.decide import cosine_window
from onlinetada.trackers.models.network import Candidates, TrackNetwork
from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.runtime.device_crop import sample

NUMBERS = 10
"""Columns of the answer: 4 signals, offset x, y, size w, h in pixels of the crop, rate, raw score."""


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

    def forward(
        self, pixels: Tensor, where: Tensor, warp: Tensor, fill: Tensor, rows: Tensor, state: StreamState
    ) -> tuple[Tensor, Tensor | None]:
        """Look and write the state.

        Args:
            pixels, where, warp, fill: see ``device_crop.sample``.
            rows: (B, 3) float64: width and height of the box so far in pixels of the crop, influence of the window.
            state: of B streams; rows that are frozen keep it.

        Returns:
            (B, 10) float64, see ``NUMBERS``, and what the network learns from, if it does.
        """
        search = sample(pixels, where, warp, fill, self.network.geometry.search_size)
        if self._swap:
            search = search.flip(1)
        candidates, _ = self.network.step(search, state)
        return self.decide(candidates, rows), candidates.features

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
