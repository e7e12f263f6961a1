"""``onlinetada models``: what can be given to --model, and which weights ship."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from onlinetada.trackers.models.registry import ModelSpec, find_model, list_models
from onlinetada.trackers.opencv import OPENCV_MODELS, opencv_problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="the same as JSON, with the whole model cards")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    if args.json:
        print(json.dumps(_as_values(), indent=2))
    else:
        print("\n".join(model_table()))
    return 0


def model_table() -> list[str]:
    """The models as lines of a table; the default is marked."""
    default = find_model("default").name
    rows = [("model", "weights", "terms", "what it is")]
    for spec in list_models():
        mark = " (default)" if spec.name == default else ""
        rows.append((spec.name + mark, _weights(spec), str(spec.card.get("license", "-")), spec.summary))
    for name in OPENCV_MODELS:
        problem = opencv_problem(name)
        # "opencv-kcf: this OpenCV ..." - the name stands in the row already
        says = "" if problem is None else problem.removeprefix(name).lstrip(": ")
        rows.append((name, "-", "-", says or "ready"))
    return _columns(rows)


def _weights(spec: ModelSpec) -> str:
    path = spec.default_weights
    if not path.is_file():
        return "none: --weights FILE"
    size, digest = f"{path.stat().st_size / 1e6:.1f} MB", hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != spec.card.get("sha256"):
        return f"{size}, not the file of its card"
    return f"{size}, sha256 {digest[:12]}"


def _as_values() -> list[dict[str, Any]]:
    ours = [
        {
            "name": spec.name,
            "default": spec.name == find_model("default").name,
            "summary": spec.summary,
            "weights": str(spec.default_weights) if spec.default_weights.is_file() else None,
            "card": spec.card,
        }
        for spec in list_models()
    ]
    return ours + [{"name": name, "problem": opencv_problem(name)} for name in OPENCV_MODELS]


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
