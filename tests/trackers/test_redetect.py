"""The sweep over the image: complete, nearest first, bounded."""

from __future__ import annotations

import numpy as np
import pytest

from onlinetada.errors import InputError
from onlinetada.trackers.models.network import Geometry
from onlinetada.trackers.options import InferenceConfig, RecoveryOptions, with_changes
from onlinetada.trackers.pose import Pose, search_region
from onlinetada.trackers.redetect import Hunt, sweep

GEOMETRY = Geometry(template_size=128, search_size=256, context=0.5, color="rgb", crop="subpixel", grid_size=16)
LAST = Pose(np.array([600.0, 100.0]), np.array([30.0, 20.0]))


@pytest.mark.parametrize("image_size", [(640, 480), (1280, 720), (50, 40)])
def test_the_sweep_covers_the_image_nearest_first(image_size: tuple[int, int]) -> None:
    options = RecoveryOptions(overlap=0.5)
    places = sweep(LAST, image_size, GEOMETRY, options)
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


def test_a_hunt_takes_its_windows_in_turn_and_grows() -> None:
    options = RecoveryOptions(windows_per_frame=3, growth_per_s=0.5, max_growth=1.5)
    hunt = Hunt(LAST, options, GEOMETRY, since_s=10.0)
    assert hunt.aim(10.0) == (LAST, 1.0)
    assert hunt.aim(10.5)[1] == 1.25 and hunt.aim(99.0)[1] == 1.5 and hunt.aim(3.0)[1] == 1.0
    total = len(sweep(LAST, (640, 480), GEOMETRY, options))
    looked = [tuple(p.centre) for _ in range(-(-total // 3)) for p in hunt.windows((640, 480))]
    assert len(set(looked)) == total
    hunt.find = Pose(LAST.centre + 50, LAST.size)
    assert hunt.windows((640, 480)) == [] and hunt.aim(99.0) == (hunt.find, 1.0)


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
