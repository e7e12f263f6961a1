"""``onlinetada train``: a recipe and packed material in, weights out."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("config", type=Path, help="recipe (YAML)")
    parser.add_argument("--data", type=Path, default=Path("packed"), help="folder made by: onlinetada data pack")
    parser.add_argument("--out", type=Path, default=Path("runs/train"), help="folder for log, checkpoint and weights")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--max-minutes", type=float, default=math.inf, help="stop then, with a checkpoint")


def run(args: argparse.Namespace) -> int:
    """Train; afterwards ``--out`` holds ``log.jsonl``, ``checkpoint/`` and, at the end, the averaged weights."""
    from onlinetada.errors import InputError
    from onlinetada.trackers.config import load_config
    from onlinetada.trackers.training.bank import load_bank
    from onlinetada.trackers.training.recipe import Recipe
    from onlinetada.trackers.training.trainer import Progress, Trainer

    recipe = load_config(args.config, Recipe)
    if not args.resume and (args.out / "log.jsonl").exists():
        raise InputError(f"{args.out}: holds a training already; add --resume to go on, or choose another --out")
    if args.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError("no CUDA device here; use --device cpu")
    trainer = Trainer(recipe, load_bank(args.data, args.device), args.out, resume=args.resume)
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "log.jsonl").open("a", encoding="utf-8") as log:

        def report(progress: Progress) -> None:
            log.write(json.dumps(dataclasses.asdict(progress)) + "\n")
            log.flush()
            print(
                f"{progress.iteration:6d}/{recipe.iterations}  score {progress.score_loss:.4f}  "
                f"box {progress.box_loss:.4f}  iou {progress.iou:.3f}  {progress.search_frames_per_s:.0f} frames/s  "
                f"{progress.remaining_s / 60:.0f} min left",
                flush=True,
            )

        trainer.run(max_s=args.max_minutes * 60, report=report)
    return 0
