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
    parser.add_argument("--around", type=int, default=0, metavar="PX", help="only so many pixels around the target")
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
                seen = window(drawn, result.box_xywh, args.around) if args.around else drawn
                height = round(args.width * seen.shape[0] / seen.shape[1])
                shown.append(cv2.resize(seen, (args.width, height), interpolation=cv2.INTER_AREA))
            if frame.index >= max(wanted):
                break
    return np.hstack(shown)


def window(image: np.ndarray, box: tuple[float, float, float, float], side: int) -> np.ndarray:
    """side x side * 3 / 4 pixels of the image, with the box as near to the middle as the border lets it."""
    width, height = min(side, image.shape[1]), min(side * 3 // 4, image.shape[0])
    x = int(np.clip(box[0] + box[2] / 2 - width / 2, 0, image.shape[1] - width))
    y = int(np.clip(box[1] + box[3] / 2 - height / 2, 0, image.shape[0] - height))
    return image[y : y + height, x : x + width]


if __name__ == "__main__":
    main()
