"""Results as text: boxes, CSV, JSON lines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from onlinetada.trackers.io.appendfile import AppendFile
from onlinetada.trackers.io.frames import Frame
from onlinetada.trackers.result import TrackResult

_ABSENT = "nan,nan,nan,nan"
CSV_HEADER = "frame_index,timestamp_s,target_id,x,y,w,h,score,state,latency_ms"


class Sink(Protocol):
    """Takes the results of one frame after the other."""

    @property
    def names(self) -> Sequence[str]:
        """The files it writes, for messages."""

    def write(self, frame: Frame, results: Mapping[int, TrackResult]) -> None:
        """Take the results of a frame: target id -> result.

        Raises:
            OSError: they could not be written; what was written before stays readable.
        """

    def sync(self) -> None:
        """Have what was written survive a loss of power, as far as that can be had."""

    def close(self) -> None:
        """Finish the files. May be called twice."""


class BoxesSink:
    """One file a target with a line x,y,w,h a frame; nan,nan,nan,nan while it is lost.

    Args:
        paths: target id -> file.
        fill_gaps: also write a line for frames that the source left out, so that line n is frame n.
    """

    def __init__(self, paths: Mapping[int, Path], *, fill_gaps: bool) -> None:
        self._files = {key: AppendFile(path) for key, path in paths.items()}
        self._fill_gaps = fill_gaps
        self._next: int | None = None

    @property
    def names(self) -> Sequence[str]:
        """The files it writes."""
        return [str(f.path) for f in self._files.values()]

    def write(self, frame: Frame, results: Mapping[int, TrackResult]) -> None:
        """Take the results of a frame."""
        missing = frame.index - self._next if self._next is not None and self._fill_gaps else 0
        for key, file in self._files.items():
            lines = f"{_ABSENT}\n" * missing + f"{_numbers(results.get(key))}\n"
            file.append(lines.encode())
        self._next = frame.index + 1

    def sync(self) -> None:
        """Have what was written survive a loss of power."""
        for file in self._files.values():
            file.sync()

    def close(self) -> None:
        """Finish the files. May be called twice."""
        for file in self._files.values():
            file.close()


class CsvSink:
    """One file with a header and a line for every target and frame."""

    def __init__(self, path: Path) -> None:
        self._file = AppendFile(path)
        self._file.append(f"{CSV_HEADER}\n".encode())

    @property
    def names(self) -> Sequence[str]:
        """The files it writes."""
        return [str(self._file.path)]

    def write(self, frame: Frame, results: Mapping[int, TrackResult]) -> None:
        """Take the results of a frame."""
        lines = [
            f"{frame.index},{frame.timestamp_s:.6f},{key},{_numbers(r)},{r.score:.4f},{r.state},{r.latency_ms:.3f}\n"
            for key, r in results.items()
        ]
        self._file.append("".join(lines).encode())

    def sync(self) -> None:
        """Have what was written survive a loss of power."""
        self._file.sync()

    def close(self) -> None:
        """Finish the file. May be called twice."""
        self._file.close()


class JsonlSink:
    """One JSON object a line for every target and frame; ``box_xywh`` is null while the target is lost.

    Args:
        path: of the file; None for standard output, where each frame is flushed.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else AppendFile(path)

    @property
    def names(self) -> Sequence[str]:
        """The files it writes."""
        return [str(self._file.path)] if self._file else []

    def write(self, frame: Frame, results: Mapping[int, TrackResult]) -> None:
        """Take the results of a frame."""
        text = "".join(_json_line(frame, key, result) for key, result in results.items())
        if self._file:
            self._file.append(text.encode())
            return
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            # nobody reads any more; without this the interpreter complains once more when it flushes at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise

    def sync(self) -> None:
        """Have what was written survive a loss of power."""
        if self._file:
            self._file.sync()

    def close(self) -> None:
        """Finish the file. May be called twice."""
        if self._file:
            self._file.close()


def _numbers(result: TrackResult | None) -> str:
    if result is None or result.state == "lost":
        return _ABSENT
    return ",".join(f"{v:.3f}" for v in result.box_xywh)


def _json_line(frame: Frame, key: int, result: TrackResult) -> str:
    values = {
        "frame_index": frame.index,
        "timestamp_s": round(frame.timestamp_s, 6),
        "target_id": key,
        "box_xywh": None if result.state == "lost" else [round(v, 3) for v in result.box_xywh],
        "score": round(result.score, 4),
        "state": result.state,
        "latency_ms": round(result.latency_ms, 3),
    }
    return json.dumps(values, allow_nan=False) + "\n"
