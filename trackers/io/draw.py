"""Drawing targets on pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import cv2
import numpy as np

from onlinetada.trackers.images import as_bgr
from onlinetada.trackers.result import Image, TrackResult

# BGR, told apart with the common colour blindnesses too, since they differ in brightness
STATE_COLORS = {"tracking": (96, 220, 60), "uncertain": (0, 190, 255), "lost": (70, 60, 230)}
_SUBPIXEL_BITS = 4


class Trails:
    """The recent paths of targets.

    Args:
        length: frames that a path goes back.
    """

    def __init__(self, length: int = 48) -> None:
        self._length = length
        self._points: dict[int, deque[tuple[float, float]]] = {}

    def draw(self, canvas: Image, results: Mapping[int, TrackResult]) -> None:
        """Add the present positions and draw all paths on the picture; a lost target's path begins anew."""
        for key in [k for k in self._points if k not in results]:
            del self._points[key]
        for key, result in results.items():
            points = self._points.setdefault(key, deque(maxlen=self._length))
            if result.state == "lost":
                points.clear()
                continue
            x, y, w, h = result.box_xywh
            points.append((x + w / 2, y + h / 2))
            path = np.array([_fixed(*p) for p in points], np.int32).reshape(-1, 1, 2)
            color = STATE_COLORS[result.state]
            cv2.polylines(canvas, [path], False, color, _thickness(canvas), cv2.LINE_AA, _SUBPIXEL_BITS)


def draw_targets(image: Image, results: Mapping[int, TrackResult], *, trails: Trails | None = None) -> Image:
    """A copy of the picture with every target: box, number, state and score.

    A lost target has no box, since none is known: it is named in the corner.

    Args:
        image: what trackers take; the copy is (H, W, 3) uint8 BGR.
        results: target id -> result.
        trails: draws the paths too.
    """
    canvas = np.ascontiguousarray(as_bgr(image)).copy()
    if trails is not None:
        trails.draw(canvas, results)
    corner = 4
    for key, result in sorted(results.items()):
        color = STATE_COLORS[result.state]
        if result.state == "lost":
            corner += _label(canvas, f"{key} LOST", (4, corner), color) + 3
            continue
        x, y, w, h = result.box_xywh
        # A box is an area, its pixels are points in their middle: hence half a pixel.
        start, end = _fixed(x - 0.5, y - 0.5), _fixed(x + w - 0.5, y + h - 0.5)
        cv2.rectangle(canvas, start, end, color, _thickness(canvas), cv2.LINE_AA, _SUBPIXEL_BITS)
        mark = " ?" if result.state == "uncertain" else ""
        _label(canvas, f"{key}{mark} {result.score:.2f}", (x, y), color, above=True)
    return canvas


def _label(
    canvas: Image, text: str, at: tuple[float, float], color: tuple[int, int, int], *, above: bool = False
) -> int:
    """Dark text on a plate of the state's colour, kept inside the picture. Gives the plate's height."""
    scale = _thickness(canvas) * 0.27 + 0.16
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    plate_w, plate_h = width + 6, height + baseline + 4
    top = at[1] - plate_h - 1 if above else at[1]
    x = round(min(max(at[0], 0), max(canvas.shape[1] - plate_w, 0)))
    y = round(min(max(top, 0), max(canvas.shape[0] - plate_h, 0)))
    cv2.rectangle(canvas, (x, y), (x + plate_w, y + plate_h), color, cv2.FILLED)
    cv2.putText(canvas, text, (x + 3, y + height + 2), cv2.FONT_HERSHEY_SIMPLEX, scale, (20, 20, 20), 1, cv2.LINE_AA)
    return int(plate_h)


def _thickness(canvas: Image) -> int:
    return int(max(1, round(min(canvas.shape[:2]) / 360)))


def _fixed(x: float, y: float) -> tuple[int, int]:
    # far outside is as good as just outside, and OpenCV's fixed-point numbers are short
    limit = 30_000.0
    scale = 1 << _SUBPIXEL_BITS
    return round(min(max(x, -limit), limit) * scale), round(min(max(y, -limit), limit) * scale)
