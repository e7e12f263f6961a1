"""``onlinetada doctor``: what is installed, and whether it tracks."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import tempfile
import time
from pathlib import Path

from onlinetada._version import __version__
from onlinetada.errors import InputError
from onlinetada.trackers.commands.models import model_table
from onlinetada.trackers.io.sources import open_source
from onlinetada.trackers.io.synthetic import write_video
from onlinetada.trackers.io.window import screen_problem
from onlinetada.trackers.result import Box, Tracker
from onlinetada.trackers.threads import use_threads

_PACKAGES: tuple[str, ...] = (
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "got10k",
    "safetensors",
    "onnxruntime",
    "shapely",
    "PyYAML",
    "matplotlib",
    "tensorboard",
)
_FRAMES = 300
_ENOUGH_OVERLAP = 0.5  # of union, in the mean: below this the box is elsewhere or of another size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", default="default", metavar="NAME", help="model of the self-test (default: our best)")
    parser.add_argument("--weights", metavar="FILE", help="checkpoint in place of the one that ships")
    parser.add_argument("--device", metavar="cpu|cuda", help="default: the GPU where there is one")
    parser.add_argument("--seconds", type=float, default=10.0, help="longest time for the self-test (default: 10)")


def run(args: argparse.Namespace) -> int:
    """Print what is installed, then track a made-up video.

    Returns:
        0 where the target was tracked, else 1.
    """
    use_threads()
    if not args.seconds > 0:
        raise InputError(f"--seconds is {args.seconds}: give a number above 0")
    for title, lines in (
        ("versions", _versions()),
        ("devices", _devices()),
        ("OpenCV", _opencv()),
        ("models", model_table()),
    ):
        print(f"{title}\n  " + "\n  ".join(lines))
    print("self-test", flush=True)
    try:
        tracker = _build(args)
    except InputError as error:
        print(f"  FAILED: {error}")
        return 1
    overlaps, fps = self_test(tracker, seconds=args.seconds)
    mean = sum(overlaps) / len(overlaps)
    verdict = "tracks" if mean >= _ENOUGH_OVERLAP else f"FAILED: mean overlap below {_ENOUGH_OVERLAP}"
    print(f"  {tracker.name}: mean overlap {mean:.3f} over {len(overlaps)} frames, {fps:.1f} fps: {verdict}")
    return int(mean < _ENOUGH_OVERLAP)


def self_test(tracker: Tracker, *, seconds: float = 10.0) -> tuple[list[float], float]:
    """Write a video with a moving target, read it again and track it.

    Args:
        tracker: to be tested.
        seconds: the test ends after this time, finished or not.

    Returns:
        Overlap (intersection over union) of every frame after the first, and frames a second of the tracker alone.
    """
    overlaps: list[float] = []
    spent_s = 0.0
    with tempfile.TemporaryDirectory(prefix="onlinetada-") as folder:
        path = Path(folder) / "moving.mkv"
        truth = write_video(path, frames=_FRAMES)
        began_s = time.monotonic()
        with open_source(path) as source:
            for frame in source:
                if frame.index == 0:
                    tracker.init(frame.image, truth[0], timestamp_s=frame.timestamp_s)
                    continue
                result = tracker.update(frame.image, timestamp_s=frame.timestamp_s)
                spent_s += result.latency_ms / 1000
                overlaps.append(0.0 if result.state == "lost" else _overlap(result.box_xywh, truth[frame.index]))
                if time.monotonic() - began_s > seconds:
                    break
    return overlaps, len(overlaps) / spent_s if spent_s > 0 else 0.0


def _build(args: argparse.Namespace) -> Tracker:
    if args.model.startswith("opencv-"):
        from onlinetada.trackers.opencv import build_opencv_tracker

        return build_opencv_tracker(args.model, weights=args.weights)
    from onlinetada.trackers.build import build_tracker

    return build_tracker(args.model, weights=args.weights, device=args.device)


def _versions() -> list[str]:
    import torch

    lines = [f"onlinetada {__version__}", f"Python {platform.python_version()} on {platform.platform(terse=True)}"]
    lines.append(f"torch {torch.__version__}")
    for name in _PACKAGES:
        try:
            lines.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return lines


def _devices() -> list[str]:
    import torch

    lines = [f"cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads used"]
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        lines.append(f"cuda:{index}: {facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    if not torch.cuda.is_available():
        why = "this torch is built without it" if torch.version.cuda is None else "no driver or no GPU"
        lines.append(f"cuda: no ({why})")
    return lines


def _opencv() -> list[str]:
    import cv2

    registry = cv2.videoio_registry
    backends = (("FFMPEG", cv2.CAP_FFMPEG), ("GStreamer", cv2.CAP_GSTREAMER), ("Video4Linux", cv2.CAP_V4L2))
    has = [f"{name} {'yes' if registry.hasBackend(number) else 'no'}" for name, number in backends]
    cameras = sorted(str(p) for p in Path("/dev").glob("video*"))
    return [
        f"{cv2.__version__}: {', '.join(has)}",
        f"windows: {screen_problem() or 'yes'}",
        f"cameras: {', '.join(cameras) or 'none at /dev/video*'}",
    ]


def _overlap(a: Box, b: Box) -> float:
    shared_w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    shared_h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(shared_w, 0.0) * max(shared_h, 0.0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)
