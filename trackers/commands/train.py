"""``onlinetada train``: a recipe and packed material in, weights out."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onlinetada.trackers.training.trainer import Progress, Trainer
    from onlinetada.trackers.training.validation import HeldOut


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("config", type=Path, help="recipe (YAML)")
    parser.add_argument("--data", type=Path, default=Path("packed"), help="folder made by: onlinetada data pack")
    parser.add_argument("--out", type=Path, default=Path("runs/train"), help="folder for log, checkpoint and weights")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--max-minutes", type=float, default=math.inf, help="stop then, with a checkpoint")
    parser.add_argument("--root", type=Path, help="folder of the raw data: validate by tracking the held-out clips")


def run(args: argparse.Namespace) -> int:
    """Train; ``--out`` gets ``log.jsonl``, ``checkpoint/``, ``sheets/`` and, at the end, weights with their card."""
    from onlinetada.errors import InputError
    from onlinetada.trackers.config import load_config
    from onlinetada.trackers.training.bank import load_bank
    from onlinetada.trackers.training.parallel import team
    from onlinetada.trackers.training.recipe import Recipe
    from onlinetada.trackers.training.release import release
    from onlinetada.trackers.training.trainer import Trainer

    recipe = load_config(args.config, Recipe)
    check_device(args.device)
    clips = None if args.root is None else _clips_to_track(args.config.parent / recipe.material, args.root)
    initial = None if recipe.initial is None else args.config.parent / recipe.initial
    with team(args.device) as (processes, device):
        if processes.leads and not args.resume and (args.out / "log.jsonl").exists():
            raise InputError(f"{args.out}: holds a training already; add --resume to go on, or choose another --out")
        bank = load_bank(args.data, device)
        trainer = Trainer(recipe, bank, args.out, initial=initial, resume=args.resume, team=processes)
        _train(trainer, args.out, args.max_minutes * 60)
    if not trainer.team.leads:
        return 0
    if trainer.iteration < recipe.iterations:
        print(f"stopped at iteration {trainer.iteration} of {recipe.iterations}; go on with --resume")
        return 0
    path = args.out / f"{recipe.name}.safetensors"
    card = release(trainer.average, path, recipe=recipe, training=trainer.summary(), terms=bank.terms, clips=clips)
    print(f"weights: {path} ({card['file_bytes'] / 1e6:.1f} MB), card: {path.with_suffix('.json')}")
    return 0


def _train(trainer: Trainer, out: Path, max_s: float) -> None:
    from onlinetada.trackers.training.sheets import prediction_sheet, write_picture

    if not trainer.team.leads:
        trainer.run(max_s=max_s, report=lambda progress: None)
        return
    out.mkdir(parents=True, exist_ok=True)
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:

        def report(progress: Progress) -> None:
            log.write(json.dumps(dataclasses.asdict(progress)) + "\n")
            log.flush()
            print(
                f"{progress.iteration:6d}/{trainer.recipe.iterations}  score {progress.score_loss:.4f}  "
                f"box {progress.box_loss:.4f}  iou {progress.iou:.3f}  {progress.search_frames_per_s:.0f} frames/s  "
                f"{progress.remaining_s / 60:.0f} min left",
                flush=True,
            )

        def look(iteration: int) -> None:
            sheet = prediction_sheet(trainer.average, trainer.sample())
            write_picture(sheet, out / "sheets" / f"{iteration:06d}.png")

        trainer.run(max_s=max_s, report=report, at_checkpoint=look)


def _clips_to_track(material: Path, root: Path) -> tuple[list[HeldOut], list[HeldOut]]:
    """Validation clips, and sequences to compare on."""
    from onlinetada.errors import InputError
    from onlinetada.trackers.config import load_config
    from onlinetada.trackers.training.pack import Material, left_out
    from onlinetada.trackers.training.validation import held_out_clips

    about = load_config(material, Material)
    held_out = held_out_clips(about.sources, root, left_out(about, material))
    if not held_out:
        raise InputError(f"{root}: none of the validation clips of {material} lies there")
    return held_out, held_out_clips(about.compare, root)


def check_device(device: str) -> None:
    """Refuse a GPU that is not there."""
    import torch

    from onlinetada.errors import InputError

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device here; use --device cpu")
