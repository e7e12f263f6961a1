#!/usr/bin/env python3
"""Put trained weights and their card where they ship, and write the models' page anew.

python tools/ship_weights.py runs/compact/compact.safetensors
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from onlinetada.trackers.models.registry import WEIGHTS_FOLDER

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Check the hash, copy, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help=".safetensors, with its card beside it")
    parser.add_argument("--into", type=Path, default=WEIGHTS_FOLDER)
    args = parser.parse_args()
    card_path = args.weights.with_suffix(".json")
    card = json.loads(card_path.read_text(encoding="utf-8"))
    if hashlib.sha256(args.weights.read_bytes()).hexdigest() != card["sha256"]:
        sys.exit(f"{args.weights} is not the file that {card_path} describes")
    args.into.mkdir(parents=True, exist_ok=True)
    for path in (args.weights, card_path):
        shutil.copy(path, args.into / path.name)
    print(f"shipped: {args.into / args.weights.name}, sha256 {card['sha256'][:16]}...")
    if args.into == WEIGHTS_FOLDER:
        subprocess.run([sys.executable, str(ROOT / "tools" / "model_page.py")], check=True)


if __name__ == "__main__":
    main()
