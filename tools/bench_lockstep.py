#!/usr/bin/env python3
"""Evaluation in lockstep against one run at a time: the same runs, decoded frames in memory, frames a second of both.

    python tools/bench_lockstep.py --root DEV --runs 64 --device cuda --out out/lockstep

DEV holds SEQUENCE/groundtruth.txt with pictures. Each sequence gives runs from start frames spread over it; what a run
says is the same both ways, and the largest difference of boxes is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from onlinetada.errors import InputError
from onlinetada.trackers.assemble import build_engine
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.options import DTYPES, RUNTIMES
from onlinetada.trackers.result import Box, Image
from onlinetada.trackers.runtime.material import labelled_clips
from onlinetada.trackers.threads import use_threads


@dataclass
class Run:
    """One run: its frames, the first box, and what the tracker said."""

    frames: list[Image]
    box: Box
    boxes: list[Box]


def make_runs(root: Path, count: int, frames: int) -> list[Run]:
    """``count`` runs of at most ``frames`` frames, sequence after sequence, start frames spread over each."""
    clips = labelled_clips(root)
    held = []
    for clip in clips:
        track = clip.tracks[sorted(clip.tracks)[0]]
        pictures = dict(clip.read(range(min(clip.length, 4 * frames))))
        held.append((track, pictures))
    runs: list[Run] = []
    for index in range(count):
        track, pictures = held[index % len(held)]
        starts = [n for n in sorted(track) if n in pictures and n + frames <= max(pictures) + 1]
        if not starts:
            raise InputError(f"{clips[index % len(held)].name} has fewer than {frames} frames: give --frames less")
        turn = index // len(held)
        turns = -(-count // len(held))
        first = starts[turn * (len(starts) - 1) // max(1, turns - 1)]
        runs.append(Run([pictures[n] for n in range(first, first + frames)], track[first], []))
    return runs


def one_at_a_time(engine: Engine, runs: list[Run]) -> float:
    """Seconds for all runs, each alone."""
    began_s = perf_counter()
    for run in runs:
        engine.clear()
        key = engine.add(run.frames[0], run.box)
        run.boxes = [engine.update({key: frame})[key].box_xywh for frame in run.frames[1:]]
    return perf_counter() - began_s


def in_lockstep(engine: Engine, runs: list[Run]) -> tuple[float, float]:
    """Seconds for all runs in one batch, and the largest difference of boxes from those the runs hold, in pixels."""
    engine.clear()
    began_s = perf_counter()
    keys = [engine.add(run.frames[0], run.box) for run in runs]
    answers = []
    for index in range(1, max(len(run.frames) for run in runs)):
        given = {key: run.frames[index] for key, run in zip(keys, runs, strict=True) if index < len(run.frames)}
        answers.append(engine.update(given))
    seconds = perf_counter() - began_s
    worst = (
        max(
            float(np.abs(np.subtract(answers[i][key].box_xywh, box)).max())
            for key, run in zip(keys, runs, strict=True)
            for i, box in enumerate(run.boxes)
        )
        if runs[0].boxes
        else 0.0
    )
    return seconds, worst


def main() -> int:
    """Exit status 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--frames", type=int, default=60, help="of each run")
    parser.add_argument("--model", default="default")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--device")
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    threads = use_threads(args.threads)
    try:
        runs = make_runs(args.root, args.runs, args.frames)
        engine = build_engine(
            args.model, weights=args.weights, device=args.device, runtime=args.runtime, dtype=args.dtype
        )
    except InputError as error:
        print(f"bench_lockstep: {error}", file=sys.stderr)
        return 2
    in_lockstep(engine, runs)  # sizes are captured, memory is made
    alone_s = one_at_a_time(engine, runs)
    together_s, worst = in_lockstep(engine, runs)
    frames = sum(len(run.frames) - 1 for run in runs)
    found = {
        "runs": len(runs),
        "frames": frames,
        "device": str(engine.device),
        "threads": threads,
        "alone_fps": round(frames / alone_s, 1),
        "lockstep_fps": round(frames / together_s, 1),
        "ratio": round(alone_s / together_s, 2),
        "largest_difference_px": round(worst, 4),
    }
    print(json.dumps(found, indent=1))
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "lockstep.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
