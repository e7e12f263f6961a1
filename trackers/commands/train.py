"""``onlinetada train``: a recipe and packed material in, weights out."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onlinetada.trackers.training.jobs import AnyRecipe
    from onlinetada.trackers.training.parallel import Team
    from onlinetada.trackers.training.trainer import Trainer
    from onlinetada.trackers.training.validation import ClipSets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("config", type=Path, help="recipe: a YAML file, or the name of one that ships")
    parser.add_argument("--data", type=Path, default=Path("packed"), help="folder made by: onlinetada data pack")
    parser.add_argument("--out", type=Path, default=Path("runs/train"), help="folder for log, checkpoint and weights")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--max-minutes", type=float, default=math.inf, help="stop then, with a checkpoint")
    parser.add_argument("--root", type=Path, help="folder of the raw data: validate by tracking the held-out clips")
    parser.add_argument("--initial", type=Path, help="weights to begin with, in place of those that the recipe names")
    parser.add_argument("--backbone", type=Path, help="ImageNet weights of the AlexNet, for tctrack recipes")
    parser.add_argument(
        "--pictures",
        choices=("device", "host", "disk"),
        default="device",
        help="where the pixels are kept: decoded in the memory of the device or of the host, or in the shards",
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile; what it makes is kept for later runs")
    parser.add_argument("--tensorboard", action="store_true", help="write OUT/tensorboard too")


def run(args: argparse.Namespace) -> int:
    """Train; ``--out`` gets ``log.jsonl``, ``checkpoint/``, ``sheets/`` and, at the end, weights with their card."""
    from onlinetada.trackers.config import find_config
    from onlinetada.trackers.training.jobs import load_recipe
    from onlinetada.trackers.training.parallel import team
    from onlinetada.trackers.training.release import origin, release
    from onlinetada.trackers.training.session import Session, open_board

    args.config = find_config(args.config)
    recipe = load_recipe(args.config)
    check_device(args.device)
    clips = clips_to_track(args.config.parent / recipe.material, args.root) if args.root else None
    with team(args.device) as (processes, device):
        trainer = _new_trainer(args, recipe, processes, device)
        board = open_board(args.out / "tensorboard") if args.tensorboard and processes.leads else None
        Session(trainer, args.out, clips.held_out if clips else [], board, say=_say).run(args.max_minutes * 60)
    if not trainer.team.leads:
        return 0
    if trainer.iteration < recipe.iterations:
        print(f"stopped at iteration {trainer.iteration} of {recipe.iterations}; go on with --resume")
        return 0
    path = args.out / f"{recipe.name or trainer.job.model}.safetensors"
    card = release(
        trainer.average,
        path,
        recipe=recipe,
        training=trainer.summary() | origin(_initial(args, recipe)),
        terms=trainer.bank.terms,
        clips=clips,
    )
    print(f"weights: {path} ({card['file_bytes'] / 1e6:.1f} MB), card: {path.with_suffix('.json')}")
    return 0


def _new_trainer(args: argparse.Namespace, recipe: AnyRecipe, processes: Team, device: str) -> Trainer:
    from onlinetada.errors import InputError
    from onlinetada.trackers.training.bank import load_bank
    from onlinetada.trackers.training.compiling import use_compiler_cache
    from onlinetada.trackers.training.jobs import job_for
    from onlinetada.trackers.training.session import LOG
    from onlinetada.trackers.training.trainer import Trainer

    begun = any((args.out / name).exists() for name in (LOG, "checkpoint"))
    if processes.leads and not args.resume and begun:
        raise InputError(f"{args.out}: holds a training already; add --resume to go on, or choose another --out")
    initial = _initial(args, recipe)
    own = getattr(recipe, "imagenet", None)  # a file in tctrack recipes
    backbone = args.backbone or (args.config.parent / own if isinstance(own, str) else None)
    job = job_for(recipe, backbone=backbone, initial=initial)
    if job.begins_with and processes.leads:
        print(f"{job.model}: {job.begins_with}")
    if args.compile:
        use_compiler_cache()
    bank = load_bank(args.data, device, place=args.pictures)
    return Trainer(job, bank, args.out, initial=initial, resume=args.resume, team=processes, compiled=args.compile)


def _initial(args: argparse.Namespace, recipe: AnyRecipe) -> Path | None:
    given: Path | None = args.initial
    return given or (None if recipe.initial is None else args.config.parent / recipe.initial)


def _say(line: str) -> None:
    print(line, flush=True)


def clips_to_track(material: Path, root: Path) -> ClipSets:
    """The clips of raw data that are tracked, by what for."""
    from onlinetada.errors import InputError
    from onlinetada.trackers.config import load_config
    from onlinetada.trackers.training.pack import Material, left_out
    from onlinetada.trackers.training.validation import ClipSets, held_out_clips, seen_clips

    about = load_config(material, Material)
    names = left_out(about, material)
    held_out = held_out_clips(about.sources, root, names) if about.leave_out else []
    held_out += held_out_clips(about.validate, root)
    if not held_out:
        raise InputError(f"{root}: none of the validation clips of {material} lies there")
    return ClipSets(held_out, held_out_clips(about.compare, root), seen_clips(about.sources, root, names))


def check_device(device: str) -> None:
    """Refuse a GPU that is not there."""
    import torch

    from onlinetada.errors import InputError

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device here; use --device cpu")
