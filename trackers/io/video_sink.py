"""Annotated video, in a form that survives what happens to long recordings."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from onlinetada.errors import InputError
from onlinetada.trackers.io.capture import quiet
from onlinetada.trackers.io.draw import Trails, draw_targets
from onlinetada.trackers.io.frames import Frame
from onlinetada.trackers.io.matroska import MatroskaWriter
from onlinetada.trackers.result import Image, TrackResult

# suffix -> encoder of OpenCV; .mkv is written by this package
_ENCODERS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".avi": "MJPG", ".webm": "VP80"}
VIDEO_SUFFIXES = (".mkv", *_ENCODERS)
_RESERVE_BYTES = 4 << 20  # OpenCV does not tell that a disk is full, and what it holds back must still fit
_JPEG_QUALITY = 90
_LONGEST_HOLD_S = 2.0


class VideoSink:
    """Writes the frames with the targets drawn on them. The file is opened with the first frame.

    Args:
        path: ends in .mkv (every frame is safe at once), .mp4, .avi, .mov or .webm (complete after ``close``).
        fps: frames a second.
        live: frames come when they come: hold pictures so that a recording of constant rate keeps the time.
        trails: also draw the paths.
        boxes: draw the targets; False writes the frames as they are.
    """

    def __init__(self, path: Path, *, fps: float, live: bool = False, trails: bool = False, boxes: bool = True) -> None:
        check_suffix(path)
        self._path, self._fps, self._live, self._boxes = path, fps, live, boxes
        self._trails = Trails() if trails else None
        self._writer: MatroskaWriter | _OpenCvWriter | None = None

    @property
    def names(self) -> Sequence[str]:
        """The files it writes."""
        return [str(self._path)]

    def write(self, frame: Frame, results: Mapping[int, TrackResult]) -> None:
        """Take the results of a frame."""
        picture = draw_targets(frame.image, results if self._boxes else {}, trails=self._trails)
        if self._writer is None:
            self._writer = self._open(picture)
        if isinstance(self._writer, MatroskaWriter):
            jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
            self._writer.write(np.asarray(jpeg).tobytes(), frame.timestamp_s)
        else:
            self._writer.write(picture, frame.timestamp_s if self._live else None)

    def sync(self) -> None:
        """Have what was written survive a loss of power, where the format can."""
        if isinstance(self._writer, MatroskaWriter):
            self._writer.sync()

    def close(self) -> None:
        """Finish the file. May be called twice."""
        if self._writer is not None:
            self._writer.close()

    def _open(self, picture: Image) -> MatroskaWriter | _OpenCvWriter:
        height, width = picture.shape[:2]
        if self._path.suffix.lower() == ".mkv":
            return MatroskaWriter(self._path, width=width, height=height, fps=self._fps)
        return _OpenCvWriter(self._path, width=width, height=height, fps=self._fps)


class _OpenCvWriter:
    """``cv2.VideoWriter`` that stops before the disk is full instead of writing on in silence."""

    def __init__(self, path: Path, *, width: int, height: int, fps: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        code = cv2.VideoWriter.fourcc(*_ENCODERS[path.suffix.lower()])
        self._path, self._fps, self._count = path, fps, 0
        self._first_s: float | None = None
        self._check_room()
        with quiet():
            self._writer: Any = cv2.VideoWriter(str(path), code, fps, (width, height))
        if not self._writer.isOpened():
            raise OSError(errno.ENOTSUP, f"this OpenCV has no encoder for {path.suffix} (.mkv needs none)", str(path))

    def write(self, picture: Image, timestamp_s: float | None) -> None:
        self._check_room()
        copies = 1
        if timestamp_s is not None:
            self._first_s = timestamp_s if self._first_s is None else self._first_s
            due = round((timestamp_s - self._first_s) * self._fps) + 1 - self._count
            copies = min(max(due, 1), max(1, round(_LONGEST_HOLD_S * self._fps)))
        for _ in range(copies):
            self._writer.write(picture)
        self._count += copies

    def close(self) -> None:
        self._writer.release()

    def _check_room(self) -> None:
        if shutil.disk_usage(self._path.parent).free < _RESERVE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))


def check_suffix(path: Path) -> None:
    """Refuse a file name whose ending names no video format that can be written.

    Raises:
        InputError: says which can.
    """
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise InputError(f"{path}: videos are written as {', '.join(VIDEO_SUFFIXES)}; .mkv survives a kill")
