"""What a server is told, and the bounds it keeps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from onlinetada.trackers.io.redact import redact

_NAMED = re.compile(r"^([A-Za-z][\w-]{0,31})=(.+)$", re.S | re.A)


@dataclass(frozen=True)
class SourceOptions:
    """One source that is served.

    Attributes:
        id: its name in the interface.
        spec: what ``open_source`` opens.
        fps: pictures a second of files and folders; None takes the file's own.
        loop: begin files again at their end.
        every_frame: let files wait for the tracker instead of leaving frames out.
    """

    id: str
    spec: str
    fps: float | None = None
    loop: bool = True
    every_frame: bool = False

    @property
    def label(self) -> str:
        """What to call it, without passwords."""
        return f"camera {self.spec}" if self.spec.isdigit() else redact(self.spec)


@dataclass(frozen=True)
class ModelOptions:
    """The tracker: see ``build_tracker``."""

    name: str = "default"
    weights: str | None = None
    device: str | None = None


@dataclass(frozen=True)
class Limits:
    """Bounds on what clients may cost.

    Attributes:
        body_bytes: of a request.
        message_bytes: of a WebSocket message from a client.
        messages_per_s: of a WebSocket client, and requests on one connection.
        connections: at once.
        streams: pictures and WebSockets at once, each.
        targets: in one source.
        commands: waiting for the tracker of one source.
        patience_s: for a client to finish a request, or to take what it asked for.
    """

    body_bytes: int = 16_384
    message_bytes: int = 4_096
    messages_per_s: float = 50.0
    connections: int = 128
    streams: int = 24
    targets: int = 16
    commands: int = 32
    patience_s: float = 10.0


@dataclass(frozen=True)
class RecordOptions:
    """Where recordings go and how they are cut.

    Attributes:
        folder: nothing is ever written elsewhere; None: there are no recordings.
        part_s: a recording goes on in a new file after this long.
        part_bytes: or after this much.
        reserve_bytes: disk that is left free.
    """

    folder: Path | None = None
    part_s: float = 1800.0
    part_bytes: int = 2 << 30
    reserve_bytes: int = 256 << 20


@dataclass(frozen=True)
class ServeOptions:
    """Everything that a server is told.

    Attributes:
        token: that clients must show; empty: none is asked for.
        origins: further web origins whose pages may use the interface, such as "https://drone.example".
        udp: host and port that get a JSON line a frame.
        stdout: a JSON line a frame on standard output.
        stream_width: pictures for the page are scaled down to this width in pixels.
    """

    sources: tuple[SourceOptions, ...]
    host: str = "127.0.0.1"
    port: int = 8080
    token: str = ""
    origins: tuple[str, ...] = ()
    model: ModelOptions = field(default_factory=ModelOptions)
    record: RecordOptions = field(default_factory=RecordOptions)
    limits: Limits = field(default_factory=Limits)
    udp: tuple[tuple[str, int], ...] = ()
    stdout: bool = False
    stream_width: int = 1280


def split_name(text: str) -> tuple[str | None, str]:
    """``front=rtsp://camera/1`` as ("front", "rtsp://camera/1"); what has no name, or is a file, as (None, text)."""
    match = None if Path(text).exists() else _NAMED.match(text)
    return (match[1], match[2]) if match else (None, text)
