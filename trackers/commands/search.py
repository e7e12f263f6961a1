"""``onlinetada search``: find inference options that do best on given sequences, one set for all benchmarks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.benchmarks import find_benchmark
from onlinetada.trackers.evaluation.boxfiles import write_atomic
from onlinetada.trackers.evaluation.building import TrackerChoice
from onlinetada.trackers.evaluation.protocols import PROTOCOLS, find_protocol
from onlinetada.trackers.evaluation.sequences import Sequence, load_sequences, split_names
from onlinetada.trackers.evaluation.tuning import BuildWith, Choose, Outcome, Search, run_search


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("benchmark", metavar="BENCHMARK", help="UAV123, DTB70, ... or folder")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="its images and ground truth")
    parser.add_argument(
        "--also", action="append", default=[], metavar="BENCHMARK=DIR", help="a further benchmark that weighs the same"
    )
    parser.add_argument("--sequences", default="", metavar="A,B", help="only these of BENCHMARK (default: all)")
    parser.add_argument("--protocol", default="pysot", metavar="P", help=" | ".join(PROTOCOLS))
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="journal.log of all trials, best.json")
    parser.add_argument("--trials", type=int, default=100, metavar="N", help="in all, earlier sittings included")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes; other machines may join in")
    parser.add_argument("--seed", type=int, default=0)
    tracker = parser.add_argument_group("tracker")
    tracker.add_argument("--model", default="default", metavar="NAME")
    tracker.add_argument("--weights", metavar="FILE", help="checkpoint (default: the one that ships)")
    tracker.add_argument("--device", metavar="D", help="cpu or cuda (default: cuda where it is)")
    tracker.add_argument("--quirks", default="none", choices=("none", "published", "trained"))
    ranges = parser.add_argument_group("ranges")
    ranges.add_argument("--penalty-k", default="0,0.3", metavar="LOW,HIGH")
    ranges.add_argument("--window-influence", default="0,0.7", metavar="LOW,HIGH")
    ranges.add_argument("--size-lr", default="0.05,0.9", metavar="LOW,HIGH")


def run(args: argparse.Namespace, build: BuildWith | None = None) -> int:
    """Search and write what was best. Returns the exit status."""
    if args.trials < 1 or args.workers < 1:
        raise InputError("--trials and --workers must be 1 or more")
    choice = TrackerChoice(args.model, args.weights, args.device, args.quirks)
    ranges = {name: _range(name, getattr(args, name)) for name in ("penalty_k", "window_influence", "size_lr")}
    benchmarks = _benchmarks(args)
    protocol = find_protocol(args.protocol)
    if build is None:
        if args.model.startswith("opencv-"):
            raise InputError(f"{args.model} has no inference options to search")
        choice.check()
    search = Search(
        build or Choose(choice), benchmarks, protocol, ranges, args.out / "journal.log", args.trials, args.seed
    )
    outcome = run_search(search, workers=args.workers)
    write_atomic(args.out / "best.json", json.dumps(_as_json(outcome, search), indent=1) + "\n")
    _say(outcome, args.out)
    return 0


def _benchmarks(args: argparse.Namespace) -> dict[str, tuple[Sequence, ...]]:
    first = find_benchmark(args.benchmark)
    found = {first.name: load_sequences(first, args.root, only=split_names(args.sequences))}
    for text in args.also:
        name, equals, folder = text.partition("=")
        if not equals:
            raise InputError(f"--also {text!r}: expected BENCHMARK=DIR")
        other = find_benchmark(name)
        if other.name in found:
            raise InputError(f"--also {text!r}: {other.name} is given twice")
        found[other.name] = load_sequences(other, Path(folder))
    return found


def _range(name: str, text: str) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in text.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 <= low < high:
        raise InputError(f"--{name.replace('_', '-')} {text!r}: expected LOW,HIGH with 0 <= LOW < HIGH")
    return low, high


def _as_json(outcome: Outcome, search: Search) -> dict[str, object]:
    low, high = outcome.difference.interval.low, outcome.difference.interval.high
    return {
        "options": outcome.options,
        "protocol": search.protocol.name,
        "success": round(outcome.success, 6),
        "success_of_own_options": round(outcome.default_success, 6),
        "difference": round(outcome.difference.mean, 6),
        "difference_interval_95": [round(low, 6), round(high, 6)],
        "trials": outcome.trials,
        "sequences": {name: [s.name for s in sequences] for name, sequences in search.benchmarks.items()},
    }


def _say(outcome: Outcome, out: Path) -> None:
    print(f"{outcome.trials} trials; best {outcome.success:.4f}, the model's own options {outcome.default_success:.4f}")
    for name, value in outcome.options.items():
        print(f"  {name} = {value:.4f}")
    mean, low, high = outcome.difference.mean, outcome.difference.interval.low, outcome.difference.interval.high
    print(f"difference by sequence {mean:+.4f} [{low:+.4f}, {high:+.4f}] on the sequences it has seen")
    print(f"wrote {out / 'best.json'}")
