"""Opening what OpenCV can capture from: files, cameras, URLs, pipelines."""

from __future__ import annotations

import math
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from onlinetada.errors import InputError
from onlinetada.trackers.io.redact import redact

_OPEN_TIMEOUT_MS = 10_000
_READ_TIMEOUT_MS = 5_000
_FFMPEG_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# A live picture must not wait in FFmpeg's own queues, and RTSP over UDP loses packets on the first wireless link.
_LIVE_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"
_TEXT = int.from_bytes(b"ansi", "little")  # what FFmpeg calls a .txt file, whose letters it would draw
_URL = re.compile(r"^(\w+)://")
_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "rtp", "srt"})

# The environment and OpenCV's log level belong to the whole process, and two cameras may be opened at the same time:
# the first to need a setting makes it, the last takes it back.
_lock = threading.Lock()
_held: Counter[str] = Counter()
_before: dict[str, Any] = {}


class Capture(Protocol):
    """The part of ``cv2.VideoCapture`` that is used."""

    def isOpened(self) -> bool: ...

    def grab(self) -> bool: ...

    def retrieve(self) -> tuple[bool, Any]: ...

    def read(self) -> tuple[bool, Any]: ...

    def get(self, prop: int, /) -> float: ...

    def release(self) -> None: ...


def open_file(path: Path) -> Capture:
    """Open a video file.

    Raises:
        InputError: it cannot be read as a video.
    """
    import cv2

    has_ffmpeg = cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG)
    with quiet():
        capture = _new_capture(str(path), cv2.CAP_FFMPEG if has_ffmpeg else cv2.CAP_ANY)
    if capture.isOpened() and int(capture.get(cv2.CAP_PROP_FOURCC)) != _TEXT:
        return capture
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    raise InputError(f"{path} cannot be read as a video: is it complete, and a format that this OpenCV decodes?")


def open_camera(index: int) -> Capture:
    """Open a camera by its number.

    Raises:
        InputError: there is none, or it is in use.
    """
    with quiet():
        capture = _new_capture(index)
    if not capture.isOpened():
        found = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
        raise InputError(f"camera {index} cannot be opened: is it there, free and permitted? (/dev/video*: {found})")
    return capture


def open_device(path: str) -> Capture:
    """Open a Video4Linux device such as /dev/video0.

    Raises:
        InputError: it is missing, in use, or gives no pictures.
    """
    import cv2

    if not Path(path).exists():
        found = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
        raise InputError(f"{path} does not exist (/dev/video*: {found})")
    has_v4l = cv2.videoio_registry.hasBackend(cv2.CAP_V4L2)
    with quiet():
        capture = _new_capture(path, cv2.CAP_V4L2 if has_v4l else cv2.CAP_ANY)
    if not capture.isOpened():
        raise InputError(f"{path} cannot be opened: is it a camera, free and permitted?")
    return capture


def open_url(url: str, *, live: bool = True) -> Capture:
    """Open a network stream, or a file on a server.

    Args:
        url: its address.
        live: go without FFmpeg's queues and take RTSP over TCP, unless the user's environment has options of its own.

    Raises:
        InputError: unknown protocol, no FFMPEG, or no answer.
    """
    import cv2

    scheme = url_scheme(url)
    if scheme not in _SCHEMES:
        raise InputError(f"{redact(url)}: protocol {scheme!r} is unknown; known are {', '.join(sorted(_SCHEMES))}")
    if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        raise InputError("network streams need FFMPEG, which this OpenCV lacks: pip install opencv-python has it")
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS]
    with quiet(), _environment(_FFMPEG_OPTIONS, _LIVE_OPTIONS if live else ""):
        capture = _new_capture(url, cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        raise InputError(f"{redact(url)} cannot be opened: is the address right, and does the other side send?")
    return capture


def open_pipeline(pipeline: str) -> Capture:
    """Open a GStreamer pipeline that ends in an appsink.

    Raises:
        InputError: OpenCV was built without GStreamer, or the pipeline does not run.
    """
    import cv2

    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise InputError(
            "gst: needs an OpenCV built with GStreamer; the wheels from PyPI are not, your system's python3-opencv "
            "(or JetPack's) may be"
        )
    if "appsink" not in pipeline:
        raise InputError("gst: the pipeline must end in an appsink, as in gst:v4l2src ! videoconvert ! appsink")
    with quiet():
        capture = _new_capture(pipeline, cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        raise InputError(f"gst: the pipeline does not start; try it with gst-launch-1.0: {redact(pipeline)}")
    return capture


def nominal_fps(capture: Capture) -> float | None:
    """What the source says of its frame rate, where that can be true."""
    import cv2

    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if math.isfinite(fps) and 0 < fps <= 1000 else None


def position_s(capture: Capture) -> float:
    """The source's own time of the last frame in seconds, from any start; not above 0 where it has none."""
    import cv2

    return float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000


def url_scheme(text: str) -> str | None:
    """The protocol of a URL in lower case; None for what is no URL."""
    match = _URL.match(text)
    return match[1].lower() if match else None


def _new_capture(*arguments: Any) -> Capture:
    import cv2

    capture: Capture = cv2.VideoCapture(*arguments)
    return capture


@contextmanager
def quiet() -> Iterator[None]:
    """Keep OpenCV's and FFmpeg's own logs off the terminal: what went wrong is said in one line of ours."""
    import cv2

    log: Any = getattr(cv2.utils, "logging", None)  # Linux distributions carry OpenCVs without it
    with _lock:
        first = log is not None and not _held["log"]
        if first:
            _before["log"] = log.getLogLevel()
            log.setLogLevel(log.LOG_LEVEL_SILENT)
        _held["log"] += 1
    try:
        with _environment("OPENCV_FFMPEG_LOGLEVEL", "-8"):  # read once, at the first opening
            yield
    finally:
        with _lock:
            _held["log"] -= 1
            if log is not None and not _held["log"]:
                log.setLogLevel(_before["log"])


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    with _lock:
        ours = bool(value) and (name not in os.environ or _held[name] > 0)  # else the user knows better
        if ours:
            os.environ[name] = value
            _held[name] += 1
    try:
        yield
    finally:
        if ours:
            with _lock:
                _held[name] -= 1
                if not _held[name]:
                    os.environ.pop(name, None)
