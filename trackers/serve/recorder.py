"""Recordings: video and JSON lines in one folder, on a thread of their own, so that a slow disk holds nobody."""

from __future__ import annotations

import logging
import re
import shutil
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from onlinetada.errors import InputError
from onlinetada.trackers.io.frames import Frame, Notify
from onlinetada.trackers.io.outputs import Outputs
from onlinetada.trackers.io.records import JsonlSink
from onlinetada.trackers.io.video_sink import VideoSink
from onlinetada.trackers.serve.options import RecordOptions
from onlinetada.trackers.serve.report import Report

_WAITING = 8  # frames that may wait for the disk
_CHECK_S = 1.0  # between looks at the disk, and between moments when everything is really on it
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}\.(?:mkv|jsonl)")
_log = logging.getLogger("onlinetada.serve")


@dataclass(frozen=True)
class Recording:
    """A file of the record folder."""

    name: str
    size_bytes: int
    modified_s: float


class Recorder:
    """Records one source.

    Args:
        options: where to and how much.
        source: its id, with which file names begin.
        note: told of the end of a recording that nobody asked for.

    Attributes:
        dropped: frames that the disk was too slow for.
    """

    def __init__(self, options: RecordOptions, source: str, note: Notify) -> None:
        self.dropped = 0
        self._options, self._source, self._note = options, source, note
        self._lock = threading.Lock()
        self._tape: _Tape | None = None

    @property
    def name(self) -> str | None:
        """The video that is being written; None while nothing is recorded."""
        tape = self._tape
        return tape.name if tape is not None and tape.going else None

    @property
    def frames(self) -> int:
        """Frames of this recording so far."""
        tape = self._tape
        return tape.frames if tape is not None else 0

    def start(self, *, fps: float | None, boxes: bool = True) -> str:
        """Begin to record, with boxes drawn into the video or without; gives the name of the first file.

        Raises:
            InputError: it is recording already, there is no folder, or the disk is full.
        """
        with self._lock:
            if self.name is not None:
                raise InputError(f"{self._source} is being recorded already")
            if self._options.folder is None:
                raise InputError("recording is off: start the server with --record-dir DIR")
            self._options.folder.mkdir(parents=True, exist_ok=True)
            if not has_room(self._options):
                raise InputError("the disk is full: less than the reserve of free space is left")
            self._tape = _Tape(self._options, self._source, self._note, fps=fps or 30.0, boxes=boxes)
            return self._tape.name

    def stop(self) -> str:
        """Finish the recording; gives the name of its last file.

        Raises:
            InputError: nothing is being recorded.
        """
        with self._lock:
            tape, self._tape = self._tape, None
        if tape is None or not tape.going:
            raise InputError(f"{self._source} is not being recorded")
        tape.close()
        return tape.name

    def close(self) -> None:
        """Finish whatever is being recorded."""
        if self.name is not None:
            self.stop()

    def take(self, frame: Frame, report: Report) -> None:
        """Record a frame, where a recording is on."""
        tape = self._tape
        if tape is not None and tape.going:
            self.dropped += tape.put(frame, report)


class _Tape:
    """One recording: a thread that writes to a file and goes on in the next when that is long enough."""

    def __init__(self, options: RecordOptions, source: str, note: Notify, *, fps: float, boxes: bool) -> None:
        assert options.folder is not None  # noqa: S101 - for the type checker
        self._folder, self._options, self._note = options.folder, options, note
        self._source, self._fps, self._boxes = source, fps, boxes
        self.frames = 0
        self.going = True
        self._waiting: deque[tuple[Frame, Report]] = deque()
        self._changed = threading.Condition()
        self._began_s = self._checked_s = time.monotonic()
        self._size: tuple[int, int] | None = None
        self.name = ""
        self._outputs = self._open()
        self._thread = threading.Thread(target=self._run, name=f"record {source}", daemon=True)
        self._thread.start()

    def put(self, frame: Frame, report: Report) -> bool:
        """Queue a frame; True where an older one had to go for it."""
        with self._changed:
            full = len(self._waiting) >= _WAITING
            if full:
                self._waiting.popleft()
            self._waiting.append((frame, report))
            self._changed.notify_all()
            return full

    def close(self) -> None:
        """Write what waits, and finish the file."""
        with self._changed:
            self.going = False
            self._changed.notify_all()
        self._thread.join(timeout=10.0)

    def _run(self) -> None:
        try:
            while (item := self._next()) is not None:
                self._write(*item)
        except Exception as error:
            _log.exception("recording of %s failed", self._source)
            self._end(f"recording failed: {error}")
        finally:
            self._outputs.close()

    def _next(self) -> tuple[Frame, Report] | None:
        with self._changed:
            while not self._waiting and self.going:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting else None

    def _write(self, frame: Frame, report: Report) -> None:
        size = (report.width, report.height)
        if self._size not in (None, size) or self._is_long():
            self._outputs.close()
            self._outputs = self._open()
        self._size = size
        self._outputs.write(frame, report.results)
        self.frames += 1
        if self._outputs.failed:
            self._end("recording ended: it cannot be written")
        elif time.monotonic() - self._checked_s > _CHECK_S:
            self._checked_s = time.monotonic()
            self._outputs.sync()
            if not has_room(self._options):
                self._end("recording ended: the disk is nearly full")

    def _end(self, why: str) -> None:
        with self._changed:
            was, self.going = self.going, False
            self._waiting.clear()
        if was:
            self._note(why)

    def _is_long(self) -> bool:
        old = time.monotonic() - self._began_s > self._options.part_s
        path = self._folder / self.name
        return old or (self.frames % 50 == 49 and path.exists() and path.stat().st_size > self._options.part_bytes)

    def _open(self) -> Outputs:
        self._began_s = time.monotonic()
        path = _free_path(self._folder, self._source)
        self.name = path.name
        video = VideoSink(path, fps=self._fps, live=True, boxes=self._boxes)
        return Outputs([video, JsonlSink(path.with_suffix(".jsonl"))], notify=self._note)


def list_recordings(options: RecordOptions) -> list[Recording]:
    """The recordings in the folder, newest first; what else lies there is left out."""
    if options.folder is None or not options.folder.is_dir():
        return []
    paths = [p for p in options.folder.iterdir() if _NAME.fullmatch(p.name) and p.is_file() and not p.is_symlink()]
    found = [Recording(p.name, p.stat().st_size, p.stat().st_mtime) for p in paths]
    return sorted(found, key=lambda r: (-r.modified_s, r.name))


def find_recording(options: RecordOptions, name: str) -> Path | None:
    """A recording by its name; None for everything that is no file of the folder itself."""
    if options.folder is None or not _NAME.fullmatch(name):
        return None
    path = options.folder / name
    return path if path.is_file() and not path.is_symlink() else None


def has_room(options: RecordOptions) -> bool:
    """Whether the disk has more free than is to be left."""
    return options.folder is None or shutil.disk_usage(options.folder).free > options.reserve_bytes


def _free_path(folder: Path, source: str) -> Path:
    stem = f"{source}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (f"{stem}.mkv", *(f"{stem}-{n}.mkv" for n in range(2, 1000)))
    return next(folder / n for n in names if not (folder / n).exists())
