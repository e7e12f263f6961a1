"""What calibrations add to the compact network: the same training with each kind and without, over several seeds.

    python tools/calibration_study.py configs/calibration_study.yaml --data PACKED --root DATA --out STUDY

Every run starts from the recipe's weights; of one seed, all kinds see the same clips. Each then tracks every
validation track. ``tracks.csv`` gets a row a run and track, ``study.csv`` what is left after pairing: the difference to
no calibration on the same track, its mean over the seeds, with a 95 % bootstrap interval over the tracks. A run that is
in ``tracks.csv`` already is not done again.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from onlinetada.errors import InputError
from onlinetada.trackers.assemble import prepared
from onlinetada.trackers.config import load_config
from onlinetada.trackers.evaluation.statistics import mean_interval, resample
from onlinetada.trackers.models.compact import CompactNetwork
from onlinetada.trackers.models.registry import find_model
from onlinetada.trackers.training.bank import Bank, load_bank
from onlinetada.trackers.training.pack import Material, left_out
from onlinetada.trackers.training.pictures import Place
from onlinetada.trackers.training.recipe import Recipe
from onlinetada.trackers.training.trainer import Trainer
from onlinetada.trackers.training.validation import HeldOut, held_out_clips, run_clips, score_runs

Kind = Literal["none", "online", "target"]
KINDS: tuple[Kind, ...] = ("none", "online", "target")
COLUMNS = ("calibration", "seed", "source", "track", "success", "precision")


@dataclass(frozen=True)
class Setup:
    """What all runs share."""

    recipe: Recipe
    initial: Path
    bank: Bank
    clips: list[HeldOut]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 2 for bad input."""
    parser = argparse.ArgumentParser(description="Measure what calibrations add to the compact network.")
    parser.add_argument("config", type=Path, help="recipe with initial weights (YAML)")
    parser.add_argument("--data", type=Path, required=True, help="folder made by: onlinetada data pack")
    parser.add_argument("--root", type=Path, required=True, help="folder of the raw data, for the validation clips")
    parser.add_argument("--out", type=Path, required=True, help="folder for tracks.csv and study.csv")
    parser.add_argument("--seeds", type=int, default=3, help="runs of every kind")
    parser.add_argument("--pictures", choices=("device", "disk"), default="device", help="see docs/training.md")
    args = parser.parse_args(argv)
    try:
        setup = _setup(args.config, args.data, args.root, args.pictures)
        rows = read_rows(args.out / "tracks.csv")
        done = {(row["calibration"], row["seed"]) for row in rows}
        for seed in range(args.seeds):
            for kind in KINDS:
                if (kind, str(seed)) not in done:
                    rows += _run(setup, kind, seed, args.out)
                    write_rows(args.out / "tracks.csv", rows)
        write_rows(args.out / "study.csv", summary(rows, _cost(setup.recipe)))
    except InputError as error:
        print(f"calibration_study: {error}", file=sys.stderr)
        return 2
    return 0


def _setup(config: Path, data: Path, root: Path, pictures: Place) -> Setup:
    recipe = load_config(config, Recipe)
    if recipe.initial is None:
        raise InputError(f"{config}: the study goes on from weights; name them with initial")
    material = config.parent / recipe.material
    about = load_config(material, Material)
    clips = held_out_clips(about.sources, root, left_out(about, material))
    if not clips:
        raise InputError(f"{root}: none of the validation clips of {material} lies there")
    return Setup(recipe, config.parent / recipe.initial, load_bank(data, "cpu", place=pictures), clips)


def _run(setup: Setup, kind: Kind, seed: int, out: Path) -> list[dict[str, str]]:
    recipe = replace(setup.recipe, seed=seed, model=replace(setup.recipe.model, calibration=kind))
    trainer = Trainer(recipe, setup.bank, out / f"{kind}-{seed}", initial=setup.initial)
    trainer.run(report=lambda progress: print(f"{kind} {seed}: {progress.iteration} {progress.parts}", flush=True))
    network = prepared(trainer.average, torch.device("cpu"))
    runs = run_clips(network, find_model("compact").inference, setup.clips)
    rows = []
    for run in runs:
        scores = score_runs([run])["all"]
        values = (kind, str(seed), run.source, run.name, f"{scores.success:.4f}", f"{scores.precision:.4f}")
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def _cost(recipe: Recipe) -> dict[str, tuple[int, int]]:
    """Parameters and FLOPs of one frame, by kind."""
    costs = {}
    for kind in KINDS:
        network = CompactNetwork(replace(recipe.model, calibration=kind)).eval()
        search = torch.zeros(1, 3, recipe.model.search_size, recipe.model.search_size)
        box = torch.tensor([[64.0, 64.0, 40.0, 40.0]])
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            state = network.start(torch.zeros(1, 3, 128, 128), search, box)
            before = counter.get_total_flops()
            network.step(search, state)
        costs[kind] = sum(p.numel() for p in network.parameters()), counter.get_total_flops() - before
    return costs


def summary(rows: Sequence[dict[str, str]], costs: dict[str, tuple[int, int]]) -> list[dict[str, str]]:
    """A row a kind of calibration and data set: means, and the difference to none, paired by track and seed."""
    table: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        for source in (row["source"], "all"):
            tracks = table.setdefault((row["calibration"], source), {})
            tracks.setdefault(row["track"], []).append(float(row["success"]))
    plain = costs["none"]
    lines = []
    for (kind, source), tracks in sorted(table.items()):
        base = table["none", source]
        difference = np.array([np.mean(values) - np.mean(base[name]) for name, values in tracks.items()])
        interval = mean_interval(difference, resample(len(difference)))
        by_seed = np.mean([values for values in tracks.values()], 0)
        lines.append(
            {
                "calibration": kind,
                "source": source,
                "tracks": str(len(tracks)),
                "seeds": str(len(by_seed)),
                "success": f"{by_seed.mean():.4f}",
                "spread over seeds": f"{by_seed.std():.4f}",
                "difference": f"{difference.mean():+.4f}",
                "low": f"{interval.low:+.4f}",
                "high": f"{interval.high:+.4f}",
                "added parameters": str(costs[kind][0] - plain[0]),
                "added MFLOP": f"{(costs[kind][1] - plain[1]) / 1e6:.3f}",
                "share of FLOPs": f"{(costs[kind][1] - plain[1]) / plain[1]:.5f}",
            }
        )
    return lines


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table; none if it is not there."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write a table whose columns are those of its first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    raise SystemExit(main())
