"""Motion JPEG in Matroska, written so that a process killed at any moment leaves every frame playable.

OpenCV's encoders keep half a megabyte to themselves (and an mp4 is nothing without its end), which a kill -9 loses.
Here each frame is one complete cluster, handed to the system when ``write`` returns, with its own capture time.
Elements and their numbers: RFC 9559 (Matroska), RFC 8794 (EBML).
"""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

from onlinetada.trackers.io.appendfile import AppendFile

_EBML, _SEGMENT, _INFO, _TRACKS, _CLUSTER, _CUES, _SEEK_HEAD, _VOID = (
    bytes.fromhex(i) for i in ("1A45DFA3", "18538067", "1549A966", "1654AE6B", "1F43B675", "1C53BB6B", "114D9B74", "EC")
)
_UNKNOWN_SIZE = b"\x01" + b"\xff" * 7
_SEEK_HEAD_ROOM = 64  # reserved in front for the address of the index, which is known at the end
_CUE_EVERY_MS = 1000


class MatroskaWriter:
    """Writes JPEG pictures as a Matroska video.

    Args:
        path: of the file, which is created or emptied.
        width: of the pictures in pixels.
        height: of the pictures in pixels.
        fps: nominal frame rate; the frames' own timestamps are what counts.
    """

    def __init__(self, path: Path, *, width: int, height: int, fps: float) -> None:
        self._file = AppendFile(path)
        self._cues: list[tuple[int, int]] = []
        self._first_s: float | None = None
        self._last_ms = -1
        self._frame_ms = 1000 / fps
        types = _element("4286", 1) + _element("42F7", 1) + _element("42F2", 4) + _element("42F3", 8)
        types += _element("4282", b"matroska") + _element("4287", 4) + _element("4285", 2)
        self._file.append(_wrap(_EBML, types) + _SEGMENT + _UNKNOWN_SIZE)
        self._start = self._file.size
        self._file.append(_void(_SEEK_HEAD_ROOM))
        info = _element("2AD7B1", 1_000_000) + _element("4D80", b"onlinetada") + _element("5741", b"onlinetada")
        duration = _element("4489", struct.pack(">d", 0.0))
        self._duration_at = self._file.size + len(_wrap(_INFO, info + duration)) - 8
        self._file.append(_wrap(_INFO, info + duration))
        picture = _element("B0", width) + _element("BA", height)
        track = _element("D7", 1) + _element("73C5", 1) + _element("83", 1) + _element("9C", 0)
        track += _element("86", b"V_MJPEG") + _element("23E383", round(1e9 / fps)) + _element("E0", picture)
        self._file.append(_wrap(_TRACKS, _element("AE", track)))

    def write(self, jpeg: bytes, timestamp_s: float) -> None:
        """Append one picture. Timestamps that do not rise are moved up by a millisecond.

        Raises:
            OSError: it could not be written; the file ends with the picture before it.
        """
        self._first_s = timestamp_s if self._first_s is None else self._first_s
        at_ms = max(round((timestamp_s - self._first_s) * 1000), self._last_ms + 1)
        position = self._file.size - self._start
        block = b"\x81" + struct.pack(">h", 0) + b"\x80" + jpeg  # track 1, at the cluster's time, a key frame
        self._file.append(_wrap(_CLUSTER, _element("E7", at_ms) + _element("A3", block)))
        if not self._cues or at_ms - self._cues[-1][0] >= _CUE_EVERY_MS:
            self._cues.append((at_ms, position))
        self._last_ms = at_ms

    def sync(self) -> None:
        """Wait until what was written is on the disk, from where it survives a loss of power."""
        self._file.sync()

    def close(self) -> None:
        """Add the index and the duration, which make seeking fast; the video plays without them too."""
        with suppress(OSError):  # a disk that is full has no room for an index
            if self._cues:
                cues_at = self._file.size - self._start
                self._file.append(_wrap(_CUES, b"".join(_cue(*cue) for cue in self._cues)))
                seek = _element("53AB", _CUES) + _element("53AC", cues_at)
                head = _wrap(_SEEK_HEAD, _element("4DBB", seek))
                self._file.patch(self._start, head + _void(_SEEK_HEAD_ROOM - len(head)))
                self._file.patch(self._duration_at, struct.pack(">d", self._last_ms + self._frame_ms))
            self._cues = []
        self._file.close()


def _cue(at_ms: int, position: int) -> bytes:
    return _element("BB", _element("B3", at_ms) + _element("B7", _element("F7", 1) + _element("F1", position)))


def _element(name: str, value: int | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    return _wrap(bytes.fromhex(name), data)


def _wrap(name: bytes, data: bytes) -> bytes:
    return name + (len(data) | 1 << 56).to_bytes(8, "big") + data


def _void(room: int) -> bytes:
    return _wrap(_VOID, bytes(room - 9))
