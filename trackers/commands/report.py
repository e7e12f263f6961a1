"""``onlinetada report``: score result files and make tables, plots and a page to look at."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.benchmarks import find_benchmark
from onlinetada.trackers.evaluation.page import write_page
from onlinetada.trackers.evaluation.plots import write_plots
from onlinetada.trackers.evaluation.protocols import PROTOCOLS, find_protocol
from onlinetada.trackers.evaluation.reporting import Report, make_report, summary_table, write_tables
from onlinetada.trackers.evaluation.sequences import load_annotations, load_sequences, split_names, with_frames


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("benchmark", metavar="BENCHMARK", help="UAV123, DTB70, ... or folder")
    parser.add_argument(
        "--annotations",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder that holds one folder of ground truth a benchmark",
    )
    parser.add_argument(
        "--results", type=Path, required=True, metavar="DIR", help="holds BENCHMARK/TRACKER/SEQUENCE.txt"
    )
    parser.add_argument("--trackers", default="", metavar="A,B", help="only these (default: all that are there)")
    parser.add_argument("--sequences", default="", metavar="A,B", help="only these (default: all)")
    parser.add_argument("--protocol", default="pysot", metavar="P", help=" | ".join(PROTOCOLS))
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the report goes")
    page = parser.add_argument_group("page")
    page.add_argument("--root", type=Path, metavar="DIR", help="the benchmark's images, for thumbnails")
    page.add_argument("--thumbnails", type=int, default=3, metavar="N", help="pictures a sequence (default 3)")
    parser.add_argument(
        "--require-all", action="store_true", help="refuse trackers that lack sequences instead of marking them"
    )


def run(args: argparse.Namespace) -> int:
    """Make the report. Returns the exit status."""
    benchmark, protocol = find_benchmark(args.benchmark), find_protocol(args.protocol)
    only = split_names(args.sequences)
    sequences = load_annotations(benchmark, args.annotations, only=only)
    if args.root is not None:
        sequences = with_frames(sequences, load_sequences(benchmark, args.root))
    report = make_report(benchmark, protocol, sequences, args.results, trackers=split_names(args.trackers))
    _tell_missing(report, refuse=args.require_all)
    write_tables(report, args.out)
    write_plots(report, args.out)
    write_page(report, args.out / "report.html", thumbnails=args.thumbnails)
    print(f"{benchmark.name}, {len(sequences)} sequences, protocol {protocol.name}")
    print(summary_table(report))
    print(f"wrote {args.out / 'summary.csv'} and {args.out / 'report.html'}")
    return 0


def _tell_missing(report: Report, *, refuse: bool) -> None:
    for tracker in report.trackers:
        if tracker.missing:
            shown = ", ".join(tracker.missing[:3]) + (" ..." if len(tracker.missing) > 3 else "")
            message = (
                f"{tracker.name} has no result for {len(tracker.missing)} of {len(report.sequences)} sequences: {shown}"
            )
            if refuse:
                raise InputError(message)
            print(f"onlinetada report: {message}; its figures are over the others", file=sys.stderr)
