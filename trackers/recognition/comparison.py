"""Networks trained and tested side by side: several seeds each, finished runs kept, one table."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from onlinetada.errors import InputError
from onlinetada.trackers.config import load_config
from onlinetada.trackers.recognition.data import held_out_clips, load_material
from onlinetada.trackers.recognition.motion import GROUPS
from onlinetada.trackers.recognition.recipe import NetworkChoice, RecognitionRecipe
from onlinetada.trackers.recognition.testing import Outcome, evaluate
from onlinetada.trackers.recognition.trainer import Progress, RecognitionTrainer

MOTION_GROUPS = {name: (2 * i, 2 * i + 1) for i, name in enumerate(GROUPS)}


@dataclass(frozen=True)
class Row:
    """One network of a comparison.

    Attributes:
        label: what the table calls it.
        network: instead of the recipe's.
    """

    label: str
    network: NetworkChoice


@dataclass(frozen=True)
class Comparison:
    """Networks that are trained alike.

    Attributes:
        recipe: file, relative to this one.
        rows: the networks.
        seeds: of each.
    """

    recipe: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] = (0, 1, 2)


def run_comparison(
    config: Path,
    out: Path,
    *,
    seeds: Sequence[int] | None = None,
    device: str = "cpu",
    report: Callable[[str], None] = print,
) -> None:
    """Train and test every row with every seed; a run whose result file is there already is not repeated.

    Args:
        config: a `Comparison`.
        out: gets ``<row>-<seed>.json``.
        seeds: only these.
    """
    comparison = load_config(config, Comparison)
    base = config.parent
    recipe = load_config(base / comparison.recipe, RecognitionRecipe)
    out.mkdir(parents=True, exist_ok=True)
    for seed in comparison.seeds if seeds is None else seeds:
        for row in comparison.rows:
            path = result_path(out, row.label, seed)
            if path.exists():
                continue
            own = dataclasses.replace(recipe, network=row.network, seed=seed)
            result = train_and_test(own, base, out / "runs" / path.stem, device=device)
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps({"row": row.label, "seed": seed, **result}, indent=1) + "\n", "utf-8")
            partial.rename(path)
            report(f"{row.label}, seed {seed}: {result['scores']} in {result['seconds']:.0f} s")


def train_and_test(recipe: RecognitionRecipe, base: Path, folder: Path, *, device: str = "cpu") -> dict[str, Any]:
    """One run: scores, by group for rendered motion, and what it took. Goes on from a checkpoint if there is one."""
    material = load_material(recipe.data, base)
    log: list[Progress] = []
    resume = (folder / "checkpoint").exists()
    trainer = RecognitionTrainer(recipe, material, folder, base=base, device=device, resume=resume)
    begin = time.process_time()
    trainer.run(report=log.append)
    outcome = evaluate(trainer.average, held_out_clips(recipe.data, material), device=device)
    return {
        "scores": scores_of(outcome, recipe),
        "videos": len(outcome.names),
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "last_loss": log[-1].loss if log else None,
        "seconds": trainer.elapsed_s,
        "cpu_seconds": time.process_time() - begin,
        "iterations": recipe.iterations,
        "batch": recipe.batch,
        "torch": torch.__version__,
    }


def scores_of(outcome: Outcome, recipe: RecognitionRecipe) -> dict[str, float]:
    """Rendered motion by group, within which a guess is right half of the time; everything else as usual."""
    if recipe.data.kind == "motion":
        return outcome.within(MOTION_GROUPS)
    return outcome.summary()


def result_path(out: Path, label: str, seed: int) -> Path:
    """Where a run's result lies."""
    plain = "".join(c if c.isalnum() else "_" for c in label)
    return out / f"{plain}-{seed}.json"


def write_page(config: Path, out: Path, page: Path) -> None:
    """The table as a page, and beside it, as JSON lines, the results that it is made of."""
    results = results_of(load_config(config, Comparison), out)
    said = [
        f"# {config.stem}",
        "",
        f"Written by `python tools/compare_video.py configs/{config.name} --out OUT --table {page.name}`.",
        f"Percent right, mean ± standard deviation over seeds; {page.stem}.jsonl has every run.",
        "",
        table(config, out),
    ]
    page.write_text("\n".join(said) + "\n", encoding="utf-8")
    lines = [json.dumps(r) for r in results]
    page.with_suffix(".jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def results_of(comparison: Comparison, out: Path) -> list[dict[str, Any]]:
    """The results that are there, row by row, seed by seed."""
    paths = [result_path(out, row.label, seed) for row in comparison.rows for seed in comparison.seeds]
    return [json.loads(p.read_text("utf-8")) for p in paths if p.exists()]


def table(config: Path, out: Path) -> str:
    """Markdown: a row a network, mean and standard deviation over its seeds, from the result files alone."""
    comparison = load_config(config, Comparison)
    lines: list[str] = []
    for row in comparison.rows:
        results = [r for r in results_of(comparison, out) if r["row"] == row.label]
        if not results:
            continue
        names = list(results[0]["scores"])
        if not lines:
            lines = ["| network | seeds | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
        cells = [_mean_and_spread([r["scores"][n] for r in results]) for n in names]
        lines.append(f"| {row.label} | {len(results)} | " + " | ".join(cells) + " |")
    if not lines:
        raise InputError(f"{out}: no result of {config.name}; run the comparison first")
    return "\n".join(lines)


def _mean_and_spread(values: list[float]) -> str:
    mean = f"{100 * statistics.fmean(values):.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean
