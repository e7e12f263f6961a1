"""How sure a figure is: bootstrap over sequences, and differences paired by sequence."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from onlinetada.trackers.evaluation.geometry import Values


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """How much tracker a is above tracker b on the sequences that both have.

    Attributes:
        sequences: how many.
        mean: of the differences.
        interval: 95 % bootstrap interval of the mean. It leaves out 0 where the difference is more than chance.
        wins: share of sequences on which a is better; equal ones count half.
    """

    a: str
    b: str
    sequences: int
    mean: float
    interval: Interval
    wins: float


@functools.lru_cache(maxsize=8)
def resample(count: int, *, samples: int = 10000, seed: int = 0) -> Values:
    """Bootstrap weights (samples, count): every row says how often each sequence was drawn, over ``count``."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.multinomial(count, np.full(count, 1 / count), size=samples) / count)


def mean_interval(values: Values, weights: Values, *, confidence: float = 0.95) -> Interval:
    """Percentile bootstrap interval of the mean of ``values`` (S,), with ``weights`` (samples, S) of ``resample``."""
    if len(values) < 2:
        return Interval(float("nan"), float("nan"))
    edge = (1 - confidence) / 2
    low, high = np.quantile(weights @ values, [edge, 1 - edge])
    return Interval(float(low), float(high))


def paired_difference(
    a: str, b: str, values_a: dict[str, float], values_b: dict[str, float], *, samples: int = 10000
) -> PairedDifference:
    """Compare two trackers sequence by sequence; the values are by sequence name."""
    common = [name for name in values_a if name in values_b]
    difference = np.array([values_a[n] - values_b[n] for n in common])
    difference = difference[np.isfinite(difference)]
    if not len(difference):
        nan = float("nan")
        return PairedDifference(a, b, 0, nan, Interval(nan, nan), nan)
    interval = mean_interval(difference, resample(len(difference), samples=samples))
    wins = float(np.mean(difference > 0) + np.mean(difference == 0) / 2)
    return PairedDifference(a, b, len(difference), float(difference.mean()), interval, wins)
