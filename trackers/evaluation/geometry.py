"""Overlap and centre distance of boxes and polygons."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from onlinetada.trackers.evaluation.boxfiles import Boxes

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def overlap(a: Boxes, b: Boxes) -> Values:
    """Intersection over union of rows, (N,) in 0..1; NaN where a row has a NaN or both areas are nothing.

    Axis-aligned boxes (N, 4) are compared by arithmetic; where either side is a polygon (N, 8), by shapely.
    """
    if a.shape[1] == 8 or b.shape[1] == 8:
        return _polygon_overlap(a, b)
    x1, y1 = np.maximum(a[:, 0], b[:, 0]), np.maximum(a[:, 1], b[:, 1])
    x2 = np.minimum(a[:, 0] + a[:, 2], b[:, 0] + b[:, 2])
    y2 = np.minimum(a[:, 1] + a[:, 3], b[:, 1] + b[:, 3])
    shared = np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)
    joined = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - shared
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.clip(shared / joined, 0, 1))


def centers(boxes: Boxes) -> Values:
    """Centres (N, 2) as the toolkits take them: x + (w - 1) / 2, y + (h - 1) / 2."""
    boxes = bounding_boxes(boxes)
    return np.asarray(boxes[:, :2] + (boxes[:, 2:] - 1) / 2)


def bounding_boxes(boxes: Boxes) -> Boxes:
    """The upright (N, 4) boxes around polygons (N, 8); boxes are returned as they are."""
    if boxes.shape[1] == 4:
        return boxes
    corners = boxes.reshape(-1, 4, 2)
    low = corners.min(axis=1)
    return np.concatenate([low, corners.max(axis=1) - low], axis=1)


def rows_with_nan(boxes: Boxes) -> Mask:
    """(N,) where any number of a row is NaN."""
    return np.asarray(np.isnan(boxes).any(axis=1), dtype=np.bool_)


def _polygon_overlap(a: Boxes, b: Boxes) -> Values:
    import shapely

    values = np.full(len(a), np.nan)
    usable = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    # make_valid: annotators sometimes click corners in an order that crosses itself
    first = shapely.make_valid(shapely.polygons(_corners(a[usable])))
    second = shapely.make_valid(shapely.polygons(_corners(b[usable])))
    shared = shapely.area(shapely.intersection(first, second))
    joined = shapely.area(first) + shapely.area(second) - shared
    with np.errstate(divide="ignore", invalid="ignore"):
        values[usable] = np.clip(shared / joined, 0, 1)
    return values


def _corners(boxes: Boxes) -> Values:
    if boxes.shape[1] == 8:
        return boxes.reshape(-1, 4, 2)
    x1, y1 = boxes[:, 0], boxes[:, 1]
    x2, y2 = x1 + np.maximum(boxes[:, 2], 0), y1 + np.maximum(boxes[:, 3], 0)
    return np.stack([np.stack(p, axis=1) for p in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))], axis=1)
