"""What is timed: our models by stage, OpenCV's trackers, and the published code where there is a copy of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import numpy as np
import torch

from onlinetada.errors import InputError
from onlinetada.trackers.bench.footage import Footage
from onlinetada.trackers.bench.timing import Form
from onlinetada.trackers.camera import scene_shifts, thumbnail
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.look import Look
from onlinetada.trackers.opencv import build_opencv_tracker
from onlinetada.trackers.result import Box, Image
from onlinetada.trackers.runtime.device_looker import DeviceLooker
from onlinetada.trackers.runtime.graphs import batch_size_for

_SPREAD_PX = 12.0  # between the targets of a batch


def update_form(engine: Engine, footage: Footage, batch: int) -> Form:
    """Whole updates: ``batch`` targets in one stream, one call a frame, played forwards and backwards.

    All rows begin on the first frame near the target, so that the work is that of ``batch`` targets that are followed.
    """
    engine.clear()
    keys = [engine.add(footage.frames[0], _shifted(footage.box, row)) for row in range(batch)]
    frames = _back_and_forth(footage.frames)

    def update() -> None:
        frame = next(frames)
        engine.update({key: frame for key in keys})

    return update


def stage_forms(engine: Engine, footage: Footage, batch: int) -> dict[str, Form]:
    """The stages of an update by themselves, on one frame: camera, crop, network, decide, learn as the host does them.

    Where looks are computed on the device, "whole step" is all of it there, from the crop to the choice.
    """
    engine.clear()
    for row in range(batch):
        engine.add(footage.frames[0], _shifted(footage.box, row))
    assert engine.state is not None  # noqa: S101 - for the type checker; rows were added
    looker, state = engine.looker, engine.state.clone()
    plans = looker.placed([target.plan(footage.frames[1]) for target in engine.targets.values()])
    size = looker.network.geometry.search_size

    def crop() -> Any:
        return looker.tensor([looker.crop(p.picture, p.region, size, p.fill)[0] for p in plans])

    search = crop()

    @torch.inference_mode()
    def network() -> Any:
        return looker.network.step(search, state)

    candidates, _ = network()
    flat = np.zeros(batch, bool)

    def decide() -> list[Look]:
        return looker.decide(plans, candidates, flat)

    forms: dict[str, Form] = {"crop": crop, "network": network, "decide": decide}
    if engine.config.camera_jump is not None:
        before = thumbnail(footage.frames[0])
        forms = {"camera": lambda: scene_shifts([before] * batch, [plan.picture for plan in plans])} | forms
    if candidates.features is not None:
        looks = decide()

        @torch.inference_mode()
        def learn() -> None:
            looker.learn(plans, looks, candidates.features, state)

        forms["learn"] = learn
    if isinstance(looker, DeviceLooker):
        with torch.inference_mode():
            looker.look(plans, state)
        forms["whole step"] = torch.inference_mode()(looker.steps.sizes[batch_size_for(batch)].run)
    return forms


def opencv_form(name: str, footage: Footage, *, weights: str | None = None, batch: int = 1) -> Form:
    """The same frames through OpenCV trackers, one a target.

    Raises:
        InputError: it is not in this OpenCV, or needs files.
    """
    trackers = [build_opencv_tracker(name, weights=weights) for _ in range(batch)]
    for row, tracker in enumerate(trackers):
        tracker.init(footage.frames[0], _shifted(footage.box, row))
    frames = _back_and_forth(footage.frames)

    def update() -> None:
        frame = next(frames)
        for tracker in trackers:
            tracker.update(frame)

    return update


def available(forms: dict[str, Callable[[], Form]], say: Callable[[str], None]) -> dict[str, Form]:
    """Those that can be made here; what cannot is said and left out."""
    made = {}
    for name, make in forms.items():
        try:
            made[name] = make()
        except InputError as error:
            say(f"left out: {error}")
    return made


def _shifted(box: Box, row: int) -> Box:
    x, y, w, h = box
    turn = 2.4 * row  # spread over the plane without two in one place
    reach = _SPREAD_PX * row**0.5
    return x + reach * float(np.cos(turn)), y + reach * float(np.sin(turn)), w, h


def _back_and_forth(frames: list[Image]) -> Iterator[Image]:
    return cycle(frames[1:] + frames[-2:1:-1])
