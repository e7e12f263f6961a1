"""Results of a benchmark: one row for each thing that was timed, as CSV, as text and as a plot."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from onlinetada._version import __version__
from onlinetada.trackers.bench.timing import Latency


@dataclass(frozen=True)
class Row:
    """One thing under one condition.

    Attributes:
        subject: the model, or a peer.
        stage: update (all of it), crop, network, decide, or a part of a stream.
        device, runtime, dtype, threads: what computed it.
        batch: targets, all in one stream.
        frame: size of the pictures, WxH.
        p50_ms, p95_ms, p99_ms: of one call, which does the whole batch.
        targets_per_s: batch / p50.
        samples: calls that were timed.
    """

    subject: str
    stage: str
    device: str
    runtime: str
    dtype: str
    threads: int
    batch: int
    frame: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    targets_per_s: float
    samples: int


def row_of(latency: Latency, *, batch: int, **condition: Any) -> Row:
    """A row, times rounded to a microsecond."""
    times = {name: round(getattr(latency, name), 3) for name in ("p50_ms", "p95_ms", "p99_ms")}
    rate = round(1000 * batch / latency.p50_ms, 1)
    return Row(batch=batch, **condition, **times, targets_per_s=rate, samples=latency.samples)


def write_results(rows: Sequence[Row], out: Path, facts: dict[str, Any]) -> list[Path]:
    """bench.csv, bench.json (the machine) and bench.png."""
    out.mkdir(parents=True, exist_ok=True)
    table, about, picture = (out / f"bench.{suffix}" for suffix in ("csv", "json", "png"))
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    about.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    picture.write_bytes(plot(rows))
    return [table, about, picture]


def machine_facts(device: torch.device, load: float) -> dict[str, Any]:
    """What the figures were measured on.

    Args:
        device: that computed.
        load: processes that were running when the benchmark began, by the last minute's average.
    """
    facts: dict[str, Any] = {
        "onlinetada": __version__,
        "processor": _processor(),
        "torch": torch.__version__,
        "load_before": round(load, 2),
        "python": platform.python_version(),
    }
    try:
        import onnxruntime

        facts["onnxruntime"] = onnxruntime.__version__
    except ImportError:
        pass
    if device.type == "cuda":
        facts |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return facts


def as_text(rows: Sequence[Row]) -> str:
    """A table for the terminal."""
    head = ("subject", "stage", "runtime", "dtype", "batch", "frame", "p50 ms", "p95", "p99", "targets/s")
    lines = [head] + [
        (
            row.subject,
            row.stage,
            row.runtime,
            row.dtype,
            str(row.batch),
            row.frame,
            f"{row.p50_ms:.2f}",
            f"{row.p95_ms:.2f}",
            f"{row.p99_ms:.2f}",
            f"{row.targets_per_s:.0f}",
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def plot(rows: Sequence[Row]) -> bytes:
    """Median time of every row as a bar, the 95th percentile as a line on it; a PNG."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = [f"{r.subject} {r.stage}, {r.runtime} {r.dtype}, batch {r.batch}, {r.frame}" for r in rows]
    figure: Any = Figure(figsize=(9, 1 + 0.3 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(rows))
    later = [max(0.0, r.p95_ms - r.p50_ms) for r in rows]
    axes.barh(places, [r.p50_ms for r in rows], xerr=[[0.0] * len(rows), later], color="#1f77b4", ecolor="#555555")
    axes.set_yticks(list(places), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("ms a call: median, line to the 95th percentile")
    axes.grid(axis="x", alpha=0.3)
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    return stream.getvalue()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
