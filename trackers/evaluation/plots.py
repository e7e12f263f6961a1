"""Success and precision plots as pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from onlinetada.trackers.evaluation.boxfiles import write_atomic
from onlinetada.trackers.evaluation.geometry import Values
from onlinetada.trackers.evaluation.protocols import NORM_THRESHOLDS, OVERLAP_THRESHOLDS, PIXEL_THRESHOLDS
from onlinetada.trackers.evaluation.reporting import Report, TrackerReport

COLORS = ("#d62728", "#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd", "#17becf", "#8c564b", "#e377c2", "#bcbd22", "#7f7f7f")
_DASHES = ("-", "--", ":", "-.")
_LABELLED = 20  # more lines than that cannot be told apart


def write_plots(report: Report, out: Path) -> None:
    """success.png, precision.png and norm_precision.png; the legend is ordered by each plot's own figure."""
    for name, thresholds, axis in (
        ("success", OVERLAP_THRESHOLDS, "overlap above"),
        ("precision", PIXEL_THRESHOLDS, "centre error within (pixels)"),
        ("norm_precision", NORM_THRESHOLDS, "centre error within (target sizes)"),
    ):
        write_atomic(out / f"{name}.png", _plot(report, name, thresholds, axis))


def _plot(report: Report, name: str, thresholds: Values, axis: str) -> bytes:
    # the object interface: pyplot would keep global state and look for a screen
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(8.5, 5.2), layout="constrained")
    axes = figure.add_subplot()
    ranked = sorted(enumerate(report.trackers), key=lambda item: -_value(item[1], name))
    for rank, (index, tracker) in enumerate(ranked):
        label = f"{tracker.name}  {_value(tracker, name):.3f}" + (" (partial)" if tracker.missing else "")
        axes.plot(
            thresholds,
            getattr(tracker.total, f"{name}_curve"),
            _DASHES[index // len(COLORS) % len(_DASHES)],
            color=COLORS[index % len(COLORS)],
            linewidth=2 if rank < 3 else 1.2,
            label=label if rank < _LABELLED else None,
        )
    axes.set(xlabel=axis, ylabel="share of frames", xlim=(thresholds[0], thresholds[-1]), ylim=(0, 1))
    axes.set_title(f"{report.benchmark.name}, {name.replace('_', ' ')}, protocol {report.protocol.name}", fontsize=11)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture)
    return picture.getvalue()


def _value(tracker: TrackerReport, name: str) -> float:
    return float(getattr(tracker.total, name))
