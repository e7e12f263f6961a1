"""``onlinetada export``: one step of a model as a file, state in and state out."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from onlinetada._version import __version__
from onlinetada.errors import InputError
from onlinetada.export import need_packages
from onlinetada.trackers.assemble import load_network, prepared, weights_path
from onlinetada.trackers.models.network import TrackNetwork
from onlinetada.trackers.models.registry import find_model, read_card
from onlinetada.trackers.runtime.export import (
    deviation,
    file_sha256,
    note,
    put_beside,
    write_learning,
    write_onnx,
    write_program,
)
from onlinetada.trackers.runtime.session import OnnxNetwork

_SUFFIXES = {"onnx": ".onnx", "pt2": ".pt2"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", help="see `onlinetada models`")
    parser.add_argument("--format", choices=tuple(_SUFFIXES), required=True, help="ONNX, or torch.export's .pt2")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the weights are put beside it")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="checkpoint in place of the one that ships")
    parser.add_argument("--quirks", choices=("none", "published", "trained"), default="none", help="for TCTrack files")
    parser.add_argument("--dtype", choices=("float32", "int8"), default="float32", help="int8: ONNX only")
    parser.add_argument(
        "--calibration",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="for int8: folder of NAME.mp4 with NAME.txt, or SEQUENCE/groundtruth.txt; not what you will measure on",
    )
    parser.add_argument("--clips", type=int, default=60, metavar="N", help="clips of each folder used (default: 60)")


def run(args: argparse.Namespace) -> int:
    """Write the file, then read it again and compare it with the network."""
    _check(args)
    spec = find_model(args.model)
    weights = weights_path(spec, args.weights)
    network = load_network(spec, weights, read_card(weights), quirks=args.quirks)
    ready = prepared(network, torch.device("cpu"), exact=args.quirks == "published")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    beside = put_beside(weights, args.out)
    facts: dict[str, Any] = {
        "model": spec.name,
        "quirks": args.quirks,
        "dtype": args.dtype,
        "search_size": ready.geometry.search_size,
        "weights_sha256": file_sha256(beside),
        "version": __version__,
    }
    if args.format == "pt2":
        write_program(ready, args.out, facts=facts)
    elif args.dtype == "int8":
        _write_int8(ready, args, facts)
    else:
        write_onnx(ready, args.out, facts=facts)
    if args.format == "onnx":
        write_learning(ready, args.out, facts=facts)
        scores, boxes = deviation(ready, OnnxNetwork(ready, args.out))
        print(f"against torch on noise: scores within {scores:.2g}, the best boxes within {boxes:.2g} px")
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e6:.1f} MB); {beside.name} beside it begins streams")
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.out.suffix != _SUFFIXES[args.format]:
        raise InputError(f"--out {args.out}: give a name that ends in {_SUFFIXES[args.format]}")
    if args.model.startswith("opencv-"):
        raise InputError(f"{args.model} is OpenCV's own: there is no network to export")
    if args.dtype == "int8" and args.format != "onnx":
        raise InputError("--dtype int8 goes with --format onnx")
    if (args.dtype == "int8") != bool(args.calibration):
        raise InputError("--dtype int8 and --calibration DIR go together: ranges are measured on labelled video")
    if args.clips < 1:
        raise InputError(f"--clips is {args.clips}: give 1 or more")
    if args.format == "onnx":
        need_packages("onnx", "onnxscript")


def _write_int8(network: TrackNetwork, args: argparse.Namespace, facts: dict[str, Any]) -> None:
    import onnx

    from onlinetada.trackers.runtime.material import feeds_of, labelled_clips
    from onlinetada.trackers.runtime.quantise import quantise

    with tempfile.TemporaryDirectory(prefix="onlinetada-") as folder:
        plain = OnnxNetwork(network, write_onnx(network, Path(folder) / "float32.onnx", facts=facts))
        clips = [clip for where in args.calibration for clip in labelled_clips(where)]
        limit = args.clips * len(args.calibration)
        feeds = list(feeds_of(network, clips, plain.reads, limit=limit))
        changed = quantise(plain.path, args.out, feeds)
    model = onnx.load(str(args.out))
    note(model, {**facts, "calibration_regions": len(feeds)})
    onnx.save(model, str(args.out))
    print(f"{changed} convolutions in int8, calibrated on {len(feeds)} search regions", file=sys.stderr)
