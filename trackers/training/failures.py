"""Where a tracker fails, as pictures: of the tracks that go worst, the frame on which each is lost."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from onlinetada.trackers.result import Box, Image
from onlinetada.trackers.training.sheets import ANSWER_COLOUR, TRUTH_COLOUR, draw_box, tile
from onlinetada.trackers.training.validation import HeldOut, Run

_LOST_OVERLAP = 0.1
_STAYS_LOST = 3  # frames
_TILE_SIDE = 260
_CAPTION_PX = 20
_MIN_VIEW_PX = 120


@dataclass(frozen=True)
class Failure:
    """A track and the frame on which its target is lost.

    Attributes:
        source: data set.
        name: of clip and track.
        index: frames after the one on which the box was given.
        mean_overlap: of the whole track.
    """

    source: str
    name: str
    index: int
    mean_overlap: float


def find_failures(runs: Sequence[Run], most: int) -> list[Failure]:
    """The worst tracks that are lost at some time, at most so many, as evenly of all sources as there are such."""
    by_source: dict[str, list[Failure]] = {}
    for run in runs:
        index = _lost_at(run)
        if index is not None:
            failure = Failure(run.source, run.name, index, float(np.nanmean(run.overlaps[1:])))
            by_source.setdefault(run.source, []).append(failure)
    for found in by_source.values():
        found.sort(key=lambda f: f.mean_overlap)
    turns = [
        found[i]
        for i in range(max(map(len, by_source.values()), default=0))
        for found in by_source.values()
        if i < len(found)
    ]
    return sorted(turns[:most], key=lambda f: (f.source, f.mean_overlap))


def _lost_at(run: Run) -> int | None:
    """First frame from which on the box is off for a while, on frames that show the target."""
    shown = np.flatnonzero(np.isfinite(run.truth[:, 0]))
    off = run.overlaps[shown] < _LOST_OVERLAP
    for i in range(1, len(shown)):
        if off[i : i + _STAYS_LOST].all():
            return int(shown[i])
    return None


def failure_sheet(
    failures: Sequence[Failure], runs: Sequence[Run], clips: Collection[HeldOut], columns: int = 4
) -> Image:
    """The frames, cut out around the truth (green) and the tracker's box (yellow)."""
    by_name = {run.name: run for run in runs}
    tiles = []
    for failure in failures:
        clip_name, _, track = failure.name.rpartition("/")
        clip = next(held.clip for held in clips if held.clip.name == clip_name)
        number = min(clip.tracks[track]) + failure.index
        run = by_name[failure.name]
        for _, image in clip.read([number]):
            truth, answer = run.truth[failure.index].tolist(), run.boxes[failure.index].tolist()
            tiles.append(_tile(image, truth, answer, f"{clip_name} #{number}"))
    return tile(tiles, columns, _TILE_SIDE)


def _tile(image: Image, truth: Box, answer: Box, caption: str) -> Image:
    boxes = np.array([truth, answer])
    low, high = boxes[:, :2].min(0), (boxes[:, :2] + boxes[:, 2:]).max(0)
    side = int(max(_MIN_VIEW_PX, 1.6 * (high - low).max()))
    left, top = ((low + high) / 2 - side / 2).astype(int)
    padded = cv2.copyMakeBorder(image, side, side, side, side, cv2.BORDER_CONSTANT, value=(40, 40, 40))
    height, width = image.shape[:2]
    left, top = int(np.clip(left, -side, width)), int(np.clip(top, -side, height))
    view = padded[top + side : top + 2 * side, left + side : left + 2 * side]
    inner = _TILE_SIDE - _CAPTION_PX
    scale = inner / side
    shown = cv2.resize(view, (inner, inner), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    for (x, y, w, h), colour in ((truth, TRUTH_COLOUR), (answer, ANSWER_COLOUR)):
        draw_box(shown, ((x - left) * scale, (y - top) * scale, w * scale, h * scale), colour)
    whole = np.zeros((_TILE_SIDE, _TILE_SIDE, 3), np.uint8)
    whole[:inner, :inner] = shown
    cv2.putText(whole, caption, (2, _TILE_SIDE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (220, 220, 220), 1, cv2.LINE_AA)
    return whole
