"""Contact sheets: what the network is shown, and what it makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from onlinetada.errors import InputError
from onlinetada.trackers.models.compact import CompactNetwork
from onlinetada.trackers.result import Box, Image
from onlinetada.trackers.training.batches import ClipBatch

TRUTH_COLOUR = (80, 220, 80)
ABSENT_COLOUR = (60, 60, 230)
ANSWER_COLOUR = (0, 220, 255)
Colour = tuple[int, int, int]


def draw_box(image: Image, box: Box, colour: Colour) -> None:
    """Draw a box (x, y, w, h) onto a BGR picture, in place."""
    x, y, w, h = box
    cv2.rectangle(image, (round(x), round(y)), (round(x + w), round(y + h)), colour, 1, cv2.LINE_AA)


def tile(images: Sequence[Image], columns: int, side: int) -> Image:
    """Pictures of any size row by row on black, each at most ``side`` wide and high; a row is as high as it must be."""
    rows = []
    for start in range(0, len(images), columns):
        small = [_fitted(image, side) for image in images[start : start + columns]]
        row = np.zeros((max(s.shape[0] for s in small), columns * side, 3), np.uint8)
        for i, picture in enumerate(small):
            row[: picture.shape[0], i * side : i * side + picture.shape[1]] = picture
        rows.append(row)
    return np.concatenate(rows)


def _fitted(image: Image, side: int) -> Image:
    scale = side / max(image.shape[:2])
    shape = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    small: Image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return small


def write_picture(image: Image, path: Path) -> None:
    """Save a picture.

    Raises:
        InputError: the name ends in nothing that OpenCV writes, or the place cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        written = cv2.imwrite(str(path), image)
    except cv2.error:
        raise InputError(f"{path}: no picture format; use .png or .jpg") from None
    if not written:
        raise InputError(f"{path}: cannot be written")


@torch.no_grad()
def prediction_sheet(network: CompactNetwork, batch: ClipBatch, *, most_clips: int = 12) -> Image:
    """One row a clip: frame 0 with the given box, then frames with the truth (green, red where it is not to be
    found) and the network's best box (yellow) with its score.

    Args:
        network: is asked in evaluation mode.
        batch: clips as they are trained on.
        most_clips: further ones are left out.
    """
    training = network.training
    network.eval()
    clip, boxes = batch.clip[:most_clips], batch.boxes[:most_clips]
    prediction = network.compare(network.features(clip), boxes[:, 0])
    network.train(training)
    best = prediction.logits.argmax(1)
    rows = torch.arange(len(best), device=best.device)
    answers = prediction.boxes[rows, best].unflatten(0, (len(clip), -1)).cpu().numpy()
    scores = prediction.logits.amax(1).sigmoid().unflatten(0, (len(clip), -1)).cpu().numpy()
    pictures = clip.permute(0, 2, 3, 4, 1).round().to(torch.uint8).cpu().numpy()[..., ::-1]
    truth, present = boxes.cpu().numpy(), batch.present.cpu().numpy()
    tiles = []
    for b in range(len(clip)):
        for k in range(clip.shape[2]):
            image = np.ascontiguousarray(pictures[b, k])
            draw_box(image, corner_box(truth[b, k], image), TRUTH_COLOUR if present[b, k] else ABSENT_COLOUR)
            if k:
                draw_box(image, corner_box(answers[b, k - 1], image), ANSWER_COLOUR)
                place = (4, image.shape[0] - 6)
                cv2.putText(image, f"{scores[b, k - 1]:.2f}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, ANSWER_COLOUR, 1)
            tiles.append(image)
    return tile(tiles, clip.shape[2], 160)


def corner_box(box: npt.NDArray[np.floating], image: Image) -> Box:
    """cx, cy, w, h from a picture's middle as x, y, w, h from its corner."""
    cx, cy, w, h = (float(v) for v in box)
    return cx + image.shape[1] / 2 - w / 2, cy + image.shape[0] / 2 - h / 2, w, h
