"""``onlinetada recognize``: the running prediction of an online video network."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onlinetada.trackers.recognition.live import Prediction
    from onlinetada.trackers.recognition.modelfile import ModelCard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="video file, folder of images, glob, camera number, /dev/videoN, rtsp:// http:// udp:// URL, gst:PIPELINE",
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="what `onlinetada train-video` wrote")
    parser.add_argument("--every", type=int, metavar="N", help="feed every Nth frame (default: as in training)")
    parser.add_argument("--top", type=int, default=3, metavar="N", help="classes to print (default 3)")
    parser.add_argument("--changes", action="store_true", help="print only where the best class changes")
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N predictions")
    parser.add_argument("--fps", type=float, help="frames a second, for images or a file that is wrong about it")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: the cores that are free)")
    parser.add_argument("--quiet", action="store_true", help="no summary")


def run(args: argparse.Namespace) -> int:
    """Print a line a prediction, to the end of the source, the last frame asked for, or a signal."""
    from onlinetada.trackers.commands.train import check_device
    from onlinetada.trackers.io.sources import open_source
    from onlinetada.trackers.io.stopping import StopSignals
    from onlinetada.trackers.recognition.live import recognise
    from onlinetada.trackers.recognition.modelfile import load_model
    from onlinetada.trackers.threads import use_threads

    _check(args)
    check_device(args.device)
    use_threads(args.threads)
    network, card = load_model(args.model)
    latencies: list[float] = []
    with StopSignals() as stop, open_source(args.source, fps=args.fps) as source:
        frames = stop.until_stopped(iter(source))
        found = recognise(network, card, frames, every=args.every, device=args.device)
        for prediction in _told(islice(found, args.max_frames), args.changes):
            latencies.append(prediction.latency_ms)
            print(
                _as_json(prediction, card, args.top) if args.json else _as_line(prediction, card, args.top), flush=True
            )
    if latencies and not args.quiet:
        median = sorted(latencies)[len(latencies) // 2]
        print(f"{len(latencies)} predictions printed, latency {median:.1f} ms median", file=sys.stderr)
    return 128 + stop.number if stop.number is not None else 0


def _check(args: argparse.Namespace) -> None:
    from onlinetada.errors import InputError

    for name in ("every", "top", "max_frames", "threads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} is {value}: give 1 or more")


def _told(predictions: Iterator[Prediction], changes_alone: bool) -> Iterator[Prediction]:
    before: object = None
    for prediction in predictions:
        now = {name: top[0][0] for name, top in prediction.best(1).items()}
        if not changes_alone or now != before:
            yield prediction
        before = now


def _as_line(prediction: Prediction, card: ModelCard, top: int) -> str:
    said = []
    for head, classes in prediction.best(top).items():
        prefix = "" if head == "label" else f"{head}: "
        said.append(prefix + "  ".join(f"{_name(card, head, c)} {p:.2f}" for c, p in classes))
    return f"{prediction.index:6d}  {prediction.timestamp_s:9.2f} s  " + "  |  ".join(said)


def _as_json(prediction: Prediction, card: ModelCard, top: int) -> str:
    best = {
        head: [{"class": _name(card, head, c), "probability": round(p, 4)} for c, p in classes]
        for head, classes in prediction.best(top).items()
    }
    line = {"frame": prediction.index, "timestamp_s": round(prediction.timestamp_s, 4), **best}
    return json.dumps({**line, "latency_ms": round(prediction.latency_ms, 2)})


def _name(card: ModelCard, head: str, number: int) -> str:
    return card.names[number] if head == "label" and number < len(card.names) else str(number)
