"""Timing several things in turns: what slows the machine for a while meets all of them alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch

Form = Callable[[], object]


@dataclass(frozen=True)
class Latency:
    """Times of one thing in milliseconds.

    Attributes:
        p50_ms, p95_ms, p99_ms: quantiles.
        samples: how many there were.
    """

    p50_ms: float
    p95_ms: float
    p99_ms: float
    samples: int


def in_turns(
    forms: Mapping[str, Form], *, device: torch.device, seconds: float, rounds: int = 5, warm_up: int = 3
) -> dict[str, Latency]:
    """Time every form about so many seconds, a share of them in each round.

    Args:
        forms: name -> what is timed; it is called again and again.
        device: waited for before and after each call where it is a GPU.
        seconds: of measuring, for each form.
        rounds: how often the turn comes to each.
        warm_up: calls before each share, not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in forms}
    gc.collect()
    for _ in range(rounds):
        for name, form in forms.items():
            for _ in range(warm_up):
                timed(form, device)
            end_s = perf_counter() + seconds / rounds
            while True:
                times[name].append(timed(form, device))
                if perf_counter() >= end_s:
                    break
    return {name: summary(taken) for name, taken in times.items()}


def timed(form: Form, device: torch.device) -> float:
    """Milliseconds of one call, all work on the device included."""
    _wait(device)
    began_s = perf_counter()
    form()
    _wait(device)
    return (perf_counter() - began_s) * 1000


def summary(times_ms: list[float]) -> Latency:
    """Quantiles."""
    p50, p95, p99 = (float(q) for q in np.percentile(times_ms, [50, 95, 99]))
    return Latency(p50, p95, p99, len(times_ms))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
