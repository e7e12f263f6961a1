#!/usr/bin/env python3
"""Write docs/models.md from the cards beside the shipped weights: every figure there comes from a card.

python tools/model_page.py
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HEAD = """# Models

Written by `python tools/model_page.py` from the cards beside the weights, which `onlinetada models --json` prints
whole. `tctrack` and `tctrackpp` ship without weights: give a published file with `--weights`.
"""

FAILURES = """Validation tracks that go badly, on the frame on which each is lost: truth green, the tracker's box
yellow. Thermal pictures are HIT-UAV's (CC BY 4.0), about a second apart; those named `V_` and `IR_` are from the drone
detection data set. Drawn by `tools/failures.py`."""


PEERS = ROOT / "docs" / "bench" / "peers.csv"
BESIDE = (
    "Those of UAV benchmarks beside others: float32 PyTorch and a 0-based start here, the peers on a CPU from the "
    "published, 1-based box unless said otherwise ([the figures](bench/peers.csv)). Five sequences are no benchmark."
)
HARDER = ROOT / "docs" / "bench" / "robustness.csv"
ON_HARDER = (
    "Success and precision at 20 px on held-out video of 30 frames and more, made harder in one way at a time: int8 on "
    "a CPU, each clip's first track from its first box on, {runs} runs "
    "(`tools/robustness.py`; what each does: [evaluation](evaluation.md#harder-video)). opencv-nano is NanoTrack V2. "
    "A lost target's frames count with the last box that was believed. 20 px stay 20 px where pictures shrink."
)
_BEGINNING = "what these began with"


def table(header: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def scores(title: str, part: dict[str, Any]) -> str:
    """One set of scores with its protocol."""
    rows = [[name, s["tracks"], f"{s['success']:.3f}", f"{s['precision']:.3f}"] for name, s in part["scores"].items()]
    return f"### {title}\n\n{part['protocol']}.\n\n" + table(["", "tracks", "success", "precision at 20 px"], rows)


def history(training: dict[str, Any]) -> list[str]:
    """What was done, one thing after the other; runs that were averaged stand beside each other."""
    begun = training.get("begins_with", [])
    runs = begun if isinstance(begun, list) else [begun]
    said = history(runs[0])[:-1] if len(runs) > 1 else [line for run in runs for line in history(run)]
    if len(runs) > 1:
        said.append("the average of " + ", of ".join(history(r)[-1] if "iterations" in r else _BEGINNING for r in runs))
    if "iterations" in training:
        recipe = training.get("recipe")
        seed = recipe["seed"] if isinstance(recipe, dict) else training.get("seed")
        where = f" on {training['device']}" if "device" in training else ""
        said.append(
            f"{training['iterations']:,} iterations, {training['search_frames']:,} search frames, "
            f"{training['seconds'] / 60:.0f} minutes{where}{'' if seed is None else f', seed {seed}'}"
        )
    if "narrowing" in training:
        steps, error = training["narrowing"]["iterations"], training.get("narrowing_error")
        said.append(f"early blocks made narrower in {steps:,} iterations (error {error} of the variance)")
    return said


def beside_peers(ours: dict[str, Any]) -> str:
    """Success on the sequences of UAV benchmarks next to that of other trackers."""
    with PEERS.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    values = [[ours[name]["success"], *map(float, given)] for name, *given in rows]
    lines = [[row[0], *(f"{v:.3f}" for v in line)] for row, line in zip(rows, values, strict=True)]
    means = ["mean", *(f"{sum(column) / len(column):.3f}" for column in zip(*values, strict=True))]
    return f"{BESIDE}\n\n" + table(["success", "compact", *header[1:]], [*lines, means])


def on_harder_video(sha256: str) -> str | None:
    """What is left when video gets harder, next to other trackers; None where other weights were measured."""
    with HARDER.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not any(row["weights"] and sha256.startswith(row["weights"]) for row in rows):
        return None
    models = list(dict.fromkeys(row["model"] for row in rows))
    kinds = list(dict.fromkeys(row["disturbance"] for row in rows))
    cells = {(r["disturbance"], r["model"]): f"{float(r['success']):.3f} / {float(r['precision']):.3f}" for r in rows}
    lines = [[kind, *(cells[kind, model] for model in models)] for kind in kinds]
    said = ON_HARDER.format(runs=rows[0]["runs"])
    return f"### Harder video\n\n{said}\n\n" + table(["", *models], lines)


def page_of(card: dict[str, Any]) -> str:
    """One model."""
    facts = [
        ["parameters", f"{card['parameters']:,}"],
        ["file", f"{card['file_bytes'] / 1e6:.1f} MB, sha256 `{card['sha256']}`"],
        ["network", ", ".join(f"{k} {v}" for k, v in card["network"].items())],
        ["inference", ", ".join(f"{k} {v}" for k, v in card["inference"].items())],
        ["trained on", "; ".join(f"{name}: {terms}" for name, terms in card["data"].items())],
        ["training", "; ".join(history(card["training"]))],
        ["licence", f"{card['license']}. {card['terms']}"],
        ["not for", card["not_for"]],
    ]
    parts = [f"## {card['model']}", table(["", ""], facts)]
    parts.append(scores("Validation tracks, never trained on", card["validation"]))
    if "comparison" in card:
        parts.append(scores("Single sequences of benchmarks, never trained on", card["comparison"]))
        parts.append(beside_peers(card["comparison"]["scores"]))
    harder = on_harder_video(card["sha256"])
    if harder is not None:
        parts.append(harder)
    loss = card.get("loss_and_return")
    if loss:
        said = (
            "On the validation clips of 30 frames and more; the confidence was fitted on clips of the training. Where "
            "the data set calls a half-hidden target absent, so does this table. A box that is held while lost is "
            "said may still touch the target; then lost is said wrongly."
        )
        names = list(dict.fromkeys(name for score in loss.values() for name in score))
        rows = [[name.replace("_", " "), *(score.get(name, "") for score in loss.values())] for name in names]
        parts.append(f"### Loss and return\n\n{said}\n\n" + table(["", *loss], rows))
    picture = ROOT / "docs" / "images" / f"failures_{card['model']}_{card['sha256'][:8]}.jpg"
    if picture.exists():  # of these very weights
        parts.append(f"### Where it fails\n\n{FAILURES}\n\n![failures](images/{picture.name})")
    return "\n\n".join(parts)


def main() -> None:
    """Write the page."""
    cards = [json.loads(path.read_text()) for path in sorted((ROOT / "trackers" / "weights").glob("*.json"))]
    (ROOT / "docs" / "models.md").write_text("\n".join([HEAD, *(page_of(card) + "\n" for card in cards)]))


if __name__ == "__main__":
    main()
