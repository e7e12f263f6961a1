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
from collections.abc import Iterator
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
Row = tuple[str, str, str, int, str, str]


def videos(material: Path, root: Path) -> Iterator[tuple[str, Video]]:
    """The held-out clips that are long enough, read one by one."""
    held_out, compared = clips_to_track(material, root)
    for held in [*held_out, *compared]:
        if held.clip.length >= LONG and held.clip.tracks:
            yield held.clip.name, read(held.clip)


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
        found = run(args.models, list(videos(args.material, args.root)))
    except InputError as error:
        print(f"robustness: {error}", file=sys.stderr)
        return 2
    with args.out.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *found])
    return 0


def named_tracker(given: str) -> tuple[tuple[str, str], Tracker]:
    """(name, beginning of its weights' SHA-256 where they are ours) and the tracker."""
    name, _, weights = given.partition("=")
    tracker = build_tracker(name, weights=weights or None, device="cpu")
    if name.startswith("opencv-"):
        return (name, ""), tracker
    spec = find_model(name)
    digest = hashlib.sha256(weights_path(spec, Path(weights) if weights else None).read_bytes()).hexdigest()
    return (spec.name, digest[:8]), tracker


def run(models: list[str], clips: list[tuple[str, Video]]) -> list[Row]:
    """Rows of the table."""
    trackers = dict(map(named_tracker, models))
    rows: list[Row] = []
    for what, change in DISTURBANCES.items():
        got: dict[tuple[str, str], list[tuple[float, float]]] = {name: [] for name in trackers}
        for number, (_, video) in enumerate(clips):
            changed = change(video, np.random.default_rng((SEED, number)))
            for name, tracker in trackers.items():
                got[name] += [found for found in [scores(tracker, changed)] if found is not None]
        for name, values in got.items():
            success, precision = np.mean(values, axis=0)
            rows.append((what, *name, len(values), f"{success:.4f}", f"{precision:.4f}"))
            print(*rows[-1], sep="  ", flush=True)
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
