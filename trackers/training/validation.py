"""Validation by tracking: every held-out track from its first box on, one pass, with the engine that users get."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from onlinetada.trackers.absence import Watched, labelled_signals, score_absence, watch, without_recovery
from onlinetada.trackers.confidence import ConfidenceCalibration, fit_calibration
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.evaluation.geometry import centers, overlap
from onlinetada.trackers.evaluation.protocols import PRECISION_AT, success_curve
from onlinetada.trackers.models.network import TrackNetwork
from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.result import Box
from onlinetada.trackers.training.clips import Clip
from onlinetada.trackers.training.pack import SourceOptions, what_is_packed
from onlinetada.trackers.training.readers import open_folder

Floats = npt.NDArray[np.float64]
GONE, SEEN = "hidden or gone at times", "always in sight"  # kinds of clips that loss is scored on
_Item = TypeVar("_Item")
_LONG = 30  # frames of a clip that says something about absence
_FITTED_CLIPS, _FITTED_TRACKS, _FITTED_FRAMES, _FEWEST_FRAMES = 400, 3, 150, 4  # what a confidence is fitted on
_ABSENT: Box = (np.nan, np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class HeldOut:
    """One clip with ground truth that is tracked: one that no training sees, or one to fit a confidence on.

    Attributes:
        source: data set.
        clip: pictures and tracks.
        tells_absence: whether a target is absent where it has no box.
    """

    source: str
    clip: Clip
    tells_absence: bool = True


class ClipSets(NamedTuple):
    """Clips to track, by what they are for.

    Attributes:
        held_out: to validate on; no training sees them.
        compare: sequences to compare trackers on.
        seen: those of the training, to fit the confidence on.
    """

    held_out: list[HeldOut]
    compare: list[HeldOut]
    seen: list[HeldOut]


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
    return _clips(sources, root, lambda s: lambda clip: s.takes(clip) and (names is None or clip in names))


def seen_clips(sources: Collection[SourceOptions], root: Path, leave_out: Collection[str]) -> list[HeldOut]:
    """The clips that get into the packed material, each once, in the sources that are there."""
    return _clips(sources, root, lambda source: what_is_packed(source, root, leave_out))


def _clips(
    sources: Collection[SourceOptions], root: Path, wanted: Callable[[SourceOptions], Callable[[str], bool]]
) -> list[HeldOut]:
    found: dict[str, HeldOut] = {}
    for source in sources:
        if (root / source.path).is_dir():
            takes = wanted(source)
            for clip in open_folder(root / source.path, source.format):
                if takes(clip.name):
                    found.setdefault(clip.name, HeldOut(source.name, clip, source.gaps == "absent"))
    return list(found.values())


def run_clips(
    network: TrackNetwork, config: InferenceConfig, clips: Collection[HeldOut], *, tracks_per_clip: int = 2
) -> list[Run]:
    """Track at most so many tracks of every clip, all in one batch a clip."""
    runs = []
    for held in clips:
        names = sorted((n for n, boxes in held.clip.tracks.items() if len(boxes) > 1), key=_by_number)
        runs += _run_clip(network, config, held, spread(names, tracks_per_clip))
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
    network: TrackNetwork, config: InferenceConfig, seen: Collection[HeldOut]
) -> ConfidenceCalibration | None:
    """Coefficients of the confidence, from up to three tracks each of at most 400 clips.

    The network was trained on these clips and is a little surer of them than it should be, but they are many and of
    every kind, and what is measured on the clips that are held out stays held out from the fit too.

    Returns:
        None where the clips do not do: a fit needs frames on a target and frames off it.
    """
    naive = without_recovery(Engine(network, config, device=_device(network)))
    moving = [held for held in seen if any(len(boxes) >= _FEWEST_FRAMES for boxes in held.clip.tracks.values())]
    runs = [run for held in spread(moving, _FITTED_CLIPS) for run in _glimpses(naive, held)]
    try:
        return fit_calibration(*labelled_signals(runs)) if runs else None
    except ValueError:  # the box was always on the target, or never
        return None


def score_loss(
    network: TrackNetwork, config: InferenceConfig, clips: Collection[HeldOut]
) -> dict[str, dict[str, float]]:
    """How well it is told that a target is gone, on the first track of each clip of 30 frames and more.

    Returns:
        The fields of ``AbsenceScore`` that are numbers, for clips with frames on which the target is hidden or gone and
        for those that show it all the time, where there are such.
    """
    engine, runs = Engine(network, config, device=_device(network)), dict[str, list[Watched]]()
    for held in clips:
        if held.clip.length >= _LONG and any(held.clip.tracks.values()):
            run = _watched(engine, held)
            runs.setdefault(SEEN if run.present.all() else GONE, []).append(run)
    scores = {kind: asdict(score_absence(runs[kind])) for kind in (GONE, SEEN) if kind in runs}
    return {kind: {name: v for name, v in score.items() if not np.isnan(v)} for kind, score in scores.items()}


def _glimpses(engine: Engine, held: HeldOut) -> list[Watched]:
    """Runs over the beginnings of a clip's tracks, begun anew where the target was missed for a while."""
    runs = []
    tracks = [boxes for boxes in held.clip.tracks.values() if len(boxes) >= _FEWEST_FRAMES]
    for boxes in spread(tracks, _FITTED_TRACKS):
        begin = min(boxes)
        end = min(held.clip.length if held.tells_absence else max(boxes) + 1, begin + _FITTED_FRAMES)
        runs.append(_told(held, watch(engine, held.clip.read(range(begin, end)), boxes, restart=True)))
    return runs


def _watched(engine: Engine, held: HeldOut) -> Watched:
    """A run over a clip's first track that has a box."""
    boxes = next(filter(None, held.clip.tracks.values()))
    return _told(held, watch(engine, held.clip.read(range(min(boxes), held.clip.length)), boxes))


def _told(held: HeldOut, run: Watched) -> Watched:
    """A run without the frames that say nothing of the target."""
    told = run.present | held.tells_absence
    return Watched(*(getattr(run, field.name)[told] for field in fields(run)))


def spread(items: Sequence[_Item], most: int) -> list[_Item]:
    """At most so many of them, evenly from first to last."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).astype(int))]


def as_plain(scores: dict[str, Scores]) -> dict[str, dict[str, float]]:
    """Scores as numbers for JSON."""
    return {name: asdict(value) for name, value in scores.items()}
