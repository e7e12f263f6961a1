#!/usr/bin/env python3
"""Train and test video networks side by side, and write the table.

    python tools/compare_video.py configs/video_motion_rows.yaml --out out/motion
    python tools/compare_video.py configs/video_motion_rows.yaml --out out/motion --table docs/video/motion.md

Runs whose result files are there already are not repeated. Checkpoints go to OUT/runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from onlinetada.errors import InputError
from onlinetada.trackers.recognition.comparison import run_comparison, write_page
from onlinetada.trackers.threads import use_threads


def main() -> int:
    """Run, or write the table of what has been run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of result files")
    parser.add_argument("--seeds", help="only these, such as 0,2")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--table", type=Path, help="write the table of the results there, and run nothing")
    args = parser.parse_args()
    try:
        if args.table is not None:
            write_page(args.config, args.out, args.table)
            return 0
        use_threads()
        seeds = [int(s) for s in args.seeds.split(",")] if args.seeds else None
        run_comparison(args.config, args.out, seeds=seeds, device=args.device)
    except InputError as error:
        print(f"compare_video: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
