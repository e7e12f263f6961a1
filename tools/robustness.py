#!/usr/bin/env python3
"""How much a tracker loses when the same videos get harder, beside other trackers: docs/bench/robustness.csv.

python tools/robustness.py --root DATA --models default opencv-nano=FOLDER

FOLDER holds the tracker's model files, see docs/tracking.md. Tracked are the held-out clips of 30 frames and more of
the material, the first track of each, from its first box on.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from pathlib import Path

import numpy as np

from onlinetada.errors import InputError
from onlinetada.trackers import build_tracker
from onlinetada.trackers.assemble import weights_path
from onlinetada.trackers.commands.train import clips_to_track
from onlinetada.trackers.evaluation.disturb import DISTURBANCES, Video
from onlinetada.trackers.evaluation.geometry import centers, overlap
from onlinetada.trackers.evaluation.protocols import PRECISION_AT, success_curve
from onlinetada.trackers.models.registry import find_model
from onlinetada.trackers.result import Tracker
from onlinetada.trackers.training.clips import Clip

ROOT = Path(__file__).parents[1]
LONG = 30
SEED = 0
HEADER = ("disturbance", "model", "weights", "runs", "success", "precision")
Name = tuple[str, str]  # of the model, and the beginning of its weights' SHA-256 where they are ours
Row = tuple[str, str, str, int, str, str]


def videos(material: Path, root: Path) -> list[Video]:
    """The held-out clips that are long enough."""
    clips = clips_to_track(material, root)
    return [
        read(held.clip) for held in [*clips.held_out, *clips.compare] if held.clip.length >= LONG and held.clip.tracks
    ]


def read(clip: Clip) -> Video:
    """A clip's pictures, and the boxes of its first track."""
    boxes = next(iter(clip.tracks.values()))
    frames = list(clip.read(range(min(boxes), clip.length)))
    return Video([image for _, image in frames], np.array([boxes.get(n, (np.nan,) * 4) for n, _ in frames]))


def scores(tracker: Tracker, video: Video) -> tuple[float, float] | None:
    """Success and precision on frames that show the target, from its first box on; None where no two do."""
    shown = np.flatnonzero(np.isfinite(video.truth[:, 0]))
    if len(shown) < 2:
        return None
    first = int(shown[0])
    boxes = [video.truth[first]]
    tracker.init(video.images[first], tuple(video.truth[first]))
    boxes += [np.array(tracker.update(image).box_xywh) for image in video.images[first + 1 :]]
    truth, said = video.truth[shown], np.array(boxes)[shown - first]
    distance = np.linalg.norm(centers(truth) - centers(said), axis=1)
    return float(success_curve(overlap(truth, said)).mean()), float((distance <= PRECISION_AT).mean())


def main() -> int:
    """Track everything, one line a disturbance and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of the raw data")
    parser.add_argument("--material", type=Path, default=ROOT / "configs" / "material_most.yaml")
    parser.add_argument("--models", nargs="+", default=["default"], help="NAME or NAME=WEIGHTS")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "bench" / "robustness.csv")
    args = parser.parse_args()
    try:
        if not args.out.parent.is_dir():
            raise InputError(f"{args.out.parent}: there is no such folder to write into")
        trackers = dict(map(named_tracker, args.models))
        clips = videos(args.material, args.root)
        rows: list[Row] = []
        for what in DISTURBANCES:
            rows += measured(what, trackers, clips)
            with args.out.open("w", encoding="utf-8", newline="") as file:  # each time: a stop loses one row at most
                csv.writer(file, lineterminator="\n").writerows([HEADER, *rows])
    except (InputError, OSError) as error:
        print(f"robustness: {error}", file=sys.stderr)
        return 2
    return 0


def named_tracker(given: str) -> tuple[Name, Tracker]:
    """A tracker with its name."""
    name, _, weights = given.partition("=")
    tracker = build_tracker(name, weights=weights or None, device="cpu")
    if name.startswith("opencv-"):
        return (name, ""), tracker
    spec = find_model(name)
    digest = hashlib.sha256(weights_path(spec, Path(weights) if weights else None).read_bytes()).hexdigest()
    return (spec.name, digest[:8]), tracker


def measured(what: str, trackers: dict[Name, Tracker], clips: list[Video]) -> list[Row]:
    """One disturbance's rows of the table."""
    got: dict[Name, list[tuple[float, float]]] = {name: [] for name in trackers}
    for number, video in enumerate(clips):
        changed = DISTURBANCES[what](video, np.random.default_rng((SEED, number)))
        for name, tracker in trackers.items():
            found = scores(tracker, changed)
            if found is not None:
                got[name].append(found)
    rows = []
    for name, values in got.items():
        success, precision = np.mean(values, axis=0)
        rows.append((what, *name, len(values), f"{success:.4f}", f"{precision:.4f}"))
        print(*rows[-1], sep="  ", flush=True)
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
