"""One function that opens whatever a user calls a video."""

from __future__ import annotations

import difflib
import glob
import itertools
import math
import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from onlinetada.errors import InputError
from onlinetada.trackers.io import capture as capturing
from onlinetada.trackers.io import recorded
from onlinetada.trackers.io.frames import Notify, Source, log_notice, of_one_size
from onlinetada.trackers.io.live import Grabber, Reconnect
from onlinetada.trackers.io.redact import redact

_VIDEO_DEVICE = re.compile(r"^/dev/video\d+$")
_WHOLE_FILES = (".mp4", ".m4v", ".mkv", ".mov", ".webm", ".avi")


def open_source(
    spec: str | int | os.PathLike[str] | Iterable[Any],
    *,
    fps: float | None = None,
    live: bool | None = None,
    reconnect: Reconnect | None = None,
    on_notice: Notify | None = None,
    one_size: bool = True,
) -> Source:
    """Open a source of frames.

    ``with open_source("video.mp4") as frames: for frame in frames: ...``

    Live sources (cameras, network streams, pipelines) keep only the newest frame, count what was dropped and connect
    again when they fall silent. All others give every frame. Frames that change size are scaled to that of the first.

    Args:
        spec: camera number (7 or "7"), "/dev/videoN", video file, image file, folder of images, glob pattern, URL
            (rtsp, rtmp, http, udp, tcp, rtp, srt), "gst:" and a GStreamer pipeline, or a Python iterable of images,
            of image files, of (image, timestamp_s) pairs or of ``Frame``.
        fps: frames a second of images and iterables, 30 without it; elsewhere it corrects what the file says.
        live: whether to drop frames the reader is too slow for; decided by the kind of source without it. A URL that
            ends like a video file (.mp4 and so on) counts as a file.
        reconnect: patience of a live source with its other side.
        on_notice: told, in one line, what a user should know (frames left out, connection lost); may be called from
            another thread. The logger ``onlinetada.io`` without it.
        one_size: scale frames that change size to that of the first; False gives them as they come.

    Raises:
        InputError: there is no such source, or no frame can be read from it.
    """
    notify = on_notice or log_notice
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise InputError(f"fps is {fps}: give a number above 0")
    if isinstance(spec, (int, str, os.PathLike)) and not isinstance(spec, bool):
        text = spec if isinstance(spec, int) else os.fspath(spec)
        return _with_first_frame(_open_named(text, fps, live, reconnect, notify), notify, one_size)
    if isinstance(spec, Iterable):
        frames = recorded.iterator_frames(spec, fps or recorded.DEFAULT_FPS)
        frames = of_one_size(frames, notify) if one_size else frames
        return Source(frames, name="iterator", fps=fps or recorded.DEFAULT_FPS)
    raise InputError(f"a {type(spec).__name__} is no source: give a number, a path, a URL or an iterable of images")


def is_live(spec: str) -> bool:
    """Whether ``open_source`` takes this for a camera, a stream or a pipeline, which drops what comes too fast."""
    return _connector(spec, live=True) is not None and _sends_live(spec)


def _open_named(
    spec: str | int, fps: float | None, live: bool | None, reconnect: Reconnect | None, notify: Notify
) -> Source:
    newest_only = _sends_live(str(spec)) if live is None else live
    connect = _connector(spec, live=newest_only)
    name = f"camera {spec}" if str(spec).isdigit() else redact(str(spec))
    if connect is None:
        if live:
            raise InputError(f"{name} is no live source: leave live out")
        return _open_files(str(spec), fps, notify)
    if newest_only:
        return _newest_frame(connect, name, fps, reconnect, notify, has_clock=_has_clock(str(spec)))
    return _every_frame(connect(), name, fps, notify)


def _connector(spec: str | int, *, live: bool) -> Callable[[], capturing.Capture] | None:
    """How to open a camera, a stream or a pipeline; None for what lies in files."""
    if isinstance(spec, int) or spec.isdigit():
        if int(spec) < 0:
            raise InputError(f"camera {spec}: camera numbers begin at 0")
        return partial(capturing.open_camera, int(spec))
    if spec.startswith("gst:"):
        return partial(capturing.open_pipeline, spec.removeprefix("gst:").strip())
    if _VIDEO_DEVICE.match(spec):
        return partial(capturing.open_device, spec)
    if capturing.url_scheme(spec) not in (None, "file"):
        return partial(capturing.open_url, spec, live=live)
    return None


def _sends_live(spec: str) -> bool:
    """False for a video file that lies on a web server."""
    on_server = capturing.url_scheme(spec) in ("http", "https")
    return not (on_server and spec.partition("?")[0].lower().endswith(_WHOLE_FILES))


def _has_clock(spec: str) -> bool:
    """Whether frames come with the time that they were taken at. FFmpeg makes up those of Motion JPEG over HTTP."""
    of_system = spec.isdigit() or spec.startswith("gst:") or _VIDEO_DEVICE.match(spec) is not None
    return of_system or capturing.url_scheme(spec) in ("rtsp", "rtsps")


def _newest_frame(
    connect: Callable[[], capturing.Capture],
    name: str,
    fps: float | None,
    reconnect: Reconnect | None,
    notify: Notify,
    *,
    has_clock: bool,
) -> Source:
    grabber = Grabber(connect, name=name, notify=notify, reconnect=reconnect, has_clock=has_clock)
    return Source(
        grabber.frames(),
        name=name,
        live=True,
        fps=fps or grabber.fps,
        dropped=lambda: grabber.dropped,
        on_close=grabber.close,
    )


def _every_frame(capture: capturing.Capture, name: str, fps: float | None, notify: Notify) -> Source:
    import cv2

    fps = fps or capturing.nominal_fps(capture) or recorded.DEFAULT_FPS
    counted = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    count = int(counted) if 0 < counted < 1e9 else None
    frames = recorded.capture_frames(capture, name, fps, count, notify)
    return Source(frames, name=name, fps=fps, frame_count=count, on_close=capture.release)


def _open_files(spec: str, fps: float | None, notify: Notify) -> Source:
    spec = spec.removeprefix("file://")
    path = Path(spec).expanduser()
    if path.is_dir():
        images = recorded.list_images(path)
        if not images:
            raise InputError(f"{path} holds no images ({', '.join(sorted(recorded.IMAGE_SUFFIXES))})")
        return _image_source(images, spec, fps, notify)
    if path.exists():
        return _file_source(path, fps, notify)
    if glob.has_magic(spec):
        return _glob_source(spec, fps, notify)
    raise InputError(f"{spec} does not exist{_nearest(path)}")


def _glob_source(pattern: str, fps: float | None, notify: Notify) -> Source:
    matches = [Path(m) for m in glob.glob(str(Path(pattern).expanduser()), recursive=True)]
    images = sorted((m for m in matches if m.suffix.lower() in recorded.IMAGE_SUFFIXES), key=recorded.natural_order)
    others = [m for m in matches if m not in set(images) and m.is_file()]
    if images and not others:
        return _image_source(images, pattern, fps, notify)
    if len(others) == 1 and not images:
        return _file_source(others[0], fps, notify)
    if not matches:
        raise InputError(f"no file matches {pattern}")
    raise InputError(
        f"{pattern} matches {len(images)} images and {len(others)} other files: it must be images or one video"
    )


def _file_source(path: Path, fps: float | None, notify: Notify) -> Source:
    if path.suffix.lower() in recorded.IMAGE_SUFFIXES:
        return _image_source([path], str(path), fps, notify)
    return _every_frame(capturing.open_file(path), str(path), fps, notify)


def _image_source(paths: list[Path], name: str, fps: float | None, notify: Notify) -> Source:
    fps = fps or recorded.DEFAULT_FPS
    return Source(recorded.image_frames(paths, name, fps, notify), name=name, fps=fps, frame_count=len(paths))


def _with_first_frame(source: Source, notify: Notify, one_size: bool) -> Source:
    """Read one frame ahead, so that a source without any is refused before work starts."""
    frames = of_one_size(iter(source), notify) if one_size else iter(source)
    try:
        first = next(frames, None)
        if first is None:
            raise InputError(f"no frame can be read from {source.name}")
    except BaseException:  # Ctrl-C while a camera is silent included
        source.close()
        raise
    return Source(
        itertools.chain([first], frames),
        name=source.name,
        live=source.live,
        fps=source.fps,
        frame_count=source.frame_count,
        dropped=lambda: source.dropped,
        on_close=source.close,
    )


def _nearest(path: Path) -> str:
    folder = path.parent
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {folder / close[0]}?" if close else ""
