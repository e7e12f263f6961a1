"""All sinks of a run together: checked before it, and one that fails does not take the others with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from onlinetada.errors import InputError
from onlinetada.trackers.io.frames import Frame, Notify
from onlinetada.trackers.io.records import Sink
from onlinetada.trackers.result import TrackResult


def path_of_target(path: Path, key: int) -> Path:
    """The file of one target of several: boxes.txt, 2 -> boxes_2.txt."""
    return path.with_name(f"{path.stem}_{key}{path.suffix}")


def check_outputs(paths: Iterable[Path], *, overwrite: bool, source: Path | None = None) -> None:
    """Refuse outputs that cannot be or must not be written, before any work starts.

    Args:
        paths: files to be written.
        overwrite: whether files that exist may be; empty ones may always, since nothing is lost.
        source: the file that is read, which is never written.

    Raises:
        InputError: one line about the first that is wrong.
    """
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise InputError(f"{path} is given for two outputs: give each its own file")
        seen.add(path.resolve())
        if str(path) == "-":
            raise InputError("only --save-jsonl can go to standard output (-): give the name of a file")
        if path.is_dir():
            raise InputError(f"{path} is a folder: give the name of a file")
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            raise InputError(f"{path} is the source: it would be destroyed")
        if path.is_file() and path.stat().st_size > 0 and not overwrite:
            raise InputError(f"{path} exists: choose another name, or say --overwrite")
        folder = next(p for p in path.absolute().parents if p.exists())
        if not os.access(path if path.exists() else folder, os.W_OK) or not folder.is_dir():
            raise InputError(f"{path} cannot be written: no permission in {folder}")


class Outputs:
    """Several sinks as one. A sink that fails is finished and left out; the others go on.

    Args:
        sinks: in the order they are written.
        notify: told which sink failed and why.

    Attributes:
        failed: whether any sink failed.
        frames: how many frames were written.
        names: all files, those of failed sinks included.
    """

    def __init__(self, sinks: Sequence[Sink], *, notify: Notify) -> None:
        self._sinks = list(sinks)
        self._notify = notify
        self.failed = False
        self.frames = 0
        self.names = [name for sink in self._sinks for name in sink.names]

    @property
    def alive(self) -> bool:
        """Whether there is a sink left."""
        return bool(self._sinks)

    def write(self, frame: Frame, results: Mapping[int, TrackResult]) -> None:
        """Give a frame's results to every sink.

        Raises:
            BrokenPipeError: the reader of standard output has gone.
        """
        self._each(lambda sink: sink.write(frame, results))
        self.frames += 1

    def sync(self) -> None:
        """Have what was written survive a loss of power, as far as that can be had."""
        self._each(lambda sink: sink.sync())

    def close(self) -> None:
        """Finish every sink. May be called twice."""
        while self._sinks:
            self._finish(self._sinks.pop())

    def _each(self, act: Callable[[Sink], None]) -> None:
        for sink in list(self._sinks):
            try:
                act(sink)
            except BrokenPipeError:
                raise
            except OSError as error:
                self.failed = True
                self._sinks.remove(sink)
                self._finish(sink)
                self._notify(
                    f"cannot write {error.filename}: {error.strerror}; its first {self.frames} frames are kept"
                )

    def _finish(self, sink: Sink) -> None:
        try:
            sink.close()
        except OSError as error:
            self.failed = True
            self._notify(f"cannot finish {', '.join(sink.names)}: {error.strerror}")
