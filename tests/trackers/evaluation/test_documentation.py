"""The worked example of docs/evaluation.md, computed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from onlinetada.trackers.evaluation.protocols import PROTOCOLS
from onlinetada.trackers.evaluation.scores import score_sequence, total
from onlinetada.trackers.evaluation.sequences import Sequence

PAGE = Path(__file__).parents[3] / "docs" / "evaluation.md"
ROW = re.compile(r"^\| ([a-z0-9-]+) \| (\d+) \| (\d\.\d{4}) \| (\d\.\d{4}) \| (\d\.\d{4}) \|$", re.MULTILINE)


def test_worked_example() -> None:
    here, at_border, nothing = [100.0, 50, 20, 20], [0.0, 50, 20, 20], [np.nan] * 4
    off = [110.0, 50, 20, 20]
    truth = np.array([here, here, here, nothing, nothing, at_border, here, here])
    result = np.array([off, here, off, here, here, at_border, here, nothing])
    rows = ROW.findall(PAGE.read_text())
    assert [row[0] for row in rows] == list(PROTOCOLS)
    for name, frames, *figures in rows:
        score = score_sequence(PROTOCOLS[name], Sequence("example", truth), result)
        combined = total(PROTOCOLS[name], [score])
        assert len(score.errors.frames) == int(frames)
        assert [float(f) for f in figures] == pytest.approx(
            [combined.success, combined.precision, combined.norm_precision], abs=5.1e-5
        )
