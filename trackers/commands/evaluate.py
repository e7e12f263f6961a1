"""``onlinetada eval``: run a tracker over a benchmark; stop it at any time and go on later."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.benchmarks import Benchmark, find_benchmark
from onlinetada.trackers.evaluation.building import TrackerChoice
from onlinetada.trackers.evaluation.closing import close_run
from onlinetada.trackers.evaluation.latency import Clock, Realtime
from onlinetada.trackers.evaluation.modes import Mode, OnePass
from onlinetada.trackers.evaluation.protocols import PROTOCOLS, find_protocol
from onlinetada.trackers.evaluation.reinit import Supervised
from onlinetada.trackers.evaluation.running import Build, Job, note_settings, run_all, shard_of
from onlinetada.trackers.evaluation.sequences import load_sequences, split_names
from onlinetada.trackers.options import DTYPES, RUNTIMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("benchmark", metavar="BENCHMARK", help="UAV123, DTB70, ... or folder")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="its images and ground truth")
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="gets BENCHMARK/TRACKER/SEQ.txt")
    parser.add_argument("--sequences", default="", metavar="A,B", help="only these (default: all)")
    parser.add_argument("--protocol", default="pysot", metavar="P", help=" | ".join((*PROTOCOLS, "vot")))
    parser.add_argument("--overwrite", action="store_true", help="begin anew instead of going on")
    tracker = parser.add_argument_group("tracker")
    tracker.add_argument("--model", default="default", metavar="NAME", help="a model, or opencv-mil and the like")
    tracker.add_argument("--name", metavar="TRACKER", help="name of the results (default: the model's)")
    tracker.add_argument("--weights", metavar="FILE", help="checkpoint (default: the one that ships)")
    tracker.add_argument("--device", metavar="D", help="cpu or cuda (default: cuda where it is)")
    tracker.add_argument("--runtime", default="auto", choices=RUNTIMES, help="of the network's steps")
    tracker.add_argument("--dtype", default="float32", choices=DTYPES, help="of the backbone, in torch")
    tracker.add_argument("--quirks", default="none", choices=("none", "published", "trained"))
    for option in ("--penalty-k", "--window-influence", "--size-lr"):
        tracker.add_argument(option, type=float, metavar="X", help="inference option (default: the model's)")
    share = parser.add_argument_group("sharing the work (torchrun is understood, too)")
    share.add_argument("--workers", type=int, default=1, metavar="N", help="processes on this machine")
    share.add_argument("--batch", type=int, default=1, metavar="N", help="sequences advancing together")
    share.add_argument("--shard", metavar="I/N", help="only every N-th sequence, beginning with the I-th")
    live = parser.add_argument_group("latency-aware run")
    live.add_argument("--realtime", action="store_true", help="frames do not wait for the tracker")
    live.add_argument("--fps", type=float, metavar="X", help="of the frames (default: the benchmark's)")
    live.add_argument(
        "--replay-times",
        type=Path,
        metavar="DIR",
        help="results whose times/ replace the clock",
    )
    live.add_argument("--time-scale", type=float, default=1.0, metavar="X", help="multiply the times of --replay-times")


def run(args: argparse.Namespace, build: Build | None = None) -> int:
    """Run, then score. Returns the exit status: 1 if sequences have no result in the end.

    Args:
        build: makes the tracker in place of the options ``--model`` and so on.
    """
    benchmark = find_benchmark(args.benchmark)
    mode = _mode(args)
    choice = TrackerChoice(
        args.model,
        args.weights,
        args.device,
        args.quirks,
        args.penalty_k,
        args.window_influence,
        args.size_lr,
        args.runtime,
        args.dtype,
    )
    if args.workers < 1 or args.batch < 1:
        raise InputError("--workers and --batch must be 1 or more")
    if args.batch > 1 and not isinstance(mode, OnePass):
        raise InputError("--batch goes with one-pass runs only")
    only = split_names(args.sequences)
    sequences = load_sequences(benchmark, args.root, only=only)
    mine = sequences if args.shard is None else shard_of(sequences, args.shard)
    if build is None:
        choice.check()
    folder = _folder(args, benchmark)
    settings = choice.settings() if build is None else {}
    note_settings(folder, {**settings, "benchmark": benchmark.name, "index_base": benchmark.index_base})
    if isinstance(mode, Realtime):
        note_settings(folder / "realtime", mode.settings())
    _say_count(benchmark, len(sequences), len(mine), only=bool(only))
    unread = run_all(Job(build or choice, mine, folder, mode, args.batch), workers=args.workers)
    if unread:
        print(f"onlinetada eval: no result for {', '.join(unread)}", file=sys.stderr)
    if int(os.environ.get("RANK", 0)) == 0:
        close_run(benchmark, args.protocol, mode, sequences, folder)
    return 1 if unread else 0


def _mode(args: argparse.Namespace) -> Mode:
    if args.protocol == "vot":
        if args.realtime:
            raise InputError("--realtime and --protocol vot do not go together")
        return Supervised()
    find_protocol(args.protocol)
    if not args.realtime:
        if args.replay_times is not None or args.fps is not None:
            raise InputError("--replay-times and --fps are for --realtime")
        return OnePass()
    if args.fps is not None and args.fps <= 0:
        raise InputError(f"--fps {args.fps}: give a number above 0")
    if args.time_scale <= 0:
        raise InputError(f"--time-scale {args.time_scale}: give a number above 0")
    if args.replay_times is not None and not (args.replay_times / "times").is_dir():
        raise InputError(f"{args.replay_times}: no folder times/ in it; give the folder of a tracker's results")
    return Realtime(fps=args.fps, clock=Clock(args.replay_times, args.time_scale))


def _folder(args: argparse.Namespace, benchmark: Benchmark) -> Path:
    name = args.name or args.model
    if not name or name in (".", "..") or "/" in name:
        raise InputError(f"--name {name!r}: give a name without slashes")
    folder: Path = args.results / benchmark.name / name
    if args.overwrite and folder.exists():
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            raise InputError("--overwrite cannot be shared by several processes; remove the folder first")
        if not (folder / "run.json").is_file():
            raise InputError(f"{folder} was not made by this command (no run.json in it); remove it yourself")
        shutil.rmtree(folder)
    return folder


def _say_count(benchmark: Benchmark, found: int, mine: int, *, only: bool) -> None:
    some = f" (the benchmark has {benchmark.sequences})" if not only and found < benchmark.sequences else ""
    part = f", {mine} of them here" if mine != found else ""
    print(f"{benchmark.name}: {found} sequences{some}{part}", file=sys.stderr)
