"""How well a tracker knows that its target is gone, measured against ground truth with absent frames.

Two runs over the same clips: one without recovery, which collects the signals that a calibration is fitted on, and one
as users get it, which is scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from onlinetada.trackers.confidence import SIGNALS
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.evaluation.geometry import overlap
from onlinetada.trackers.result import Box, Image

ON_TARGET = 0.3  # overlap from which a box counts as on the target, and below OFF_TARGET as off it
OFF_TARGET = 0.1
_PATIENCE = 20  # frames off a visible target until the collecting run starts anew on it

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Watched:
    """One run over one clip, from the frame after the first box. T frames.

    Attributes:
        present: (T,) whether the ground truth has the target.
        overlaps: (T,) of the tracker's box with it, 0 where it is absent.
        lost: (T,) whether the tracker said so.
        confidence: (T,) 0..1.
        signals: (T, 6) see ``confidence.SIGNALS``.
    """

    present: Bools
    overlaps: Floats
    lost: Bools
    confidence: Floats
    signals: Floats


def watch(
    engine: Engine, frames: Iterable[tuple[int, Image]], boxes: Mapping[int, Box], *, restart: bool = False
) -> Watched:
    """Run over a clip from the first frame that has a box.

    Args:
        engine: without targets; it is left so.
        frames: ascending frame numbers with their BGR pictures.
        boxes: frame number -> x, y, w, h where the target is present.
        restart: begin again on the target after it was missed for a while, so that one miss does not spoil the rest.
    """
    key, missed, rows = None, 0, []
    for number, image in frames:
        truth = boxes.get(number)
        if key is None or (restart and missed >= _PATIENCE and truth is not None):
            if truth is not None:
                engine.clear()
                key, missed = engine.add(image, truth), 0
            continue
        result = engine.update({key: image})[key]
        lap = 0.0 if truth is None else float(overlap(np.array([result.box_xywh]), np.array([truth]))[0])
        missed = missed + 1 if truth is not None and lap < OFF_TARGET else 0
        signals = engine.targets[key].signals
        rows.append((truth is not None, lap, result.state == "lost", result.score, *np.asarray(signals)))
    engine.clear()
    table = np.array(rows, dtype=np.float64).reshape(-1, 4 + len(SIGNALS))
    return Watched(table[:, 0] > 0, table[:, 1], table[:, 2] > 0, table[:, 3], table[:, 4:])


def without_recovery(engine: Engine) -> Engine:
    """The same network, never holding a box: what signals are collected with."""
    return Engine(engine.network, replace(engine.config, recover=False), device=engine.device)


def labelled_signals(runs: Sequence[Watched]) -> tuple[Floats, Bools]:
    """Signals (M, 6) and whether the box was on the target (M,); frames where that is debatable are left out."""
    signals = np.concatenate([run.signals for run in runs])
    overlaps = np.concatenate([run.overlaps for run in runs])
    clear = ((overlaps >= ON_TARGET) | (overlaps < OFF_TARGET)) & np.isfinite(signals).all(1)
    return signals[clear], overlaps[clear] >= ON_TARGET


@dataclass(frozen=True)
class AbsenceScore:
    """Loss detection over some runs.

    Attributes:
        precision: of the frames on which lost was said, the share on which the box was not on the target.
        recall: of the frames without the target, the share on which lost was said.
        false_alarms: of the frames with the target where the box was on it or lost was said, the share of the latter.
        returns: how often a target came back after an absence.
        found: after how many of these the tracker was on it again before the next absence.
        frames_to_find: median number of frames that took; NaN without any.
        mean_overlap: over frames with the target.
    """

    precision: float
    recall: float
    false_alarms: float
    returns: int
    found: int
    frames_to_find: float
    mean_overlap: float


def score_absence(runs: Sequence[Watched]) -> AbsenceScore:
    """Sum up some runs; they may be of different clips."""
    present, laps, lost = (
        np.concatenate([getattr(run, name) for run in runs]) for name in ("present", "overlaps", "lost")
    )
    waits = [wait for run in runs for wait in _waits(run)]
    found = [wait for wait in waits if wait is not None]
    on_or_lost = present & (lost | (laps >= ON_TARGET))
    return AbsenceScore(
        precision=_share(lost & (laps < OFF_TARGET), lost),
        recall=_share(lost & ~present, ~present),
        false_alarms=_share(on_or_lost & lost, on_or_lost),
        returns=len(waits),
        found=len(found),
        frames_to_find=float(np.median(found)) if found else float("nan"),
        mean_overlap=float(laps[present].mean()) if present.any() else float("nan"),
    )


def _waits(run: Watched) -> list[int | None]:
    """For every return: frames until the tracker was on the target again, None where it never was."""
    returns = np.flatnonzero(run.present[1:] & ~run.present[:-1]) + 1
    waits: list[int | None] = []
    for start in returns:
        gone = np.flatnonzero(~run.present[start:])
        stretch = slice(start, start + gone[0] if len(gone) else None)
        on = np.flatnonzero((run.overlaps[stretch] >= ON_TARGET) & ~run.lost[stretch])
        waits.append(int(on[0]) if len(on) else None)
    return waits


def _share(part: Bools, whole: Bools) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else float("nan")
