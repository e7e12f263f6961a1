"""What a perfect, a shifted and a constant tracker must score follows from arithmetic, in every protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.geometry import bounding_boxes, overlap
from onlinetada.trackers.evaluation.protocols import PROTOCOLS, find_protocol
from onlinetada.trackers.evaluation.scores import Score, score_sequence, sequence_values, total
from onlinetada.trackers.evaluation.sequences import Sequence

PERFECT = 20 / 21  # the last of 21 thresholds is 1, and the overlap must be above it


def score(name: str, sequence: Sequence, boxes: np.ndarray) -> Score:
    return total(PROTOCOLS[name], [score_sequence(PROTOCOLS[name], sequence, boxes)])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_perfect(moving: Callable[..., Sequence], name: str) -> None:
    sequence = moving()
    result = score(name, sequence, sequence.truth)
    assert result.success == pytest.approx(1.0 if name == "got10k-ao" else PERFECT)
    assert result.precision == result.norm_precision == 1.0


@pytest.mark.parametrize(
    ("name", "success", "precision", "norm_precision"),
    [
        ("ope", PERFECT / 2, 1.0, 1.0),
        ("pysot", PERFECT / 2, 1.0, 1.0),
        ("got10k", PERFECT / 2, 0.5, 0.5),
        ("lasot", PERFECT, 1.0, 1.0),
        ("got10k-ao", 1.0, 1.0, 1.0),
    ],
)
def test_perfect_where_half_the_frames_have_no_target(
    moving: Callable[..., Sequence], name: str, success: float, precision: float, norm_precision: float
) -> None:
    sequence = moving(absent=(5, 6, 7, 8, 9))
    boxes = np.where(np.isnan(sequence.truth), 7.0, sequence.truth)
    result = score(name, sequence, boxes)
    assert (result.success, result.precision, result.norm_precision) == pytest.approx(
        (success, precision, norm_precision)
    )


@pytest.mark.parametrize("name", PROTOCOLS)
def test_shifted_by_half_its_width(moving: Callable[..., Sequence], name: str) -> None:
    sequence = moving()
    shifted = sequence.truth + np.array([10, 0, 0, 0])  # overlap 1/3, above 7 of 21 thresholds; 10 pixels; 0.5 widths
    result = score(name, sequence, shifted)
    given = 1 if PROTOCOLS[name].first_frame == "truth" else 0
    if name == "got10k-ao":
        assert result.success == pytest.approx(1 / 3)
    else:
        assert result.success == pytest.approx((given * PERFECT + (10 - given) * 7 / 21) / 10)
    assert result.precision == 1.0
    # as area, 0.5 is within the last of 51 thresholds
    rest = 1 / 51 if name == "lasot" else 0.0
    assert result.norm_precision == pytest.approx((given + (10 - given) * rest) / 10)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_constant(moving: Callable[..., Sequence], name: str) -> None:
    sequence = moving()
    result = score(name, sequence, np.tile(sequence.truth[0], (10, 1)))
    left_out = name == "got10k-ao"
    assert result.success == pytest.approx(0.0 if left_out else PERFECT / 10)
    assert result.precision == pytest.approx(0.0 if left_out else 0.1)


def test_first_frame_is_given_or_taken_from_the_file(moving: Callable[..., Sequence]) -> None:
    sequence = moving()
    boxes = sequence.truth.copy()
    boxes[0] = [0, 0, 1, 1]
    assert score("pysot", sequence, boxes).success == pytest.approx(0.9 * PERFECT)
    for name in ("ope", "got10k", "lasot"):
        assert score(name, sequence, boxes).success == pytest.approx(PERFECT)


@pytest.mark.parametrize("bad", [[np.nan] * 4, [5, 5, 0, 9], [5, 5, 9, -1]])
def test_a_row_that_is_no_box(moving: Callable[..., Sequence], bad: list[float]) -> None:
    """The MATLAB toolkits repeat the row before it; the others count a miss."""
    still = moving(frames=10)
    still = replace(still, truth=np.tile(still.truth[0], (10, 1)))
    boxes = still.truth.copy()
    boxes[3:5] = bad
    for name in ("ope", "lasot"):
        assert score(name, still, boxes).success == pytest.approx(PERFECT)
    for name in ("pysot", "got10k"):
        assert score(name, still, boxes).success == pytest.approx(0.8 * PERFECT)


def test_a_zero_coordinate_is_absent_for_ope_alone(moving: Callable[..., Sequence]) -> None:
    sequence = moving()
    sequence.truth[4, 0] = 0  # a good box at the left border
    assert score("ope", sequence, sequence.truth).success == pytest.approx(0.9 * PERFECT)
    for name in ("pysot", "got10k", "lasot"):
        assert score(name, sequence, sequence.truth).success == pytest.approx(PERFECT)


def test_labels_leave_frames_out_for_lasot(moving: Callable[..., Sequence]) -> None:
    sequence = replace(moving(), absent=np.arange(10) >= 5)
    boxes = sequence.truth.copy()
    boxes[5:] = 1
    assert score("lasot", sequence, boxes).success == pytest.approx(PERFECT)
    assert score("ope", sequence, boxes).success == pytest.approx(PERFECT / 2)


def test_got10k_ao_pools_frames_and_cuts_at_the_image(moving: Callable[..., Sequence]) -> None:
    protocol = PROTOCOLS["got10k-ao"]
    long, short = moving(frames=9), moving(frames=3)
    good = score_sequence(protocol, long, long.truth)
    poor = score_sequence(protocol, short, short.truth + 1000)
    assert total(protocol, [good, poor]).success == pytest.approx(8 / 10)  # 8 and 2 frames after the first
    outside = replace(long, bounds=(110.0, 200.0), truth=np.tile([100.0, 50, 20, 20], (9, 1)))
    assert score("got10k-ao", outside, outside.truth + np.array([0, 0, 30, 0])).success == pytest.approx(1.0)


def test_polygons_are_compared_as_polygons() -> None:
    diamond = np.array([[15.0, 5, 25, 15, 15, 25, 5, 15]])
    assert overlap(diamond, diamond)[0] == pytest.approx(1)
    assert overlap(bounding_boxes(diamond), diamond)[0] == pytest.approx(0.5)
    assert np.isnan(overlap(diamond * np.nan, diamond)[0])
    sequence = Sequence("p", np.repeat(diamond, 4, axis=0))
    assert score("pysot", sequence, np.repeat(diamond, 4, axis=0)).success == pytest.approx(PERFECT)
    assert score("ope", sequence, np.repeat(bounding_boxes(diamond), 4, axis=0)).success == pytest.approx(
        (PERFECT + 3 * 10 / 21) / 4
    )


def test_nothing_counted_says_nothing(moving: Callable[..., Sequence]) -> None:
    sequence = moving(absent=tuple(range(10)))
    protocol = PROTOCOLS["lasot"]
    one = score_sequence(protocol, sequence, sequence.truth)
    assert np.isnan(sequence_values(protocol, one)["success"])
    assert total(protocol, [one]).sequences == 0


def test_unknown_protocol() -> None:
    with pytest.raises(InputError, match="unknown protocol 'opee'; known: ope, pysot"):
        find_protocol("opee")
