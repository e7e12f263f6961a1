"""Objects without their background, to be pasted elsewhere: from masks, boxes, photos of one object, or chance."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from onlinetada.trackers.result import Box, Image

CUTOUT_SIDE = 112
_MARGIN = 8
Mask = npt.NDArray[np.uint8]


def cut_out(image: Image, mask: Mask) -> Image | None:
    """The masked object, scaled to fill a 112 x 112 BGRA picture but for a margin; None if it is too small.

    Args:
        image: (H, W, 3) BGR.
        mask: (H, W), 255 on the object.
    """
    rows, columns = np.where(mask > 127)
    if len(rows) < 200:
        return None
    x1, x2, y1, y2 = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    scale = (CUTOUT_SIDE - 2 * _MARGIN) / max(x2 - x1, y2 - y1)
    centre = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    if scale < 1:  # average first, so that a large object does not alias
        shape = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        centre *= shape[0] / image.shape[1], shape[1] / image.shape[0]
        image, mask = (cv2.resize(a, shape, interpolation=cv2.INTER_AREA) for a in (image, mask))
        scale = 1.0
    offset = CUTOUT_SIDE / 2 - scale * centre
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    shape = (CUTOUT_SIDE, CUTOUT_SIDE)
    colour = cv2.warpAffine(image, matrix, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(mask, matrix, shape, flags=cv2.INTER_LINEAR)
    return np.dstack([colour, alpha])


def largest_object(image: Image) -> tuple[Mask, Box] | None:
    """Mask and box of what stands out in a photo of one object, by GrabCut from its inner part; None if nothing."""
    height, width = image.shape[:2]
    scale = 160 / max(height, width)
    small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    rows, columns = small.shape[:2]
    labels = np.zeros((rows, columns), np.uint8)
    inner = (columns // 10, rows // 10, columns * 8 // 10, rows * 8 // 10)
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(small, labels, inner, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_RECT)
    except cv2.error:  # a picture of one colour has no two models to fit
        return None
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(found)
    if count < 2:
        return None
    part = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    if stats[part, cv2.CC_STAT_AREA] < 0.04 * rows * columns:
        return None
    mask = cv2.GaussianBlur((parts == part).astype(np.uint8) * 255, (3, 3), 0)
    x, y, w, h = (float(v) / scale for v in stats[part, :4])
    return cv2.resize(mask, (width, height)), (x, y, w, h)


def rounded_box(shape: tuple[int, int], box: Box) -> Mask:
    """A mask that is a box with rounded corners (a superellipse): cars and boats seen from above."""
    x, y, w, h = box
    across = (np.arange(shape[1]) + 0.5 - x - w / 2) / (w / 2)
    down = (np.arange(shape[0]) + 0.5 - y - h / 2) / (h / 2)
    inside = across[None] ** 4 + down[:, None] ** 4 < 1
    return (inside * 255).astype(np.uint8)


def random_blob(image: Image, rng: np.random.Generator) -> Image:
    """A piece of a picture with a smooth random outline, as BGRA."""
    limit = min(image.shape[:2])
    side = int(rng.integers(min(48, limit - 1), max(49, limit * 2 // 3)))
    x, y = rng.integers(0, image.shape[1] - side), rng.integers(0, image.shape[0] - side)
    piece = cv2.resize(image[y : y + side, x : x + side], (CUTOUT_SIDE, CUTOUT_SIDE), interpolation=cv2.INTER_AREA)
    ticks = np.arange(CUTOUT_SIDE) + 0.5 - CUTOUT_SIDE / 2
    turn = rng.uniform(0, np.pi)
    u = ticks[None] * np.cos(turn) + ticks[:, None] * np.sin(turn)
    v = -ticks[None] * np.sin(turn) + ticks[:, None] * np.cos(turn)
    half = np.exp(rng.uniform(-0.7, 0, 2)) * (CUTOUT_SIDE / 2 - _MARGIN)
    radius = (
        np.hypot(u / half[0], v / half[1])
        if rng.random() < 0.5
        else 1.25 * np.maximum(abs(u) / half[0], abs(v) / half[1])
    )
    angle = np.arctan2(v, u)
    wave = 1 + sum(rng.normal(0, 0.12) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5))
    inside = (radius / np.clip(wave, 0.4, None) < 0.85).astype(np.uint8) * 255
    inside[:_MARGIN], inside[-_MARGIN:], inside[:, :_MARGIN], inside[:, -_MARGIN:] = 0, 0, 0, 0
    return np.dstack([piece, cv2.GaussianBlur(inside, (3, 3), 0)])
