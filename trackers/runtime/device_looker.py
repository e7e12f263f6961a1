"""Looks that are computed on the device as a whole: what the engine asks, answered by ``DeviceStep``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from onlinetada.state import StreamState
from onlinetada.trackers.look import Look, Looker, Plan
from onlinetada.trackers.models.network import TrackNetwork
from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.runtime.device_crop import pack, source_for
from onlinetada.trackers.runtime.device_step import ENDS, DeviceStep
from onlinetada.trackers.runtime.graphs import GraphedSteps


class DeviceLooker(Looker):
    """As ``Looker``, with crop, network and choice on the device and one small copy back.

    Args:
        network: in evaluation mode, on ``device``.
        config: inference options.
        device: where the network is.
        graphs: whether steps are captured as CUDA graphs; by default where the device is a GPU.
    """

    def __init__(
        self, network: TrackNetwork, config: InferenceConfig, device: torch.device, *, graphs: bool | None = None
    ) -> None:
        super().__init__(network, config, device)
        wanted = device.type == "cuda" if graphs is None else graphs
        self.steps = GraphedSteps(DeviceStep(network, config, device), capture=wanted)

    def look(self, plans: Sequence[Plan], state: StreamState, *, commit: bool = True) -> list[Look]:
        """See ``Looker.look``."""
        geometry, plans = self.network.geometry, self.placed(plans)
        packed = pack(
            [source_for(p.picture, p.region, geometry.search_size, p.fill, geometry.crop) for p in plans],
            [plan.fill for plan in plans],
        )
        if commit:
            state.freeze(torch.from_numpy(packed.flat).to(state.device))
        numbers = self.steps(packed, np.array([self._row(plan) for plan in plans]), state, commit=commit)
        signals, offset, size, rate, score = np.split(numbers, ENDS, axis=1)
        return self.looks(plans, packed.flat, signals, offset, size, rate[:, 0], score[:, 0])

    def _row(self, plan: Plan) -> list[float]:
        """See ``device_step.ROW_NUMBERS``."""
        centre, scale, config = plan.region.centre, plan.region.scale, self.config
        image = np.array(plan.picture.shape[1::-1], dtype=np.float64)
        least = np.minimum(config.min_size_px, image) * scale
        size = plan.expected.size * scale
        return [*size, config.window_influence * plan.centred, *(-centre * scale), *((image - centre) * scale), *least]
