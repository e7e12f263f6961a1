"""The scoring rules of the toolkits, side by side: what each makes of absent frames, first frames, bad rows.

Sources, read for their rules: the OTB MATLAB toolkit (``calcSeqErrRobust``), the LaSOT evaluation toolkit
(``calc_seq_err_robust``), pysot's ``toolkit/utils/statistics.py`` and the got10k toolkit's experiments.
docs/evaluation.md has the table and a worked example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.boxfiles import Boxes
from onlinetada.trackers.evaluation.geometry import Mask, Values, bounding_boxes, centers, overlap, rows_with_nan
from onlinetada.trackers.evaluation.sequences import Sequence

OVERLAP_THRESHOLDS = np.linspace(0, 1, 21)
PIXEL_THRESHOLDS = np.arange(51, dtype=np.float64)
NORM_THRESHOLDS = np.arange(51, dtype=np.float64) / 100
PRECISION_AT = 20  # index of 20 pixels and of 0.2 of the target's size


@dataclass(frozen=True)
class Protocol:
    """How frames become figures.

    Attributes:
        name: as in every report.
        first_frame: the first row is set to the ground truth ("truth"), taken from the file ("file") or left out.
        absent: frames without target: overlap -1 and error -1, so a miss for success and a hit for precision
            ("sentinel"); a miss for both ("miss"); left out of the average ("drop").
        absent_if: a frame has no target if any published number is NaN or <= 0 ("any"), if the size is, for
            overlap, or the centre, for errors ("size or center"), if any number is NaN ("nan"), or if the
            benchmark's own label says so or the size is NaN or <= 0 ("label").
        repeat_last_valid: a result row that is NaN or has no area is replaced by the row before it.
        norm_precision: at a distance of 0.2, or the mean over 0..0.5 ("area").
        pooled: all frames of all sequences count alike, instead of all sequences (GOT-10k's AO).
    """

    name: str
    first_frame: Literal["truth", "file", "drop"]
    absent: Literal["sentinel", "miss", "drop"]
    absent_if: Literal["any", "size or center", "nan", "label"]
    repeat_last_valid: bool
    norm_precision: Literal["at 0.2", "area"] = "at 0.2"
    pooled: bool = False


PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        Protocol("ope", "truth", "sentinel", "any", True),
        Protocol("pysot", "file", "sentinel", "size or center", False),
        Protocol("got10k", "truth", "miss", "nan", False),
        Protocol("lasot", "truth", "drop", "label", True, "area"),
        Protocol("got10k-ao", "drop", "drop", "label", False, pooled=True),
    )
}


@dataclass(frozen=True)
class FrameErrors:
    """One tracker on one sequence, frame by frame. F frames are counted: those that the protocol does not leave out.

    Attributes:
        frames: (F,) indices of the counted frames.
        overlap: (F,) intersection over union; -1 absent (a miss), NaN a miss.
        error: (F,) centre distance in pixels; -1 absent (a hit), NaN a miss.
        norm_error: (F,) centre distance in target widths and heights.
    """

    frames: npt.NDArray[np.int64]
    overlap: Values
    error: Values
    norm_error: Values


def find_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        InputError: there is none.
    """
    if name not in PROTOCOLS:
        raise InputError(f"unknown protocol {name!r}; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def frame_errors(protocol: Protocol, sequence: Sequence, result: Boxes) -> FrameErrors:
    """Compare a result, in published coordinates, with the ground truth of its sequence.

    Args:
        result: (N, 4) or (N, 8), as many rows as the sequence has frames.
    """
    truth = sequence.truth
    boxes = _without_bad_rows(truth, result) if protocol.repeat_last_valid else result
    if protocol.name == "got10k-ao" and sequence.bounds is not None and boxes.shape[1] == truth.shape[1] == 4:
        overlaps = overlap(_clipped(boxes, sequence.bounds), _clipped(truth, sequence.bounds))
    else:
        overlaps = overlap(boxes, truth)
    upright = bounding_boxes(truth)
    size = np.maximum(upright[:, 2:], 1e-16)
    distance = centers(boxes) - centers(truth)
    error, norm_error = _norm(distance), _norm(distance / size)
    if protocol.first_frame == "truth":
        overlaps[0], error[0], norm_error[0] = 1, 0, 0
    no_overlap, no_center, no_norm = _absent(protocol, sequence, upright)
    if protocol.absent != "drop":
        value = -1.0 if protocol.absent == "sentinel" else np.nan
        overlaps[no_overlap], error[no_center], norm_error[no_norm] = value, value, value
    counted: Mask = np.ones(len(truth), dtype=bool)
    if protocol.absent == "drop":
        counted &= ~no_overlap
    if protocol.first_frame == "drop":
        counted[0] = False
    frames = np.flatnonzero(counted)
    return FrameErrors(frames, overlaps[frames], error[frames], norm_error[frames])


def success_curve(overlaps: Values, thresholds: Values = OVERLAP_THRESHOLDS) -> Values:
    """Share of frames whose overlap is above each threshold, (T,); NaN without frames."""
    return _share(np.sort(np.where(np.isnan(overlaps), -np.inf, overlaps)), thresholds, above=True)


def precision_curve(errors: Values, thresholds: Values = PIXEL_THRESHOLDS) -> Values:
    """Share of frames whose error is at most each threshold, (T,); NaN without frames."""
    return _share(np.sort(np.where(np.isnan(errors), np.inf, errors)), thresholds, above=False)


def _share(ordered: Values, thresholds: Values, *, above: bool) -> Values:
    if len(ordered) == 0:
        return np.full(len(thresholds), np.nan)
    below = np.searchsorted(ordered, thresholds, side="right") / len(ordered)
    return np.asarray(1 - below if above else below)


def _without_bad_rows(truth: Boxes, result: Boxes) -> Boxes:
    upright = bounding_boxes(result)
    bad = _not_positive(upright[:, 2:]) | rows_with_nan(upright)
    bad &= ~rows_with_nan(truth)
    bad[0] = False
    last_good = np.maximum.accumulate(np.where(bad, 0, np.arange(len(result))))
    return np.asarray(result[last_good])


def _absent(protocol: Protocol, sequence: Sequence, upright: Boxes) -> tuple[Mask, Mask, Mask]:
    """Masks (N,) of the frames without target: for overlap, for the error, for the normalised error."""
    nan = rows_with_nan(upright)
    no_size, no_place, no_center = (_not_positive(v) for v in (upright[:, 2:], upright[:, :2], centers(upright)))
    if protocol.absent_if == "any":
        rule = nan | no_size | no_place
    elif protocol.absent_if == "label":
        rule = no_size | nan if sequence.absent is None else no_size | nan | sequence.absent
    elif protocol.absent_if == "nan":
        rule = nan
    else:
        return no_size | nan, no_center, no_center
    return rule, rule, rule


def _clipped(boxes: Boxes, bounds: tuple[float, float]) -> Boxes:
    clipped = boxes.copy()
    for axis, limit in enumerate(bounds):
        clipped[:, axis] = np.clip(clipped[:, axis], 0, limit)
        clipped[:, axis + 2] = np.clip(clipped[:, axis + 2], 0, limit - clipped[:, axis])
    return clipped


def _not_positive(values: Values) -> Mask:
    """(N,) where a row is not above 0 throughout; NaN is not."""
    with np.errstate(invalid="ignore"):
        return np.asarray(~(values > 0).all(axis=1), dtype=np.bool_)


def _norm(vectors: Values) -> Values:
    return np.asarray(np.sqrt(np.square(vectors).sum(axis=1)))
