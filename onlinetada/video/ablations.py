"""The article's hypothesis test and ablations, each row one set of options for `build`.

network = build("tada2d_r50", num_classes=174, **ABLATIONS["dynamic, varying"](8))
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

Row = Callable[[int], dict[str, Any]]


def _row(num_frames: int, *, bound: bool = False, **options: Any) -> dict[str, Any]:
    """Options of a row; ``bound`` ones have factors for each of the clip's frames."""
    return {**options, "num_frames": num_frames} if bound else options


_SHARES = {"1/64": 1 / 64, "1/32": 1 / 32, "1/16": 1 / 16, "1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2, "1": 1.0}

HYPOTHESIS: dict[str, Row] = {
    "none": partial(_row, source="none", aggregation="none"),
    "learned": partial(_row, source="learned", varying=False, aggregation="none"),
    "learned, varying": partial(_row, source="learned", bound=True, aggregation="none"),
    "dynamic": partial(_row, source="dynamic", varying=False, aggregation="none"),
    "dynamic, varying": partial(_row, source="dynamic", bound=True, aggregation="none"),
    "adaptive": partial(_row, aggregation="none"),
}
"""Where factors come from, and whether they vary from frame to frame; no temporal pooling."""

CONTEXT: dict[str, Row] = {
    "local, linear": partial(_row, context="local", linear=True),
    "local": partial(_row, context="local"),
    "global": partial(_row, context="global"),
    "local and global": partial(_row),
    "kernels 1, 1": partial(_row, kernels=(1, 1)),
    "kernels 3, 1": partial(_row, kernels=(3, 1)),
}
"""What an adaptive calibration sees."""

AGGREGATION: dict[str, Row] = {
    "no pooling": partial(_row, aggregation="none"),
    "pooling, no calibration": partial(_row, source="none"),
    "shared norm": partial(_row, aggregation="shared"),
    "separate norms": partial(_row),
}
"""Temporal pooling after the calibrated convolution."""

DIMENSION: dict[str, Row] = {dim: partial(_row, cal_dim=dim) for dim in ("cin", "cout", "kernel")}
"""What is scaled."""

SHARE: dict[str, Row] = {f"share {name}": partial(_row, share=share) for name, share in _SHARES.items()}
"""Share of the channels that is calibrated."""

STAGES: dict[str, Row] = {
    f"stages {'-'.join(map(str, stages))}": partial(_row, stages=stages)
    for stages in ((4,), (3, 4), (2, 3, 4), (1, 2, 3, 4), (1,), (2,), (3,))
}
"""Stages that are calibrated and pooled."""

ABLATIONS: dict[str, Row] = {**HYPOTHESIS, **CONTEXT, **AGGREGATION, **DIMENSION, **SHARE, **STAGES}
"""All rows by name; call one with the frames of a clip."""
