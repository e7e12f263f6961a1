#!/usr/bin/env python3
"""Track a target and put some of the frames, boxes drawn, side by side into one picture.

    python tools/picture.py VIDEO_OR_FOLDER --init 300,200,60,40 --frames 0,60,120,180 --out picture.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from onlinetada.trackers import build_tracker
from onlinetada.trackers.io.draw import draw_targets
from onlinetada.trackers.io.sources import open_source


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="+", help="one or more; each is a row")
    parser.add_argument("--init", action="append", required=True, metavar="X,Y,W,H", help="once a source")
    parser.add_argument("--frames", default="0,40,80,120", help="which frames, counted from 0")
    parser.add_argument("--width", type=int, default=320, help="of each frame in the picture, in pixels")
    parser.add_argument("--model", default="default")
    parser.add_argument("--weights")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    wanted = [int(n) for n in args.frames.split(",")]
    rows = [row(source, box, wanted, args) for source, box in zip(args.source, args.init, strict=True)]
    height = min(r.shape[0] for r in rows)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(args.out), np.vstack([r[:height] for r in rows]), [cv2.IMWRITE_JPEG_QUALITY, 85])


def row(source: str, init: str, wanted: list[int], args: argparse.Namespace) -> np.ndarray:
    """The wanted frames of one source, side by side."""
    tracker = build_tracker(args.model, weights=args.weights)
    shown = []
    with open_source(source) as frames:
        for frame in frames:
            box = tuple(float(v) for v in init.split(","))
            begin = frame.index == 0
            result = tracker.init(frame.image, box) if begin else tracker.update(frame.image)
            if frame.index in wanted:
                drawn = draw_targets(frame.image, {0: result})
                height = round(args.width * drawn.shape[0] / drawn.shape[1])
                shown.append(cv2.resize(drawn, (args.width, height), interpolation=cv2.INTER_AREA))
            if frame.index >= max(wanted):
                break
    return np.hstack(shown)


if __name__ == "__main__":
    main()
