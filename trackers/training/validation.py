"""Validation by tracking: every held-out track from its first box on, one pass, with the engine that users get."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from onlinetada.trackers.confidence import ConfidenceCalibration, fit_calibration
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.evaluation.geometry import centers, overlap
from onlinetada.trackers.evaluation.protocols import PRECISION_AT, success_curve
from onlinetada.trackers.models.network import TrackNetwork
from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.training.clips import Clip
from onlinetada.trackers.training.pack import SourceOptions
from onlinetada.trackers.training.readers import open_folder

Floats = npt.NDArray[np.float64]
_ON_TARGET_IOU = 0.3


@dataclass(frozen=True)
class HeldOut:
    """One clip that no training sees."""

    source: str
    clip: Clip


@dataclass(frozen=True)
class Run:
    """One track, tracked.

    Attributes:
        source: data set.
        name: of clip and track.
        truth: (F, 4) x, y, w, h; NaN where the target is absent or unsure. The first row is where it began.
        boxes: (F, 4) what the tracker said.
        signals: (F, 4) what its confidence is made of; NaN on the first frame.
        lost: (F,) whether it said that the target is lost.
    """

    source: str
    name: str
    truth: Floats
    boxes: Floats
    signals: Floats
    lost: npt.NDArray[np.bool_]

    @property
    def overlaps(self) -> Floats:
        """(F,) NaN where there is no target."""
        return np.where(np.isfinite(self.truth[:, 0]), overlap(self.truth, self.boxes), np.nan)


@dataclass(frozen=True)
class Scores:
    """Means over tracks, on frames that show the target.

    Attributes:
        tracks: how many.
        success: mean over the overlap thresholds 0, 0.05 .. 1.
        precision: share of frames with a centre error of at most 20 px.
    """

    tracks: int
    success: float
    precision: float


def held_out_clips(
    sources: Collection[SourceOptions], root: Path, names: Collection[str] | None = None
) -> list[HeldOut]:
    """The clips of ``names`` (without it, all clips), each once, in the sources that are there."""
    found: dict[str, HeldOut] = {}
    for source in sources:
        if (root / source.path).is_dir():
            for clip in open_folder(root / source.path, source.format):
                if names is None or clip.name in names:
                    found.setdefault(clip.name, HeldOut(source.name, clip))
    return list(found.values())


def run_clips(
    network: TrackNetwork, config: InferenceConfig, clips: Collection[HeldOut], *, tracks_per_clip: int = 3
) -> list[Run]:
    """Track at most so many tracks of every clip, all in one batch a clip."""
    runs = []
    for held in clips:
        names = sorted((n for n, boxes in held.clip.tracks.items() if len(boxes) > 1), key=_by_number)
        names = (
            [names[i] for i in np.unique(np.linspace(0, len(names) - 1, tracks_per_clip).astype(int))] if names else []
        )
        runs += _run_clip(network, config, held, names)
    return runs


def _by_number(name: str) -> tuple[int, str]:
    return (int(name) if name.isdigit() else 0), name


def _run_clip(network: TrackNetwork, config: InferenceConfig, held: HeldOut, names: Sequence[str]) -> list[Run]:
    engine = Engine(network, config, device=next(iter(_parameters(network))).device)
    tracks = held.clip.tracks
    begin = {name: min(tracks[name]) for name in names}
    last = max((max(tracks[name]) for name in names), default=-1)
    keys: dict[str, int] = {}
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in names}
    nothing = (np.nan,) * 4
    for number, image in held.clip.read(range(last + 1)):
        results = engine.update({key: image for name, key in keys.items() if number <= max(tracks[name])})
        for name in names:
            truth = tracks[name].get(number, nothing)
            if name in keys and keys[name] in results:
                target, result = engine.targets[keys[name]], results[keys[name]]
                signals = nothing if target.signals is None else tuple(target.signals)
                rows[name].append((truth, result.box_xywh, signals, result.state == "lost"))
            elif begin[name] == number:
                keys[name] = engine.add(image, truth)
                rows[name].append((truth, truth, nothing, False))
    runs = []
    for name in names:
        if len(rows[name]) > 1:
            truth, boxes, signals, lost = (np.array(column) for column in zip(*rows[name], strict=True))
            runs.append(Run(held.source, f"{held.clip.name}/{name}", truth, boxes, signals, lost))
    return runs


def _parameters(network: TrackNetwork) -> Iterator[torch.nn.Parameter]:
    parameters: Iterator[torch.nn.Parameter] = network.parameters()  # type: ignore[attr-defined]
    return parameters


def score_runs(runs: Sequence[Run], *, first_frame: bool = False) -> dict[str, Scores]:
    """Scores by data set, and of all tracks under "all".

    Args:
        runs: at least one.
        first_frame: whether the frame on which the box is given counts, as it does in pysot's protocol. In tracks of
            four frames it would hide much.
    """
    names = sorted({r.source for r in runs})
    begin = 0 if first_frame else 1
    return {name: _mean_scores([r for r in runs if name in ("all", r.source)], begin) for name in [*names, "all"]}


def _mean_scores(runs: Sequence[Run], begin: int) -> Scores:
    success, precision = [], []
    for run in runs:
        shown = np.flatnonzero(np.isfinite(run.truth[:, 0]))
        shown = shown[shown >= begin]
        if len(shown):
            success.append(float(success_curve(run.overlaps[shown]).mean()))
            distance = np.linalg.norm(centers(run.truth[shown]) - centers(run.boxes[shown]), axis=1)
            precision.append(float((distance <= PRECISION_AT).mean()))
    return Scores(len(success), float(np.mean(success)), float(np.mean(precision)))


def fit_confidence(
    network: TrackNetwork, config: InferenceConfig, clips: Collection[HeldOut], *, tracks_per_clip: int = 3
) -> tuple[ConfidenceCalibration, dict[str, float]]:
    """Coefficients of the confidence from runs in which nothing is ever held as lost, and how good they are.

    Frames on which the target is absent count as off the target.

    Returns:
        The calibration, and on the same frames: their number, the share on the target, the area under the ROC curve.
    """
    naive = replace(config, recover=False, loss=replace(config.loss, enter_lost=0.0))
    runs = run_clips(network, naive, clips, tracks_per_clip=tracks_per_clip)
    signals = np.concatenate([r.signals[1:] for r in runs])
    on_target = np.concatenate([np.nan_to_num(r.overlaps[1:], nan=0.0) > _ON_TARGET_IOU for r in runs])
    usable = np.isfinite(signals).all(1)
    signals, on_target = signals[usable], on_target[usable]
    calibration = fit_calibration(signals, on_target)
    quality = {
        "frames": float(len(signals)),
        "on_target": float(on_target.mean()),
        "roc_auc": _roc_auc(calibration(signals), on_target),
    }
    return calibration, quality


def _roc_auc(confidence: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Chance that a frame on the target has more confidence than one off it."""
    order = np.argsort(confidence, kind="stable")
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    p, n = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - p * (p + 1) / 2) / (p * n))


def loss_quality(runs: Sequence[Run]) -> dict[str, float]:
    """How well "lost" is said: a frame is truly lost where the target is absent or the overlap is 0.

    Returns:
        precision and recall of saying it, and the number of truly lost frames.
    """
    said = np.concatenate([r.lost[1:] for r in runs])
    true = np.concatenate([~(np.nan_to_num(r.overlaps[1:], nan=0.0) > 0) for r in runs])
    both = float((said & true).sum())
    return {
        "precision": both / max(1.0, float(said.sum())),
        "recall": both / max(1.0, float(true.sum())),
        "lost_frames": float(true.sum()),
        "frames": float(len(true)),
    }


def as_plain(scores: dict[str, Scores]) -> dict[str, dict[str, float]]:
    """Scores as numbers for JSON."""
    return {name: asdict(value) for name, value in scores.items()}
