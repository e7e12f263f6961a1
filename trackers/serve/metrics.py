"""Metrics in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path

from onlinetada.trackers.serve.door import Doors
from onlinetada.trackers.serve.guard import Guard
from onlinetada.trackers.serve.station import Station
from onlinetada.trackers.serve.stats import BUCKETS_MS, Histogram
from onlinetada.trackers.serve.streams import Streams

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample = tuple[str, float]  # labels as written, value


def render(station: Station, guard: Guard, doors: Doors, streams: Streams) -> str:
    """All metrics of a server."""
    lines: list[str] = []
    for name, kind, text, samples in (*_of_sources(station), *_of_clients(guard, doors, streams), *_of_process()):
        lines += [f"# HELP onlinetada_{name} {text}", f"# TYPE onlinetada_{name} {kind}"]
        lines += [f"onlinetada_{name}{labels} {_number(value)}" for labels, value in samples]
    for name, text, which in (
        ("delay_seconds", "From the capture of a frame to its boxes.", "delay"),
        ("update_seconds", "That the tracker took for a frame with targets.", "update"),
    ):
        lines += [f"# HELP onlinetada_{name} {text}", f"# TYPE onlinetada_{name} histogram"]
        for key, channel in station.channels.items():
            lines += _histogram(f"onlinetada_{name}", key, getattr(channel.feed.stats, which))
    return "\n".join(lines) + "\n"


Family = tuple[str, str, str, list[Sample]]


def _of_sources(station: Station) -> Iterable[Family]:
    feeds = {key: c.feed for key, c in station.channels.items()}

    def samples(values: dict[str, float]) -> list[Sample]:
        return [(f'{{source="{key}"}}', value) for key, value in values.items()]

    yield "up", "gauge", "1 while frames come.", samples({k: f.reader.status == "live" for k, f in feeds.items()})
    yield "frames_total", "counter", "Frames tracked.", samples({k: f.stats.tracked for k, f in feeds.items()})
    yield "dropped_total", "counter", "Frames left out.", samples({k: f.reader.dropped for k, f in feeds.items()})
    yield "fps", "gauge", "Frames a second of late.", samples({k: f.stats.fps for k, f in feeds.items()})
    yield "opened_total", "counter", "Times opened.", samples({k: f.reader.opened for k, f in feeds.items()})
    yield "restarts_total", "counter", "Tracker restarts.", samples({k: f.stats.restarts for k, f in feeds.items()})
    yield "lost_total", "counter", "Targets lost.", samples({k: f.stats.lost for k, f in feeds.items()})
    yield "recovered_total", "counter", "Found again.", samples({k: f.stats.recovered for k, f in feeds.items()})
    states = [
        (f'{{source="{key}",state="{state}"}}', float(sum(r.state == state for r in feed.results.values())))
        for key, feed in feeds.items()
        for state in ("tracking", "uncertain", "lost")
    ]
    yield "targets", "gauge", "Targets by state.", states
    recording = {key: float(c.recorder.name is not None) for key, c in station.channels.items()}
    yield "recording", "gauge", "1 while recording.", samples(recording)
    too_slow = {key: float(c.recorder.dropped) for key, c in station.channels.items()}
    yield "recording_dropped_total", "counter", "Frames that the disk was too slow for.", samples(too_slow)
    missed = {key: float(c.reports.missed) for key, c in station.channels.items()}
    yield "missed_reports_total", "counter", "Reports that slow clients missed.", samples(missed)


def _of_clients(guard: Guard, doors: Doors, streams: Streams) -> Iterable[Family]:
    clients = [('{kind="pictures"}', streams.pictures), ('{kind="websocket"}', streams.sockets)]
    yield "clients", "gauge", "Clients that take a stream.", [(k, float(v)) for k, v in clients]
    yield "connections", "gauge", "Connections open.", [("", float(len(doors.open)))]
    refused = [(f'{{status="{status}"}}', float(count)) for status, count in sorted(guard.refused.items())]
    yield "refused_total", "counter", "Requests refused.", refused
    closed = [("evicted", doors.evicted), ("late", doors.late), ("slow", streams.slow), ("flood", streams.floods)]
    samples = [(f'{{reason="{reason}"}}', float(count)) for reason, count in closed]
    yield "closed_total", "counter", "Connections that the server closed.", samples


def _of_process() -> Iterable[Family]:
    yield "threads", "gauge", "Python threads.", [("", float(threading.active_count()))]
    proc = Path("/proc/self")
    if proc.exists():
        pages = int((proc / "statm").read_text().split()[1])
        yield "resident_bytes", "gauge", "Memory in use.", [("", float(pages * os.sysconf("SC_PAGE_SIZE")))]
        yield "open_files", "gauge", "File handles in use.", [("", float(len(os.listdir(proc / "fd"))))]


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6g}"


def _histogram(name: str, source: str, histogram: Histogram) -> list[str]:
    lines, total = [], 0
    for bound_ms, count in zip((*BUCKETS_MS, None), list(histogram.counts), strict=True):
        total += count
        bound = "+Inf" if bound_ms is None else f"{bound_ms / 1000:g}"
        lines.append(f'{name}_bucket{{source="{source}",le="{bound}"}} {total}')
    lines.append(f'{name}_sum{{source="{source}"}} {histogram.sum_ms / 1000:.6f}')
    return [*lines, f'{name}_count{{source="{source}"}} {total}']
