#!/usr/bin/env python3
"""Make the early blocks of a compact network narrower, so that a step costs less; training then goes on from there.

python tools/narrow_backbone.py WEIGHTS RECIPE --data PACKED --out FILE [--threads N]

WEIGHTS is a .safetensors file with its card beside it, RECIPE the one that training goes on with: it says the widths,
what search regions look like, and how long. Half an hour on one CPU core.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from onlinetada.errors import InputError
from onlinetada.trackers.models.backbone import Lite0
from onlinetada.trackers.models.checkpoint import read_state_dict
from onlinetada.trackers.training.bank import load_bank
from onlinetada.trackers.training.jobs import load_recipe
from onlinetada.trackers.training.narrowing import narrowed
from onlinetada.trackers.training.recipe import Recipe
from onlinetada.trackers.training.release import origin, rounded

_BACKBONE = "backbone."


def main() -> int:
    """Read, imitate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder made by: onlinetada data pack")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recipe = load_recipe(args.recipe)
    if not isinstance(recipe, Recipe) or not recipe.model.widths:
        raise InputError(f"{args.recipe} names no widths of a compact network")
    tensors = {name: tensor.float() for name, tensor in read_state_dict(args.weights).items()}
    own = {n.removeprefix(_BACKBONE): t for n, t in tensors.items() if n.startswith(_BACKBONE)}
    wide = Lite0(depth=recipe.model.depth).requires_grad_(False)
    wide.load_state_dict(own)
    error = float("nan")

    def report(iteration: int, last: float) -> None:
        nonlocal error
        error = last
        print(f"{iteration:6}/{recipe.narrowing.iterations}  error {error:.4f}", flush=True)

    torch.manual_seed(recipe.seed)
    narrow = narrowed(
        wide,
        recipe.model.widths,
        load_bank(args.data, "cpu", place="host"),
        recipe.batch,
        recipe.narrowing,
        report=report,
    )
    tensors |= {_BACKBONE + name: tensor.contiguous() for name, tensor in narrow.state_dict().items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    partial = args.out.with_suffix(".partial")
    save_file(tensors, partial)
    partial.replace(args.out)
    card = {
        "model": "compact",
        "network": asdict(recipe.model),
        "training": {"narrowing": asdict(recipe.narrowing), "error": error, **origin(args.weights)},
    }
    args.out.with_suffix(".json").write_text(json.dumps(rounded(card), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"narrow_backbone: {error}")
