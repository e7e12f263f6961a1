#!/usr/bin/env python3
"""Cut the tracks of drone_detection out of its videos, for configs/video_drones.yaml.

python tools/cut_drone_tracks.py DATA/train/drone_detection --out out/drones
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from onlinetada.errors import InputError
from onlinetada.trackers.config import load_config
from onlinetada.trackers.recognition.drones import cut_tracks

_SPLIT = Path(__file__).parents[1] / "configs" / "validation.yaml"


@dataclass(frozen=True)
class Split:
    """Clips that no training sees."""

    clips: tuple[str, ...]


def main() -> int:
    """Cut, with the clips of configs/validation.yaml as test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/drones"))
    parser.add_argument("--size", type=int, default=64)
    args = parser.parse_args()
    try:
        counts = cut_tracks(args.root, args.out, load_config(_SPLIT, Split).clips, size=args.size)
    except InputError as error:
        print(f"cut_drone_tracks: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: {counts['train']} clips to train on, {counts['test']} to test on")
    return 0


if __name__ == "__main__":
    sys.exit(main())
