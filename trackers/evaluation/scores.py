"""Scores of trackers on a benchmark: per sequence, over all, over attributes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence as Several
from dataclasses import dataclass

import numpy as np

from onlinetada.trackers.evaluation.boxfiles import Boxes
from onlinetada.trackers.evaluation.geometry import Values
from onlinetada.trackers.evaluation.protocols import (
    NORM_THRESHOLDS,
    OVERLAP_THRESHOLDS,
    PRECISION_AT,
    FrameErrors,
    Protocol,
    frame_errors,
    precision_curve,
    success_curve,
)
from onlinetada.trackers.evaluation.sequences import Sequence


@dataclass(frozen=True)
class SequenceScore:
    """One tracker on one sequence.

    Attributes:
        success_curve: (21,) over overlap thresholds 0, 0.05 ... 1.
        precision_curve: (51,) over 0..50 pixels.
        norm_precision_curve: (51,) over 0..0.5 of the target's size.
    """

    name: str
    errors: FrameErrors
    success_curve: Values
    precision_curve: Values
    norm_precision_curve: Values


@dataclass(frozen=True)
class Score:
    """Figures of one tracker over a set of sequences.

    Attributes:
        success: area under the success curve; the average overlap AO with ``got10k-ao``.
        precision: share of frames within 20 pixels.
        norm_precision: at 0.2, or as area, as the protocol says.
        sr50: share of frames with an overlap above 0.5.
        sr75: share of frames with an overlap above 0.75.
        success_curve: mean curve (21,).
        precision_curve: mean curve (51,).
        norm_precision_curve: mean curve (51,).
    """

    sequences: int
    success: float
    precision: float
    norm_precision: float
    sr50: float
    sr75: float
    success_curve: Values
    precision_curve: Values
    norm_precision_curve: Values


def score_sequence(protocol: Protocol, sequence: Sequence, result: Boxes) -> SequenceScore:
    """Curves of one result on one sequence."""
    errors = frame_errors(protocol, sequence, result)
    return SequenceScore(
        sequence.name,
        errors,
        success_curve(errors.overlap),
        precision_curve(errors.error),
        precision_curve(errors.norm_error, NORM_THRESHOLDS),
    )


def score_tracker(
    protocol: Protocol, sequences: Several[Sequence], results: Mapping[str, Boxes]
) -> dict[str, SequenceScore]:
    """All sequences that the tracker has a result for, by name, in the order of ``sequences``."""
    return {s.name: score_sequence(protocol, s, results[s.name]) for s in sequences if s.name in results}


def sequence_values(protocol: Protocol, score: SequenceScore) -> dict[str, float]:
    """success, precision and norm_precision of one sequence."""
    return {
        "success": _success(protocol, [score]),
        "precision": float(score.precision_curve[PRECISION_AT]),
        "norm_precision": _norm_precision(protocol, score.norm_precision_curve),
    }


def total(protocol: Protocol, scores: Several[SequenceScore]) -> Score:
    """Combine sequences: each counts alike, or each frame where the protocol pools them. NaN where there is nothing."""
    # sequences of which no frame is counted (all absent, all left out) have nothing to say
    scores = [s for s in scores if len(s.errors.frames)]
    if protocol.pooled and scores:
        overlaps = np.concatenate([s.errors.overlap for s in scores])
        curves = (
            success_curve(overlaps),
            precision_curve(np.concatenate([s.errors.error for s in scores])),
            precision_curve(np.concatenate([s.errors.norm_error for s in scores]), NORM_THRESHOLDS),
        )
    else:
        curves = (
            _mean([s.success_curve for s in scores], len(OVERLAP_THRESHOLDS)),
            _mean([s.precision_curve for s in scores], 51),
            _mean([s.norm_precision_curve for s in scores], 51),
        )
    success, precision, norm = curves
    return Score(
        sequences=len(scores),
        success=_success(protocol, scores),
        precision=float(precision[PRECISION_AT]),
        norm_precision=_norm_precision(protocol, norm),
        sr50=float(success[10]),
        sr75=float(success[15]),
        success_curve=success,
        precision_curve=precision,
        norm_precision_curve=norm,
    )


def by_attribute(
    protocol: Protocol, sequences: Several[Sequence], scores: Mapping[str, SequenceScore]
) -> dict[str, Score]:
    """The same figures over the sequences that have each attribute."""
    names = list(dict.fromkeys(a for s in sequences for a in s.attributes))
    table = {}
    for attribute in sorted(names):
        members = [scores[s.name] for s in sequences if attribute in s.attributes and s.name in scores]
        if members:
            table[attribute] = total(protocol, members)
    return table


def rounded(value: float, digits: int = 6) -> float | None:
    """For JSON, which knows no NaN."""
    return round(float(value), digits) if math.isfinite(value) else None


def _success(protocol: Protocol, scores: Several[SequenceScore]) -> float:
    if not scores:
        return float("nan")
    if protocol.pooled:  # GOT-10k: the mean overlap itself, a row that is NaN being a miss
        overlaps = np.concatenate([s.errors.overlap for s in scores])
        return float(np.nan_to_num(overlaps).mean()) if len(overlaps) else float("nan")
    return float(np.mean([s.success_curve for s in scores]))


def _norm_precision(protocol: Protocol, curve: Values) -> float:
    return float(curve.mean() if protocol.norm_precision == "area" else curve[PRECISION_AT])


def _mean(curves: Several[Values], size: int) -> Values:
    return np.mean(curves, axis=0) if len(curves) else np.full(size, np.nan)
