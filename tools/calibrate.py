"""Fits a model's confidence on clips with ground truth, and says how well it then knows that a target is gone.

    python tools/calibrate.py --data FOLDER [--clips TLD_04,TLD_05] [--weights FILE] [--write]

FOLDER holds ``NAME.mp4`` with ``NAME.txt`` beside it; clips that were trained on would flatter the confidence. Every
second clip is fitted on when the other half is scored, and the other way round; what is written is fitted on all.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from onlinetada.errors import InputError
from onlinetada.trackers.absence import AbsenceScore, Watched, labelled_signals, score_absence, watch, without_recovery
from onlinetada.trackers.assemble import build_engine, weights_path
from onlinetada.trackers.confidence import ConfidenceCalibration, fit_calibration
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.models.registry import find_model, read_card
from onlinetada.trackers.training.clips import Clip
from onlinetada.trackers.training.readers import read_videos

Track = tuple[Clip, str]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 2 for bad input."""
    parser = argparse.ArgumentParser(description="Fit and measure a model's confidence.")
    parser.add_argument("--data", type=Path, required=True, help="folder with NAME.mp4 and NAME.txt")
    parser.add_argument("--clips", default="", help="beginnings of names, separated by commas; all clips without it")
    parser.add_argument("--max-frames", type=int, default=1000, help="frames of a clip that are looked at")
    parser.add_argument("--model", default="default")
    parser.add_argument("--weights", type=Path, help="the model's own without it")
    parser.add_argument("--device")
    parser.add_argument("--write", action="store_true", help="write the calibration into the card beside the weights")
    args = parser.parse_args(argv)
    try:
        return run(args)
    except InputError as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 2


def run(args: argparse.Namespace) -> int:
    """Collect, fit, score, and write."""
    if not args.data.is_dir():
        raise InputError(f"there is no folder {args.data}")
    engine = build_engine(args.model, weights=args.weights, device=args.device)
    tracks = chosen_tracks(args.data, tuple(name for name in args.clips.split(",") if name))
    collected = [watch_track(without_recovery(engine), track, args.max_frames, restart=True) for track in tracks]
    calibration = fit(collected)
    print_reliability(calibration, collected)
    runs = cross_checked(engine, tracks, collected, args.max_frames)
    for (clip, name), watched in zip(tracks, runs, strict=True):
        print(f"{clip.name:28s} {name:>4s} {as_line(score_absence([watched]))}")
    score = score_absence(runs)
    print(f"{'all':33s} {as_line(score)}")
    print(json.dumps({"confidence": asdict(calibration), "absence": asdict(score)}))
    if args.write:
        path = weights_path(find_model(args.model), args.weights)
        card = {**read_card(path), "confidence": asdict(calibration), "absence": asdict(score)}
        path.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return 0


def chosen_tracks(folder: Path, names: tuple[str, ...]) -> list[Track]:
    """The clips of a folder whose names begin so, each with every target that it has."""
    clips = [clip for clip in read_videos(folder) if not names or clip.name.startswith(names)]
    tracks = [(clip, name) for clip in clips for name in clip.tracks]
    if len(tracks) < 2:
        raise InputError(f"{folder} has {len(tracks)} matching tracks, at least 2 are needed: see --clips")
    return tracks


def watch_track(engine: Engine, track: Track, max_frames: int, *, restart: bool = False) -> Watched:
    """One run over one target of a clip."""
    clip, name = track
    boxes = clip.tracks[name]
    first = min(boxes)
    return watch(engine, clip.read(range(first, min(clip.length, first + max_frames))), boxes, restart=restart)


def fit(runs: Sequence[Watched]) -> ConfidenceCalibration:
    """A calibration from what was collected."""
    try:
        return fit_calibration(*labelled_signals(runs))
    except ValueError as error:
        raise InputError(f"these clips do not do: {error}") from None


def cross_checked(
    engine: Engine, tracks: Sequence[Track], collected: Sequence[Watched], max_frames: int
) -> list[Watched]:
    """Runs as users get them, with calibrations that never saw the clip."""
    runs = []
    for i, track in enumerate(tracks):
        others = [watched for j, watched in enumerate(collected) if (j - i) % 2]
        tuned = replace(engine.config, confidence=fit(others))
        runs.append(watch_track(Engine(engine.network, tuned, device=engine.device), track, max_frames))
    return runs


def print_reliability(calibration: ConfidenceCalibration, collected: Sequence[Watched]) -> None:
    """What share of the frames with a confidence was on the target."""
    signals, on_target = labelled_signals(collected)
    confidence = calibration(signals)
    print("confidence   frames   on target")
    for low in np.arange(10) / 10:
        here = (confidence >= low) & (confidence < low + 0.1)
        if here.any():
            print(f"{low:.1f} - {low + 0.1:.1f} {here.sum():9d}   {on_target[here].mean():.2f}")


def as_line(score: AbsenceScore) -> str:
    """One line of a table."""
    return (
        f"precision {score.precision:.2f}  recall {score.recall:.2f}  false alarms {score.false_alarms:.3f}  "
        f"found {score.found}/{score.returns} after {score.frames_to_find:.0f} frames  overlap {score.mean_overlap:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())
