"""Validation by tracking: every held-out track from its first box on, one pass, with the engine that users get."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from onlinetada.trackers.absence import AbsenceScore, Watched, labelled_signals, score_absence, watch, without_recovery
from onlinetada.trackers.confidence import ConfidenceCalibration, fit_calibration
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.evaluation.geometry import centers, overlap
from onlinetada.trackers.evaluation.protocols import PRECISION_AT, success_curve
from onlinetada.trackers.models.network import TrackNetwork
from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.result import Box
from onlinetada.trackers.training.clips import Clip
from onlinetada.trackers.training.pack import SourceOptions
from onlinetada.trackers.training.readers import open_folder

Floats = npt.NDArray[np.float64]
_LONG = 30
_ABSENT: Box = (np.nan, np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class HeldOut:
    """One clip that no training sees.

    Attributes:
        source: data set.
        clip: pictures and tracks.
        tells_absence: whether a target is absent where it has no box.
        fits_confidence: whether the confidence is fitted on it.
    """

    source: str
    clip: Clip
    tells_absence: bool = True
    fits_confidence: bool = True


@dataclass(frozen=True)
class Run:
    """One track, tracked.

    Attributes:
        source: data set.
        name: of clip and track.
        truth: (F, 4) x, y, w, h; NaN where the target is absent or unsure. The first row is where it began.
        boxes: (F, 4) what the tracker said.
    """

    source: str
    name: str
    truth: Floats
    boxes: Floats

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
                if source.takes(clip.name) and (names is None or clip.name in names):
                    held = HeldOut(source.name, clip, source.gaps == "absent", source.fits_confidence)
                    found.setdefault(clip.name, held)
    return list(found.values())


def run_clips(
    network: TrackNetwork, config: InferenceConfig, clips: Collection[HeldOut], *, tracks_per_clip: int = 2
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
    engine = Engine(network, config, device=_device(network))
    tracks = held.clip.tracks
    begin = {name: min(tracks[name]) for name in names}
    last = max((max(tracks[name]) for name in names), default=-1)
    keys: dict[str, int] = {}
    rows: dict[str, list[tuple[Box, Box]]] = {name: [] for name in names}
    for number, image in held.clip.read(range(last + 1)):
        results = engine.update({key: image for name, key in keys.items() if number <= max(tracks[name])})
        for name in names:
            truth = tracks[name].get(number, _ABSENT)
            if name in keys and keys[name] in results:
                rows[name].append((truth, results[keys[name]].box_xywh))
            elif begin[name] == number:
                keys[name] = engine.add(image, truth)
                rows[name].append((truth, truth))
    runs = []
    for name in names:
        if len(rows[name]) > 1:
            truth, boxes = np.array(rows[name]).transpose(1, 0, 2)
            runs.append(Run(held.source, f"{held.clip.name}/{name}", truth, boxes))
    return runs


def _device(network: TrackNetwork) -> torch.device:
    parameter = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    return torch.device("cpu") if parameter is None else parameter.device


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
    network: TrackNetwork, config: InferenceConfig, clips: Collection[HeldOut]
) -> tuple[ConfidenceCalibration, AbsenceScore] | None:
    """Coefficients of the confidence, and how well it then tells that a target is gone; None if the clips do not do.

    Only clips of 30 frames and more say something about that, of each the first track. The scores are those of the
    clips that the coefficients were fitted on; ``tools/calibrate.py`` measures on others.
    """
    long = [held for held in clips if held.fits_confidence and held.clip.length >= _LONG and held.clip.tracks]
    naive = without_recovery(Engine(network, config, device=_device(network)))
    seen = [_watched(naive, held, restart=True) for held in long]
    try:
        calibration = fit_calibration(*labelled_signals(seen))
    except ValueError:  # no long clip, or the box was always on the target
        return None
    tuned = Engine(network, replace(config, confidence=calibration), device=_device(network))
    return calibration, score_absence([_watched(tuned, held) for held in long])


def _watched(engine: Engine, held: HeldOut, *, restart: bool = False) -> Watched:
    """A run over a clip's first track; frames that say nothing of the target are left out of what is told."""
    boxes = next(iter(held.clip.tracks.values()))
    run = watch(engine, held.clip.read(range(min(boxes), held.clip.length)), boxes, restart=restart)
    told = run.present | held.tells_absence
    return Watched(*(getattr(run, field.name)[told] for field in fields(run)))


def as_plain(scores: dict[str, Scores]) -> dict[str, dict[str, float]]:
    """Scores as numbers for JSON."""
    return {name: asdict(value) for name, value in scores.items()}
