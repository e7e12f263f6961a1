"""Pictures of the frames that tell trackers apart, cut out around the boxes."""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt

from onlinetada.trackers.evaluation.boxfiles import Boxes
from onlinetada.trackers.evaluation.geometry import Values, bounding_boxes, overlap
from onlinetada.trackers.evaluation.reporting import Report
from onlinetada.trackers.evaluation.sequences import Sequence

_WIDTH = 360  # pixels of a picture
_TRACKERS = 6  # boxes in one picture
_LEAST = 160  # pixels of the frame that a picture shows at least


def thumbnails_of(report: Report, sequence: Sequence, count: int) -> list[dict[str, object]]:
    """Up to ``count`` pictures with the boxes to draw on them, in pixels of the picture.

    Frames are those where the overlaps of the trackers are farthest apart, or, with one tracker, smallest.
    """
    boxes = {t.name: t.boxes[sequence.name] for t in report.trackers if sequence.name in t.boxes}
    boxes = dict(list(boxes.items())[:_TRACKERS])
    if not sequence.frames or not boxes or count < 1:
        return []
    pictures = []
    for frame in sorted(_telling_frames(sequence, boxes, count)):
        picture = _picture(sequence, boxes, int(frame))
        if picture is not None:
            pictures.append(picture)
    return pictures


def _telling_frames(sequence: Sequence, boxes: dict[str, Boxes], count: int) -> list[int]:
    overlaps: Values = np.stack([overlap(b, sequence.truth) for b in boxes.values()])
    overlaps[:, 0] = np.nan  # given to all
    there = ~np.isnan(overlaps).all(axis=0)
    filled = np.nan_to_num(overlaps)
    apart = filled.max(axis=0) - filled.min(axis=0) if len(boxes) > 1 else 1 - filled[0]
    apart[~there] = -1
    chosen: list[int] = []
    spacing = max(1, len(sequence) // (2 * count))
    for frame in np.argsort(-apart, kind="stable"):
        if apart[frame] < 0 or len(chosen) == count:
            break
        if all(abs(int(frame) - other) >= spacing for other in chosen):
            chosen.append(int(frame))
    return chosen


def _picture(sequence: Sequence, boxes: dict[str, Boxes], frame: int) -> dict[str, object] | None:
    import cv2

    image = cv2.imread(str(sequence.frames[frame]))
    if image is None:
        return None
    rows = np.concatenate([bounding_boxes(b[frame : frame + 1]) for b in (sequence.truth, *boxes.values())])
    rows[:, :2] -= sequence.index_base
    x1, y1, x2, y2 = _window(rows, image.shape[1], image.shape[0])
    scale = min(_WIDTH / (x2 - x1), 3.0)
    size = (max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale)))
    small = cv2.resize(image[y1:y2, x1:x2], size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 72])
    drawn = (rows - [x1, y1, 0, 0]) * scale
    return {
        "frame": frame,
        "width": size[0],
        "height": size[1],
        "jpeg": base64.b64encode(jpeg.tobytes()).decode(),
        "boxes": [
            [name, *np.round(row, 1).tolist()]
            for name, row in zip(("", *boxes), drawn, strict=True)
            if np.isfinite(row).all()
        ],
    }


def _window(rows: npt.NDArray[np.float64], width: int, height: int) -> tuple[int, int, int, int]:
    """The part of the frame around all boxes: 4:3 or wider, not less than ``_LEAST`` pixels, inside the frame."""
    rows = rows[np.isfinite(rows).all(axis=1)]
    low = np.clip(rows[:, :2].min(axis=0), 0, [width - 1, height - 1])
    high = np.clip((rows[:, :2] + rows[:, 2:]).max(axis=0), low + 1, [width, height])
    size = np.maximum((high - low) * 1.4, _LEAST)
    size = np.minimum(np.maximum(size, [size[1] * 4 / 3, size[0] * 9 / 16]), [width, height])
    corner = np.clip((low + high) / 2 - size / 2, 0, [width, height] - size)
    x1, y1 = corner.astype(int)
    return int(x1), int(y1), int(x1 + size[0]), int(y1 + size[1])
