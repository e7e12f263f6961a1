"""The sweep over the image: complete, nearest first, bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onlinetada.errors import InputError
from onlinetada.trackers.look import Look
from onlinetada.trackers.loss import LossPolicy
from onlinetada.trackers.models.network import Geometry
from onlinetada.trackers.options import InferenceConfig, RecoveryOptions, with_changes
from onlinetada.trackers.pose import Pose, search_region
from onlinetada.trackers.redetect import Hunt, sweep

GEOMETRY = Geometry(template_size=128, search_size=256, context=0.5, color="rgb", crop="subpixel", grid_size=16)
POLICY = LossPolicy()
LAST = Pose(np.array([600.0, 100.0]), np.array([30.0, 20.0]))


@pytest.mark.parametrize("image_size", [(640, 480), (1280, 720), (50, 40)])
def test_the_sweep_covers_the_image_nearest_first(image_size: tuple[int, int]) -> None:
    options = RecoveryOptions(overlap=0.5)
    places = [pose for _, pose in sweep(LAST, image_size, GEOMETRY, options)]
    side = search_region(LAST, GEOMETRY).side
    seen = np.zeros(image_size[::-1], bool)
    for place in places:
        (x0, y0), (x1, y1) = place.centre - side / 4, place.centre + side / 4  # well inside a window
        seen[max(0, round(y0)) : round(y1), max(0, round(x0)) : round(x1)] = True
    border = round(side / 4) + 1
    inner = seen[border:-border, border:-border] if min(image_size) > side else seen[20:21, 25:26]
    assert inner.all()
    far = [np.abs(place.centre - LAST.centre).max() for place in places]
    assert far == sorted(far)


def hunt(**changes: Any) -> Hunt:
    options = RecoveryOptions(windows_per_frame=3, growth_per_s=0.5, max_growth=1.5, **changes)
    return Hunt(LAST, LAST, options, POLICY, GEOMETRY, since_s=10.0)


def seen(confidence: float, x: float) -> Look:
    pose = Pose(np.array([x, 100.0]), LAST.size)
    return Look(pose, confidence, False, confidence, np.zeros(4))


def test_a_hunt_grows_and_widens() -> None:
    searching = hunt(reach_per_s=2.0)
    assert [searching.growth(t) for t in (3.0, 10.0, 10.5, 99.0)] == [1.0, 1.0, 1.25, 1.5]
    assert searching.windows((640, 480), 10.0)[0].centre.tolist() == [600, 100]
    everything = sweep(LAST, (640, 480), GEOMETRY, RecoveryOptions())
    side = search_region(LAST, GEOMETRY).side
    soon = {tuple(p.centre) for _ in range(60) for p in searching.windows((640, 480), 10.5)[1:]}
    assert soon == {tuple(p.centre) for d, p in everything if d <= 1.0}
    assert all(np.abs(np.array(c) - LAST.centre).max() <= side + 1e-9 for c in soon)
    late = [tuple(p.centre) for _ in range(-(-len(everything) // 2)) for p in searching.windows((640, 480), 99.0)[1:]]
    assert len(late) <= len(everything) + 1 and set(late) == {tuple(p.centre) for _, p in everything}


def test_a_find_elsewhere_needs_more_and_for_longer() -> None:
    searching = hunt(confirm=0.8, confirm_ms=100.0)
    lost = seen(0.1, 600)
    assert searching.consider(lost, [lost, seen(0.7, 300)], 10.0) == POLICY.enter_lost and searching.find is None
    assert searching.consider(lost, [lost, seen(0.9, 300), seen(0.2, 310)], 10.03) == POLICY.enter_lost
    assert searching.find is not None and not searching.find.near
    assert [p.centre[0] for p in searching.windows((640, 480), 10.06)] == [600, 300]
    assert searching.consider(lost, [lost, seen(0.6, 304)], 10.06) == POLICY.enter_lost
    assert searching.consider(lost, [lost, seen(0.7, 308)], 10.14) == 0.7
    assert searching.find is not None and searching.find.pose.centre[0] == 308
    assert searching.consider(lost, [lost, seen(0.2, 312)], 10.17) == 0.2 and searching.find is None


def test_the_last_place_comes_first_then_the_drift() -> None:
    searching, lost = hunt(), seen(0.1, 600)
    searching.consider(lost, [lost, seen(0.95, 300)], 10.0)
    assert searching.consider(seen(0.6, 602), [seen(0.7, 620), seen(0.95, 300)], 10.03) == 0.6
    assert searching.find is not None and searching.find.near and searching.find.pose.centre[0] == 602
    # it is followed from there, and what was found elsewhere is forgotten
    assert searching.consider(lost, [lost, seen(0.7, 605)], 10.06) == 0.7
    assert searching.find.pose.centre[0] == 605
    assert searching.consider(lost, [seen(0.2, 606), seen(0.3, 607)], 10.09) == POLICY.enter_lost
    assert searching.find is None and searching.drift.centre[0] == 606
    assert searching.consider(lost, [seen(0.7, 608)], 10.12) == 0.7
    assert searching.find is not None and searching.find.near and searching.find.pose.centre[0] == 608


def test_options_are_checked() -> None:
    config = with_changes(InferenceConfig(), {"recovery": {"scales": [1.0, 1.5]}, "size_lr": 0.2}, source="card")
    assert config.recovery.scales == (1.0, 1.5) and config.size_lr == 0.2
    with pytest.raises(InputError, match="card: there is no option 'size_rate'"):
        with_changes(InferenceConfig(), {"size_rate": 1}, source="card")
    with pytest.raises(InputError, match="window_influence must be between"):
        with_changes(InferenceConfig(), {"window_influence": 2.0}, source="card")
    for wrong in ({"overlap": 1.0}, {"windows_per_frame": -1}, {"scales": []}):
        with pytest.raises(InputError, match="recovery"):
            with_changes(InferenceConfig(), {"recovery": wrong}, source="card")
