"""What is told of a frame: the JSON object that the WebSocket, UDP and standard output carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onlinetada.trackers.result import TrackResult


@dataclass(frozen=True)
class Report:
    """One frame of one source.

    Attributes:
        width: of the picture that boxes refer to, in pixels.
        delay_ms: from the capture of the frame to this report.
        dropped: frames left out so far because newer ones had come.
    """

    source: str
    frame_index: int
    timestamp_s: float
    loop: int
    width: int
    height: int
    results: Mapping[int, TrackResult]
    delay_ms: float
    fps: float
    dropped: int

    def as_json(self) -> str:
        """One line of JSON, without its end."""
        values = {
            "source": self.source,
            "frame_index": self.frame_index,
            "timestamp_s": round(self.timestamp_s, 6),
            "loop": self.loop,
            "width": self.width,
            "height": self.height,
            "targets": [target_values(key, result) for key, result in sorted(self.results.items())],
            "delay_ms": round(self.delay_ms, 2),
            "fps": round(self.fps, 2),
            "dropped": self.dropped,
        }
        return json.dumps(values, allow_nan=False, separators=(",", ":"))


def target_values(key: int, result: TrackResult) -> dict[str, Any]:
    """A target as JSON has it. While it is lost its box is null, since none is known."""
    return {
        "id": key,
        "box": None if result.state == "lost" else [round(v, 2) for v in result.box_xywh],
        "score": round(result.score, 4),
        "state": result.state,
        "latency_ms": round(result.latency_ms, 3),
    }
