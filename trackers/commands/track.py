"""``onlinetada track``: follow targets in a video, a camera or a stream."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from onlinetada.errors import InputError
from onlinetada.trackers.follower import build_follower
from onlinetada.trackers.io.draw import draw_targets
from onlinetada.trackers.io.frames import Frame, Source
from onlinetada.trackers.io.live import Reconnect
from onlinetada.trackers.io.outputs import Outputs, check_outputs, path_of_target
from onlinetada.trackers.io.progress import Progress
from onlinetada.trackers.io.records import BoxesSink, CsvSink, JsonlSink, Sink
from onlinetada.trackers.io.sources import open_source
from onlinetada.trackers.io.stopping import StopSignals
from onlinetada.trackers.io.targets import Targets
from onlinetada.trackers.io.video_sink import VideoSink, check_suffix
from onlinetada.trackers.io.window import Window, need_screen, screen_problem, select_boxes
from onlinetada.trackers.options import DTYPES, RUNTIMES
from onlinetada.trackers.result import Box, TrackResult
from onlinetada.trackers.threads import use_threads

_DEFAULT_FPS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="video file, folder of images, glob, camera number, /dev/videoN, rtsp:// http:// udp:// URL, gst:PIPELINE",
    )
    where = parser.add_argument_group("targets")
    where.add_argument(
        "--init",
        metavar="X,Y,W,H",
        action="append",
        default=[],
        help="box on the first frame in pixels, 0-based; again for more targets; --init=-5,... for negative numbers",
    )
    where.add_argument("--select", action="store_true", help="draw boxes with the mouse: Enter takes one, Esc ends")
    what = parser.add_argument_group("tracker")
    what.add_argument("--model", default="default", metavar="NAME", help="see `onlinetada models` (default: our best)")
    what.add_argument("--weights", metavar="FILE", help="checkpoint in place of the one that ships")
    what.add_argument("--quirks", choices=("none", "published", "trained"), default="none", help="for TCTrack files")
    what.add_argument("--device", metavar="cpu|cuda", help="default: the GPU where there is one")
    what.add_argument(
        "--runtime", choices=RUNTIMES, default="auto", help="of the network's steps (default: the fastest)"
    )
    what.add_argument("--dtype", choices=DTYPES, default="float32", help="of the backbone, in torch (default: float32)")
    reading = parser.add_argument_group("reading")
    reading.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    reading.add_argument("--fps", type=float, help="frames a second, for images or a file that is wrong about it")
    reading.add_argument(
        "--live",
        action=argparse.BooleanOptionalAction,
        help="take the newest frame only, or every frame (default: newest of cameras and streams, every one of files)",
    )
    reading.add_argument(
        "--give-up-s", type=float, default=60.0, metavar="S", help="patience with a live source that went silent"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: the cores that are free)")
    results = parser.add_argument_group("results")
    results.add_argument("--save-boxes", type=Path, metavar="FILE", help="x,y,w,h a line; a file for each target")
    results.add_argument("--save-csv", type=Path, metavar="FILE", help="all values, with a header")
    results.add_argument("--save-jsonl", metavar="FILE", help="JSON lines; - for standard output")
    results.add_argument("--save-video", type=Path, metavar="FILE", help=".mkv (survives a kill), .mp4, .avi, .webm")
    results.add_argument("--trails", action="store_true", help="draw the targets' paths too")
    results.add_argument("--overwrite", action="store_true", help="replace files that exist")
    results.add_argument(
        "--view", choices=("window", "none"), help="default: a window where there is a screen and nothing is saved"
    )
    results.add_argument("--quiet", action="store_true", help="no progress and no summary")


def run(args: argparse.Namespace) -> int:
    """Follow the targets to the end of the source, the last frame asked for, or a signal.

    Returns:
        0, 1 where an output failed, 128 + the number of the signal that ended it.
    """
    boxes = [_parse_box(text) for text in args.init]
    if args.threads is not None and args.threads < 1:
        raise InputError(f"--threads is {args.threads}: give 1 or more")
    use_threads(args.threads)
    viewing = _check(args, boxes)
    progress = Progress(shown=False if args.quiet else None)
    outputs = Outputs([], notify=progress.line)
    follower = build_follower(
        args.model,
        weights=args.weights,
        device=args.device,
        quirks=args.quirks,
        runtime=args.runtime,
        dtype=args.dtype,
    )
    with ExitStack() as stack, StopSignals() as stop:
        stack.callback(progress.finish)
        source = stack.enter_context(
            open_source(
                args.source,
                fps=args.fps,
                live=args.live,
                reconnect=Reconnect(give_up_s=args.give_up_s),
                on_notice=progress.line,
            )
        )
        frames = stop.until_stopped(iter(source))
        first = next(frames, None)
        if first is not None:
            boxes += select_boxes(first.image, several=True) if args.select else []
            targets = Targets(follower, first, boxes)
            outputs = Outputs(_opened_sinks(args, source, len(boxes)), notify=progress.line)
            stack.callback(outputs.close)
            progress.expect(_expected(source, args.max_frames))
            window = Window() if viewing else None
            if window is not None:
                stack.callback(window.close)
            run_ = _Run(targets, outputs, window, progress, args.max_frames)
            run_.take(first)
            while run_.going and (frame := next(frames, None)) is not None:
                targets.update(frame)
                run_.take(frame)
    if not args.quiet:
        _summarise(progress, source, outputs)
    return 128 + stop.number if stop.number is not None else int(outputs.failed)


class _Run:
    """What is done with each frame once its targets are found."""

    def __init__(
        self, targets: Targets, outputs: Outputs, window: Window | None, progress: Progress, max_frames: int | None
    ) -> None:
        self._targets, self._outputs, self._window = targets, outputs, window
        self._progress, self._max_frames = progress, max_frames
        self._had_sinks = outputs.alive
        self._states = {number: result.state for number, result in targets.results.items()}
        self.going = True

    def take(self, frame: Frame) -> None:
        """Write, tell and show what is known of the targets on this frame."""
        results = self._targets.results
        self._outputs.write(frame, results)
        self._tell_changes(frame, results)
        lost = sum(r.state == "lost" for r in results.values())
        self._progress.update(max(r.latency_ms for r in results.values()), note=f"{lost} lost" if lost else "")
        if self._window is not None:
            self._show(self._window, frame)
        nothing_left = self._had_sinks and not self._outputs.alive and self._window is None
        self.going &= not nothing_left and self._progress.frames != self._max_frames

    def _show(self, window: Window, frame: Frame) -> None:
        key = window.show(draw_targets(frame.image, self._targets.results))
        if key == "pause":
            key = window.wait()
        if key == "select":
            number = self._targets.first_lost()
            try:
                self._targets.restart(number, frame, select_boxes(frame.image)[0])
            except InputError as error:  # nothing drawn, or a box that cannot be followed: go on as before
                self._progress.line(str(error))
        self.going &= key != "quit"

    def _tell_changes(self, frame: Frame, results: Mapping[int, TrackResult]) -> None:
        for number, result in results.items():
            if (result.state == "lost") != (self._states[number] == "lost"):
                what = "lost" if result.state == "lost" else "found again"
                self._progress.line(f"target {number} {what} at frame {frame.index}")
            self._states[number] = result.state


def _check(args: argparse.Namespace, boxes: list[Box]) -> bool:
    """Refuse what cannot work before anything is loaded; tell whether there will be a window."""
    if not boxes and not args.select:
        raise InputError("say where the target is: --init X,Y,W,H on the first frame, or --select to draw it")
    if args.max_frames is not None and args.max_frames < 1:
        raise InputError(f"--max-frames is {args.max_frames}: give a number above 0")
    if args.select:
        need_screen("--select", "give --init X,Y,W,H")
    if args.save_video is not None:
        check_suffix(args.save_video)
    files = [p for p in (args.save_csv, args.save_video, _jsonl_file(args)) if p is not None]
    if args.save_boxes is not None and len(boxes) > 1:
        files += [path_of_target(args.save_boxes, number) for number in range(len(boxes))]
    elif args.save_boxes is not None:
        files.append(args.save_boxes)
    check_outputs(files, overwrite=args.overwrite, source=Path(args.source))
    if args.view == "window":
        need_screen("--view window", "use --view none and --save-video FILE")
    saves = bool(files) or args.save_jsonl is not None
    return args.view == "window" or (args.view is None and not saves and screen_problem() is None)


def _opened_sinks(args: argparse.Namespace, source: Source, targets: int) -> list[Sink]:
    try:
        return _open_sinks(args, source, targets)
    except OSError as error:
        raise InputError(f"cannot write {error.filename}: {error.strerror}") from None


def _open_sinks(args: argparse.Namespace, source: Source, targets: int) -> list[Sink]:
    sinks: list[Sink] = []
    if args.save_boxes is not None:
        several = {n: path_of_target(args.save_boxes, n) for n in range(targets)}
        paths = several if targets > 1 else {0: args.save_boxes}
        check_outputs(paths.values(), overwrite=args.overwrite)  # with --select their number is known only now
        sinks.append(BoxesSink(paths, fill_gaps=not source.live))
    if args.save_csv is not None:
        sinks.append(CsvSink(args.save_csv))
    if args.save_jsonl is not None:
        sinks.append(JsonlSink(_jsonl_file(args)))
    if args.save_video is not None:
        fps = source.fps or _DEFAULT_FPS
        sinks.append(VideoSink(args.save_video, fps=fps, live=source.live, trails=args.trails))
    return sinks


def _jsonl_file(args: argparse.Namespace) -> Path | None:
    return Path(args.save_jsonl) if args.save_jsonl not in (None, "-") else None


def _parse_box(text: str) -> Box:
    try:
        values = [float(part) for part in text.replace(" ", "").split(",")]
    except ValueError:
        values = []
    if len(values) != 4 or not all(map(math.isfinite, values)):
        raise InputError(f"--init {text!r}: give four finite numbers X,Y,W,H, for example --init 300,200,60,40")
    return values[0], values[1], values[2], values[3]


def _expected(source: Source, max_frames: int | None) -> int | None:
    known = [n for n in (source.frame_count, max_frames) if n is not None]
    return min(known) if known else None


def _summarise(progress: Progress, source: Source, outputs: Outputs) -> None:
    latency = f"latency {progress.latency_ms(0.5):.1f} ms median, {progress.latency_ms(0.95):.1f} ms p95"
    dropped = f", {source.dropped} dropped" if source.live else ""
    print(f"{progress.frames} frames of {source.name} at {progress.fps:.1f} fps, {latency}{dropped}", file=sys.stderr)
    if outputs.names:
        print(f"saved: {', '.join(outputs.names)}", file=sys.stderr)
