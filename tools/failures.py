#!/usr/bin/env python3
"""Pictures of frames on which a tracker loses its target, from the validation clips: for docs/models.md.

python tools/failures.py --root DATA --sources HIT-UAV drone-detection
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from onlinetada.trackers.assemble import build_engine, weights_path
from onlinetada.trackers.config import load_config
from onlinetada.trackers.models.registry import find_model
from onlinetada.trackers.training.failures import failure_sheet, find_failures
from onlinetada.trackers.training.pack import Material, left_out
from onlinetada.trackers.training.session import spread
from onlinetada.trackers.training.sheets import write_picture
from onlinetada.trackers.training.validation import held_out_clips, run_clips

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Track the clips, find the worst, draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of the raw data")
    parser.add_argument("--out", type=Path, help="picture to write; by default where the models' page looks for it")
    parser.add_argument("--material", type=Path, default=ROOT / "configs" / "material.yaml")
    parser.add_argument("--sources", nargs="*", help="only these data sets, for example those that may be shown")
    parser.add_argument("--model", default="default")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--clips", type=int, default=1000, help="at most so many of each data set")
    parser.add_argument("--most", type=int, default=12, help="pictures")
    args = parser.parse_args()
    material = load_config(args.material, Material)
    clips = []
    for source in material.sources:
        if not args.sources or source.name in args.sources:
            clips += spread(held_out_clips([source], args.root, left_out(material, args.material)), args.clips)
    spec = find_model(args.model)
    digest = hashlib.sha256(weights_path(spec, args.weights).read_bytes()).hexdigest()
    out = args.out or ROOT / "docs" / "images" / f"failures_{spec.name}_{digest[:8]}.jpg"
    engine = build_engine(args.model, weights=args.weights, device="cpu")
    runs = run_clips(engine.network, engine.config, clips)
    failures = find_failures(runs, args.most)
    print(f"{len(runs)} tracks")
    for failure in failures:
        print(f"{failure.source}  {failure.name}  frame +{failure.index}  mean overlap {failure.mean_overlap:.2f}")
    if failures:
        write_picture(failure_sheet(failures, runs, clips), out)
        print(out)


if __name__ == "__main__":
    main()
