#!/usr/bin/env python3
"""How many search frames a second a recipe trains on, and what bounds it.

python tools/bench_training.py configs/compact_gpu.yaml --data PACKED --device cuda --compile --json FILE
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from onlinetada.trackers.training.bank import load_bank
from onlinetada.trackers.training.benchmark import draw_ms, made_up_bank, measure
from onlinetada.trackers.training.compiling import use_compiler_cache
from onlinetada.trackers.training.jobs import job_for, load_recipe
from onlinetada.trackers.training.recipe import Recipe


def main() -> None:
    """Measure and print; ``--json`` writes a file as well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path, help="packed material; pictures of noise without it")
    parser.add_argument("--pictures", choices=("device", "host", "disk"), default="device")
    parser.add_argument("--noise-pictures", type=int, default=200, help="how many there are without --data")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--ahead", type=int, help="batches made ahead by a thread")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.compile:
        use_compiler_cache()
    recipe = load_recipe(args.config)
    if isinstance(recipe, Recipe):  # a round costs the same for each of its batches, however many they are
        recipe = replace(recipe, round_batches=min(recipe.round_batches, 4))
    if args.data:
        bank = load_bank(args.data, args.device, place=args.pictures)
    else:
        bank = made_up_bank(args.noise_pictures, 448, args.device)
    speed = measure(job_for(recipe), bank, compiled=args.compile, iterations=args.iterations, ahead=args.ahead)
    values = {"recipe": args.config.name, **speed.as_values()}
    if isinstance(recipe, Recipe):
        values["draw_ms"] = draw_ms(recipe, bank, compiled=args.compile)
    values = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps(values, indent=1))
    if args.json:
        args.json.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
