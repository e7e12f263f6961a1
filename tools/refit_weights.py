#!/usr/bin/env python3
"""What is done to weights of a compact network between two parts of its training, and at the end.

    python tools/refit_weights.py narrow WEIGHTS RECIPE --data PACKED --out FILE
    python tools/refit_weights.py average WEIGHTS... RECIPE --data PACKED --out FILE [--root DATA]

narrow: early blocks of the widths in RECIPE, the one that training goes on with, answer as the wide ones did; half an
hour on one CPU core. average: the mean of runs of RECIPE and of what they began with, released with a card; it is
validated with the raw data (--root). What is written is a .safetensors file with its card beside it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from onlinetada.errors import InputError
from onlinetada.trackers.commands.train import check_device, clips_to_track
from onlinetada.trackers.training.bank import load_bank, terms_of
from onlinetada.trackers.training.jobs import load_recipe
from onlinetada.trackers.training.recipe import Recipe
from onlinetada.trackers.training.refitting import narrow, release_average


def main() -> int:
    """Read, refit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("narrow", "average"))
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder made by: onlinetada data pack")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--root", type=Path, help="folder of the raw data")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recipe = load_recipe(args.recipe)
    if not isinstance(recipe, Recipe):
        raise InputError(f"{args.recipe} is no recipe of a compact network")
    check_device(args.device)
    if args.what == "average":
        clips = clips_to_track(args.recipe.parent / recipe.material, args.root) if args.root else None
        release_average(args.weights, recipe, args.out, terms=terms_of(args.data), clips=clips)
    elif len(args.weights) > 1:
        raise InputError("narrow takes one file of weights")
    else:
        narrow(
            args.weights[0],
            recipe,
            load_bank(args.data, args.device),
            args.out,
            say=lambda line: print(line, flush=True),
        )
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"refit_weights: {error}")
