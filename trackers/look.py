"""Looking at places of pictures: crops in, one forward, the best candidate of each with its confidence out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onlinetada.state import StreamState
from onlinetada.trackers.confidence import SIGNALS, measure_signals
from onlinetada.trackers.crop import Region, crop_square, whole_region
from onlinetada.trackers.decide import choose, cosine_window
from onlinetada.trackers.models.network import Candidates, LearningNetwork, TrackNetwork
from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.pose import Pose, moved
from onlinetada.trackers.result import Image

Floats = npt.NDArray[np.float64]

_IS_JUMP = np.array([name == "size_jump" for name in SIGNALS])
_SHARED_CROPS = 8  # fewer are not worth starting threads for


@dataclass(frozen=True)
class Plan:
    """One place to look at.

    Attributes:
        picture: (H, W, 3) uint8 BGR.
        expected: where the target should be.
        region: the search region around it.
        fill: (3,) colour outside of the picture.
        centred: whether places near the expected one are preferred.
        size_known: whether another size than the expected one speaks against a candidate; a target that was lost may
            come back in any.
    """

    picture: Image
    expected: Pose
    region: Region
    fill: Floats
    centred: bool = True
    size_known: bool = True


@dataclass(frozen=True)
class Look:
    """What was seen.

    Attributes:
        found: where the target is, if this is it; the expected place where nothing was seen.
        confidence: that it is, 0..1; 0 where the picture shows nothing.
        blind: whether the picture shows nothing there, or the network gave no numbers.
        raw_score: the network's score of the choice.
        signals: (6,) what the confidence is made of, see ``confidence.SIGNALS``; no jump where the size is not known.
    """

    found: Pose
    confidence: float
    blind: bool
    raw_score: float
    signals: Floats


class Looker:
    """A network with what it takes to ask it.

    Args:
        network: in evaluation mode, on ``device``.
        config: inference options.
        device: where the network is.
    """

    def __init__(self, network: TrackNetwork, config: InferenceConfig, device: torch.device) -> None:
        self.network, self.config, self.device = network, config, device
        self._window = cosine_window(network.geometry.grid_size, config.window)

    def crop(self, picture: Image, region: Region, size: int, fill: Floats) -> tuple[Image, bool]:
        """See ``crop.crop_square``."""
        return crop_square(picture, region, size, fill, self.network.geometry.crop)

    def tensor(self, crops: Sequence[Image]) -> Tensor:
        """Crops (S, S, 3) BGR to (B, 3, S, S) in the network's channel order: floats, or bytes where it takes them."""
        if self.network.geometry.color == "rgb":
            crops = [cv2.cvtColor(crop, cv2.COLOR_BGR2RGB) for crop in crops]
        batch = torch.from_numpy(crops[0][None] if len(crops) == 1 else np.stack(crops)).to(self.device)
        batch = batch.permute(0, 3, 1, 2)  # stays channels_last in memory
        return batch if getattr(self.network, "takes_bytes", False) else batch.float()

    def look(self, plans: Sequence[Plan], state: StreamState, *, commit: bool = True) -> list[Look]:
        """Look at one place a row of ``state``, which is written in place unless ``commit`` is false."""
        plans = self.placed(plans)
        cut = self._cut(plans)
        flat = np.array([is_flat for _, is_flat in cut])
        if commit:
            state.freeze(torch.from_numpy(flat).to(state.device))
        candidates, _ = self.network.step(self.tensor([crop for crop, _ in cut]), state, commit=commit)
        looks = self.decide(plans, candidates, flat)
        if commit:
            self.learn(plans, looks, candidates.features, state)
        return looks

    def learn(self, plans: Sequence[Plan], looks: Sequence[Look], features: Tensor | None, state: StreamState) -> None:
        """Let the network's memory go on with what was found, where it has such a memory."""
        if features is not None:
            believed = np.stack([self._believed(plan, look) for plan, look in zip(plans, looks, strict=True)])
            boxes = torch.from_numpy(believed).to(self.device, torch.float32)
            cast(LearningNetwork, self.network).learn(features, boxes, state)

    def placed(self, plans: Sequence[Plan]) -> list[Plan]:
        """The plans with regions of whole pixels, where the network's crops have no such rule of their own."""
        geometry = self.network.geometry
        if geometry.crop == "integer":
            return list(plans)
        return [replace(plan, region=whole_region(plan.region, geometry.search_size)) for plan in plans]

    def _cut(self, plans: Sequence[Plan]) -> list[tuple[Image, bool]]:
        """The crops of all plans; many are shared out among threads, which OpenCV lets run at once."""
        size, threads = self.network.geometry.search_size, torch.get_num_threads()

        def cut(plan: Plan) -> tuple[Image, bool]:
            return self.crop(plan.picture, plan.region, size, plan.fill)

        if threads == 1 or len(plans) < _SHARED_CROPS:
            return [cut(plan) for plan in plans]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(cut, plans))

    def decide(self, plans: Sequence[Plan], candidates: Candidates, flat: npt.NDArray[np.bool_]) -> list[Look]:
        """The best candidate of every place; ``flat``: (B,) whether its crop shows nothing."""
        config = self.config
        boxes, scores = _array(candidates.boxes), _array(candidates.scores)
        old_size = np.stack([plan.expected.size * plan.region.scale for plan in plans])
        choice = choose(
            boxes,
            scores,
            old_size,
            self._window,
            penalty_k=config.penalty_k,
            window_influence=np.array([[config.window_influence * plan.centred] for plan in plans]),
            size_lr=config.size_lr,
        )
        seen = {name: getattr(candidates, name) for name in ("similarity", "parts", "answers")}
        seen = {name: _array(tensor) for name, tensor in seen.items() if tensor is not None}
        signals = measure_signals(boxes, scores, choice.index, old_size, **seen)
        return self.looks(plans, flat, signals, choice.offset, choice.size, choice.rate, choice.score)

    def looks(
        self,
        plans: Sequence[Plan],
        flat: npt.NDArray[np.bool_],
        signals: Floats,
        offset: Floats,
        size: Floats,
        rate: Floats,
        score: Floats,
    ) -> list[Look]:
        """What was seen, from the numbers of the chosen candidates, see ``decide.Choice``."""
        if not all(plan.size_known for plan in plans):
            signals = np.where([[plan.size_known] for plan in plans] | ~_IS_JUMP, signals, 0)
        confidence = self.config.confidence(signals)
        usable = np.isfinite(np.concatenate([signals, offset, size], 1)).all(axis=1)
        looks = []
        for i, plan in enumerate(plans):
            blind = bool(flat[i] or not usable[i])
            found = plan.expected if blind else self._moved(plan, offset[i], size[i], float(rate[i]))
            sure = 0.0 if blind else float(confidence[i])
            looks.append(Look(found, sure, blind, float(score[i]), signals[i]))
        return looks

    def _believed(self, plan: Plan, look: Look) -> Floats:
        """(4,) the box that the memory learns from, in pixels of the crop from its centre; NaN for none."""
        if look.confidence < self.config.learn_confidence:
            return np.full(4, np.nan)
        scale = plan.region.scale
        return np.concatenate([(look.found.centre - plan.region.centre) * scale, look.found.size * scale])

    def _moved(self, plan: Plan, offset: Floats, size: Floats, rate: float) -> Pose:
        image_size = np.array(plan.picture.shape[1::-1], dtype=np.float64)
        least = self.config.min_size_px
        return moved(plan.expected, plan.region, offset, size, rate, image_size=image_size, min_size_px=least)


def _array(tensor: Tensor) -> Floats:
    return np.asarray(tensor.double().cpu().numpy())
