#!/usr/bin/env python3
"""Whether fast paths track as the plain one does, on real video: single looks from equal state, and whole runs.

    python tools/fast_paths.py --root DEV --out docs/bench/speed/fast_paths.json

The plain path is torch in float32 on the CPU. Compared with it: ONNX Runtime with the step that lies beside the
weights, further exported steps (--step FILE.onnx), bfloat16, and the step that runs on the device as a whole.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onlinetada.errors import InputError
from onlinetada.trackers.assemble import build_engine
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.evaluation.geometry import overlap
from onlinetada.trackers.evaluation.protocols import success_curve
from onlinetada.trackers.runtime.device_looker import DeviceLooker
from onlinetada.trackers.runtime.material import labelled_clips
from onlinetada.trackers.threads import use_threads
from onlinetada.trackers.training.clips import Clip

_SURE = 0.5  # looks of less confidence are choices by chance, and not compared


def single_looks(plain: Engine, fast: Engine, clip: Clip, limit: int) -> list[float]:
    """Largest difference of the boxes in pixels, look for look, both from the state of the plain run."""
    track = clip.tracks[sorted(clip.tracks)[0]]
    plain.clear()
    key, differences = -1, []
    for number, image in clip.read(range(min(track), min(clip.length, min(track) + limit))):
        if key < 0:
            key = plain.add(image, track[number])
            continue
        plan, state = plain.targets[key].plan(image), plain.state
        assert state is not None  # noqa: S101 - a target was added
        with torch.inference_mode():
            wanted, given = (e.looker.look([plan], state.clone(), commit=False)[0] for e in (plain, fast))
        if wanted.confidence >= _SURE:
            differences.append(float(np.abs(np.subtract(wanted.found.box, given.found.box)).max()))
        plain.update({key: image})
    return differences


def success(engine: Engine, clip: Clip, limit: int) -> float:
    """Mean over the overlap thresholds 0, 0.05 .. 1 of one pass from the first box, the first frame left out."""
    track = clip.tracks[sorted(clip.tracks)[0]]
    engine.clear()
    key, truth, boxes = -1, [], []
    for number, image in clip.read(range(min(track), min(clip.length, min(track) + limit))):
        if key < 0:
            key = engine.add(image, track[number])
            continue
        result = engine.update({key: image})[key]
        if number in track:
            truth.append(track[number])
            boxes.append(result.box_xywh)
    return float(success_curve(overlap(np.array(truth), np.array(boxes))).mean())


def paths(args: argparse.Namespace) -> dict[str, Callable[[], Engine]]:
    """Name -> maker of an engine."""
    common: dict[str, Any] = {"weights": args.weights, "device": "cpu"}

    def on_device() -> Engine:
        engine = build_engine(args.model, runtime="torch", **common)
        looker = DeviceLooker(engine.network, engine.config, engine.device)
        return Engine(engine.network, engine.config, device=engine.device, looker=looker)

    made: dict[str, Callable[[], Engine]] = {
        "torch, bf16": lambda: build_engine(args.model, dtype="bf16", **common),
        "torch, whole step on the device": on_device,
        "onnxruntime, as shipped": lambda: build_engine(args.model, runtime="onnxruntime", **common),
    }
    for step in args.step:
        made[f"onnxruntime, {step.stem}"] = lambda step=step: build_engine(args.model, weights=step, device="cpu")
    return made


def main() -> int:
    """Exit status 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="SEQUENCE/groundtruth.txt, or NAME.mp4 with NAME.txt")
    parser.add_argument("--model", default="default")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--step", type=Path, action="append", default=[], help="further exported steps")
    parser.add_argument("--frames", type=int, default=300, help="of each clip at most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    use_threads(args.threads)
    rows = []
    try:
        clips = labelled_clips(args.root)
        plain = build_engine(args.model, weights=args.weights, device="cpu", runtime="torch")
        own = [success(plain, clip, args.frames) for clip in clips]
        rows.append({"path": "torch, float32", "success": round(float(np.mean(own)), 4), "clips": len(clips)})
        for name, make in paths(args).items():
            fast = make()
            steps = [d for clip in clips for d in single_looks(plain, fast, clip, args.frames)]
            whole = [success(fast, clip, args.frames) for clip in clips]
            rows.append(
                {
                    "path": name,
                    "success": round(float(np.mean(whole)), 4),
                    "clips": len(clips),
                    "looks": len(steps),
                    "look_p50_px": round(float(np.median(steps)), 4),
                    "look_p99_px": round(float(np.percentile(steps, 99)), 3),
                    "look_max_px": round(float(np.max(steps)), 3),
                }
            )
            print(rows[-1], flush=True)
    except InputError as error:
        print(f"fast_paths: {error}", file=sys.stderr)
        return 2
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
