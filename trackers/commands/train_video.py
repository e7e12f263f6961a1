"""``onlinetada train-video``: a recipe in, a tested video network out."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onlinetada.trackers.recognition.data import Material
    from onlinetada.trackers.recognition.recipe import RecognitionRecipe
    from onlinetada.trackers.recognition.trainer import Progress, RecognitionTrainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("config", type=Path, help="recipe (YAML), such as configs/video_motion.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs/video"), help="folder for log, checkpoint and weights")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--max-minutes", type=float, default=math.inf, help="stop then, with a checkpoint")
    parser.add_argument("--test", type=Path, metavar="FILE", help="test these weights, train nothing")


def run(args: argparse.Namespace) -> int:
    """Train and test; ``--out`` gets ``log.jsonl``, ``checkpoint/`` and, at the end, weights with their card."""
    from onlinetada.errors import InputError
    from onlinetada.trackers.commands.train import check_device
    from onlinetada.trackers.config import load_config
    from onlinetada.trackers.recognition.data import load_material
    from onlinetada.trackers.recognition.recipe import RecognitionRecipe
    from onlinetada.trackers.recognition.trainer import RecognitionTrainer
    from onlinetada.trackers.training.parallel import team

    recipe, base = load_config(args.config, RecognitionRecipe), args.config.parent
    check_device(args.device)
    material = load_material(recipe.data, base)
    if args.test is not None:
        return _test_file(args, recipe, material)
    with team(args.device) as (processes, device):
        if processes.leads and not args.resume and (args.out / "log.jsonl").exists():
            raise InputError(f"{args.out}: holds a training already; add --resume to go on, or choose another --out")
        trainer = RecognitionTrainer(
            recipe, material, args.out, base=base, device=device, resume=args.resume, team=processes
        )
        _train(trainer, args.out, args.max_minutes * 60)
    if not trainer.team.leads:
        return 0
    if trainer.iteration < recipe.iterations:
        print(f"stopped at iteration {trainer.iteration} of {recipe.iterations}; go on with --resume")
        return 0
    _release(trainer, args.out)
    return 0


def _train(trainer: RecognitionTrainer, out: Path, max_s: float) -> None:
    if not trainer.team.leads:
        trainer.run(max_s=max_s)
        return
    out.mkdir(parents=True, exist_ok=True)
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:

        def report(progress: Progress) -> None:
            log.write(json.dumps(dataclasses.asdict(progress)) + "\n")
            log.flush()
            accuracy = "" if progress.accuracy < 0 else f"accuracy {progress.accuracy:.3f}  "
            print(
                f"{progress.iteration:6d}/{trainer.recipe.iterations}  loss {progress.loss:.4f}  {accuracy}"
                f"{progress.clips_per_s:.0f} clips/s",
                flush=True,
            )

        trainer.run(max_s=max_s, report=report)


def _release(trainer: RecognitionTrainer, out: Path) -> None:
    from onlinetada.trackers.recognition.comparison import scores_of
    from onlinetada.trackers.recognition.data import held_out_clips
    from onlinetada.trackers.recognition.modelfile import save_model
    from onlinetada.trackers.recognition.testing import evaluate

    recipe, material = trainer.recipe, trainer.material
    outcome = evaluate(trainer.average, held_out_clips(recipe.data, material), device=str(trainer.device))
    scores = scores_of(outcome, recipe)
    path = out / f"{recipe.name}.safetensors"
    save_model(trainer.average, path, recipe=recipe, num_classes=material.num_classes, scores=scores)
    _say(scores, len(outcome.names))
    print(f"weights: {path}, card: {path.with_suffix('.json')}")


def _test_file(args: argparse.Namespace, recipe: RecognitionRecipe, material: Material) -> int:
    from onlinetada.trackers.recognition.comparison import scores_of
    from onlinetada.trackers.recognition.data import held_out_clips
    from onlinetada.trackers.recognition.testing import evaluate
    from onlinetada.trackers.recognition.trainer import new_network, read_tensors
    from onlinetada.video import load_weights

    network = new_network(recipe, material.num_classes, args.config.parent)
    loaded = load_weights(network, read_tensors(args.test))
    if loaded.unused:
        print(f"not used: {len(loaded.unused)} tensors, such as {loaded.unused[0]}")
    outcome = evaluate(network, held_out_clips(recipe.data, material), device=args.device)
    _say(scores_of(outcome, recipe), len(outcome.names))
    return 0


def _say(scores: dict[str, float], videos: int) -> None:
    print(f"{videos} videos: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
