"""``onlinetada bench``: how fast trackers run on this machine, stage by stage, next to their peers."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from onlinetada.errors import InputError
from onlinetada.trackers.assemble import build_engine, torch_device
from onlinetada.trackers.bench.footage import Footage, make_footage, parse_size
from onlinetada.trackers.bench.published import published_form
from onlinetada.trackers.bench.subjects import available, opencv_form, stage_forms, update_form
from onlinetada.trackers.bench.table import Row, as_text, machine_facts, row_of, write_results
from onlinetada.trackers.bench.timing import Form, Latency, in_turns, summary, timed
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.models.registry import find_model
from onlinetada.trackers.opencv import OPENCV_MODELS
from onlinetada.trackers.options import DTYPES, RUNTIMES
from onlinetada.trackers.runtime.session import OnnxNetwork
from onlinetada.trackers.threads import use_threads

_GROWTH_BATCHES = (1, 2, 4, 8, 16)
_GROWTH_FRAMES = ("640x360", "1280x720", "1920x1080", "3840x2160")
_BUSY_LOAD = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--model", default="default", metavar="NAME", help="see `onlinetada models` (default: our best)"
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="checkpoint, or a step that was exported")
    parser.add_argument("--random-weights", action="store_true", help="time a model that ships without weights")
    parser.add_argument("--device", metavar="D", help="cpu or cuda (default: the GPU where there is one)")
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto", help="of the network's steps")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: the cores that are free)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", metavar="T", help=" | ".join(DTYPES))
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="targets in the stream (default: 1)")
    parser.add_argument("--frame", default="1280x720", metavar="WxH", help="size of the pictures (default: 1280x720)")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="measuring time of each row")
    parser.add_argument("--growth", action="store_true", help="also over batches, frame sizes and a long stream")
    parser.add_argument("--stream", type=int, default=1000, metavar="N", help="frames of that stream (default: 1000)")
    parser.add_argument(
        "--peers", default="", metavar="A,B", help=f"in the same run: {', '.join(OPENCV_MODELS)}; NAME=FILES for models"
    )
    parser.add_argument("--published", type=Path, metavar="DIR", help="copy of TCTrack's code: its step, too")
    parser.add_argument("--out", type=Path, metavar="DIR", help="gets bench.csv, bench.json, bench.png")


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    _check(args)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    threads = use_threads(args.threads)
    device = torch_device(args.device)
    if load > _BUSY_LOAD:
        _say(f"the machine is busy (load {load:.1f}): times will be too long")
    engine = _engine(args, device)
    bench = _Bench(args, engine, device, threads)
    rows = bench.stages() + (bench.growth() if args.growth else [])
    print(as_text(rows))
    if args.out is not None:
        written = write_results(rows, args.out, machine_facts(device, load))
        print(f"wrote {', '.join(map(str, written))}")
    return 0


class _Bench:
    """The measurements of one run."""

    def __init__(self, args: argparse.Namespace, engine: Engine, device: torch.device, threads: int) -> None:
        self._args, self._engine, self._device = args, engine, device
        runtime, dtype = "torch", args.dtype
        if isinstance(engine.network, OnnxNetwork):
            runtime, dtype = "onnxruntime", str(engine.network.facts["dtype"])
        self._ours: dict[str, Any] = {
            "subject": find_model(args.model).name,
            "device": device.type,
            "runtime": runtime,
            "dtype": dtype,
            "threads": threads,
        }

    def stages(self) -> list[Row]:
        """Whole updates, their stages, and the peers on the same frames."""
        args, batch = self._args, self._args.batch
        footage = make_footage(args.frame)
        forms = {"update": update_form(self._engine, footage, batch)}
        rows = self._rows(self._turns(forms | self._peer_forms(footage)), batch, footage)
        stages = self._turns(stage_forms(self._engine, footage, batch))
        if args.published is not None:
            stages |= self._published(args)
        return rows + self._rows(stages, batch, footage)

    def growth(self) -> list[Row]:
        """Time against batch, frame size and length of the stream."""
        rows = []
        for batch in _GROWTH_BATCHES:
            footage = make_footage(self._args.frame)
            rows += self._rows(self._turns({"update": update_form(self._engine, footage, batch)}), batch, footage)
        for size in _GROWTH_FRAMES:
            footage = make_footage(size, frames=8)
            rows += self._rows(self._turns({"update": update_form(self._engine, footage, 1)}), 1, footage)
        footage = make_footage(self._args.frame)
        update = update_form(self._engine, footage, 1)
        times = [timed(update, self._device) for _ in range(self._args.stream)]
        tenth = max(1, len(times) // 10)
        ends = {f"frames 1-{tenth}": summary(times[:tenth]), f"the last {tenth}": summary(times[-tenth:])}
        return rows + self._rows(ends, 1, footage)

    def _turns(self, forms: Any) -> dict[str, Latency]:
        return in_turns(forms, device=self._device, seconds=self._args.seconds)

    def _peer_forms(self, footage: Footage) -> Any:
        makers: dict[str, Callable[[], Form]] = {}
        for text in filter(None, self._args.peers.split(",")):
            name, _, weights = text.partition("=")
            makers[name] = partial(opencv_form, name, footage, weights=weights or None, batch=self._args.batch)
        return available(makers, _say)

    def _published(self, args: argparse.Namespace) -> dict[str, Latency]:
        name = self._ours["subject"]
        form = available({"published": lambda: published_form(args.published, name, self._device)}, _say)
        return self._turns(form)

    def _rows(self, measured: dict[str, Latency], batch: int, footage: Footage) -> list[Row]:
        rows = []
        for name, latency in measured.items():
            condition = {**self._ours, "stage": name}
            if name.startswith("opencv-"):
                condition |= {"subject": name, "stage": "update", "runtime": "opencv", "dtype": "float32"}
            if name == "published":
                condition |= {"subject": "published code", "stage": "network", "runtime": "torch", "dtype": "float32"}
            own_batch = 1 if name == "published" else batch
            rows.append(row_of(latency, batch=own_batch, frame=footage.size, **condition))
        return rows


def _check(args: argparse.Namespace) -> None:
    parse_size(args.frame)
    if args.model.startswith("opencv-"):
        raise InputError(f"{args.model} is a peer: give --peers {args.model}")
    for option in ("batch", "threads", "stream"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise InputError(f"--{option} is {value}: give 1 or more")
    if not args.seconds > 0:
        raise InputError(f"--seconds is {args.seconds}: give a number above 0")


def _engine(args: argparse.Namespace, device: torch.device) -> Engine:
    if args.random_weights:
        from onlinetada.trackers.bench.chance import engine_by_chance

        return engine_by_chance(args.model, device, dtype=args.dtype)
    return build_engine(args.model, weights=args.weights, device=device, runtime=args.runtime, dtype=args.dtype)


def _say(line: str) -> None:
    print(f"onlinetada bench: {line}", file=sys.stderr)
