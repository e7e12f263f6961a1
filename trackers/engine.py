"""Many targets as rows of one batch: crop, one forward, decide, judge; each row in its own image or all in one.

A row holds everything of its target, so rows come and go at any time. The network's memory of a target is a row of a
StreamState; place and size are float64 on the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import isfinite
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch

from onlinetada.errors import InputError
from onlinetada.state import StreamState
from onlinetada.trackers.camera import scene_shifts, thumbnail
from onlinetada.trackers.images import as_bgr, checked_box
from onlinetada.trackers.look import Look, Looker, Plan
from onlinetada.trackers.loss import LossEvent
from onlinetada.trackers.models.network import TrackNetwork
from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.pose import first_pose, search_region, template_region
from onlinetada.trackers.result import Image, TrackResult
from onlinetada.trackers.target import Target


class Engine:
    """Tracks any number of targets with one batched forward a frame.

    Args:
        network: in evaluation mode, on ``device``.
        config: inference options.
        device: where the network is.
        looker: asks the network in another way than by default; made for the same network, options and device.

    Attributes:
        targets: id -> what is known of it, in the order of the rows.
        state: the network's memory, one row a target; None without targets.
        looker: the network with what it takes to ask it.
    """

    def __init__(
        self,
        network: TrackNetwork,
        config: InferenceConfig | None = None,
        *,
        device: torch.device | str = "cpu",
        looker: Looker | None = None,
    ) -> None:
        self.network = network
        self.config = InferenceConfig() if config is None else config
        self.device = torch.device(device)
        self.targets: dict[int, Target] = {}
        self.state: StreamState | None = None
        self.looker = looker or Looker(network, self.config, self.device)
        self._next_id = 0

    @torch.no_grad()
    def add(
        self, image: Image, box_xywh: npt.ArrayLike, *, timestamp_s: float | None = None, color: str = "bgr"
    ) -> int:
        """Start a target on its first frame and give its id. An id is never used again.

        Raises:
            InputError: a picture or a box that cannot be used.
        """
        picture = as_bgr(image, color)
        box = checked_box(box_xywh, picture)
        geometry = self.network.geometry
        pose, fill = first_pose(box, geometry), picture.reshape(-1, 3).mean(0)
        cut = template_region(pose, geometry)
        around = search_region(pose, geometry, side=cut.side)
        template, _ = self.looker.crop(picture, cut, geometry.template_size, fill)
        search, _ = self.looker.crop(picture, around, geometry.search_size, fill)
        in_template = [[geometry.template_size / 2] * 2 + (pose.size * cut.scale).tolist()]
        tensors = self.looker.tensor([template]), self.looker.tensor([search])
        row = self.network.start(*tensors, torch.tensor(in_template, device=self.device))
        self.state = row if self.state is None else self.state.append(row)
        key, self._next_id = self._next_id, self._next_id + 1
        start_s = 0.0 if timestamp_s is None else float(timestamp_s)
        target = Target(box, pose, cut.side, fill, self.config, geometry, start_s=start_s)
        target.thumbnail = None if self.config.camera_jump is None else thumbnail(picture)
        self.targets[key] = target
        return key

    @torch.no_grad()
    def remove(self, key: int) -> None:
        """Forget a target."""
        self._check([key])
        kept = [row for row, other in enumerate(self.targets) if other != key]
        del self.targets[key]
        self.state = self.state.select(kept) if self.state is not None and kept else None

    def clear(self) -> None:
        """Forget all targets; ids begin at 0 again."""
        self.targets, self.state, self._next_id = {}, None, 0

    @torch.inference_mode()
    def update(
        self,
        images: Mapping[int, Image],
        *,
        timestamp_s: float | Mapping[int, float] | None = None,
        color: str = "bgr",
    ) -> dict[int, TrackResult]:
        """One frame of the given targets; the others are left as they are.

        Args:
            images: target -> its picture. Targets may share one or have one each.
            timestamp_s: capture time, one for all or by target; without it frames are 1/30 s apart.
            color: channel order of the pictures.

        Returns:
            target -> result, in the order of ``images``; the latency is that of the whole batch.
        """
        began_s = perf_counter()
        self._check(images)
        distinct = {id(image): as_bgr(image, color) for image in images.values()}
        pictures = {key: distinct[id(image)] for key, image in images.items()}
        stamps = {k: timestamp_s.get(k) if isinstance(timestamp_s, Mapping) else timestamp_s for k in images}
        if any(stamp is not None and not isfinite(stamp) for stamp in stamps.values()):
            raise InputError(f"timestamp_s must be a finite number of seconds or None, it is {timestamp_s}")
        for key, stamp in stamps.items():
            self.targets[key].tick(stamp)
        if pictures:
            self._advance(pictures)
        latency_ms = (perf_counter() - began_s) * 1000
        return {key: self.targets[key].result(latency_ms) for key in images}

    def events(self, key: int) -> tuple[LossEvent, ...]:
        """What happened to a target: uncertain, certain, lost, recovered; the latest 256, oldest first."""
        self._check([key])
        return tuple(self.targets[key].monitor.events)

    def result(self, key: int) -> TrackResult:
        """A target as of its last frame."""
        self._check([key])
        return self.targets[key].result(0.0)

    def _check(self, keys: Mapping[int, Image] | list[int]) -> None:
        for key in keys:
            if key not in self.targets:
                raise InputError(f"there is no target {key!r}; there are: {sorted(self.targets) or 'none'}")

    def _advance(self, pictures: Mapping[int, Image]) -> None:
        assert self.state is not None  # noqa: S101 - for the type checker; there are targets
        active = [row for row, key in enumerate(self.targets) if key in pictures]
        keys = [key for key in self.targets if key in pictures]
        part = self.state if len(active) == len(self.targets) else self.state.select(active)
        plans = [self.targets[key].plan(pictures[key]) for key in keys]
        if self.config.camera_jump is not None:
            plans = self._steadied(keys, plans, part)
        looks = self._main_looks(keys, plans, part)
        if part is not self.state:
            for name, buffer in self.state.buffers.items():
                buffer[active] = part[name]
        extra = self._sweep_looks(keys, plans, part)
        for key, look, further in zip(keys, looks, extra, strict=True):
            self.targets[key].judge(look, further)

    def _steadied(self, keys: list[int], plans: list[Plan], state: StreamState) -> list[Plan]:
        """The plans; where the camera has moved far, the better of staying in the picture and staying in the scene."""
        targets = [self.targets[key] for key in keys]
        small, shifts = scene_shifts([target.thumbnail for target in targets], [plan.picture for plan in plans])
        for target, seen in zip(targets, small, strict=True):
            target.thumbnail = seen
        moved = [target.moved_plan(plan, s) for target, plan, s in zip(targets, plans, shifts, strict=True)]
        rows = [row for row, plan in enumerate(moved) if plan is not None]
        if not rows:
            return plans
        pairs = [plan for row in rows for plan in (plans[row], moved[row]) if plan is not None]
        looks = self.looker.look(pairs, state.select([row for row in rows for _ in range(2)]), commit=False)
        plans = list(plans)
        for row, other, stays, moves in zip(rows, pairs[1::2], looks[::2], looks[1::2], strict=True):
            if moves.confidence > stays.confidence:
                plans[row] = other
        return plans

    def _main_looks(self, keys: list[int], plans: list[Plan], state: StreamState) -> list[Look]:
        """One look of every row. What rows saw that were lost, blind or unsure does not stay in their memory."""
        if not self.config.recover:
            return self.looker.look(plans, state)
        before = state.clone()
        looks = self.looker.look(plans, state)
        low = self.config.loss.enter_lost
        forget = [
            look.confidence < low or self.targets[key].hunt is not None for key, look in zip(keys, looks, strict=True)
        ]
        if any(forget):
            state.freeze(~torch.tensor(forget, device=state.device))
            state.commit(before.buffers)
            state.freeze([])
        return looks

    def _sweep_looks(self, keys: list[int], plans: list[Plan], state: StreamState) -> list[list[Look]]:
        """Further looks of the rows that are lost, all in one batch."""
        further = [self.targets[key].sweep_plans(plan) for key, plan in zip(keys, plans, strict=True)]
        rows = [row for row, some in enumerate(further) for _ in some]
        if not rows:
            return further_looks(further, [])
        looks = self.looker.look([plan for some in further for plan in some], state.select(rows), commit=False)
        return further_looks(further, looks)


def further_looks(plans: list[list[Plan]], looks: list[Look]) -> list[list[Look]]:
    """Hand the looks of one batch back to the rows that planned them."""
    bounds = np.cumsum([0, *map(len, plans)])
    return [looks[a:b] for a, b in pairwise(bounds)]
