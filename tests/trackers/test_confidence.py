"""Signals of a choice, and their calibration."""

from __future__ import annotations

import numpy as np
import pytest

from onlinetada.trackers.confidence import SIGNALS, ConfidenceCalibration, fit_calibration, measure_signals


def test_signals_by_hand() -> None:
    boxes = np.array([[[0, 0, 20, 20], [2, 0, 20, 20], [16, 0, 20, 20]]], dtype=float)
    scores, old_size = np.array([[0.9, 0.8, 0.3]]), np.array([[10.0, 10.0]])
    seen = {
        "similarity": np.array([[0.7, 0.6, 0.1]]),
        "parts": np.array([[0.4, 0.3, 0.2]]),
        "answers": np.array([[0.8, 0.95, 0.2]]),
    }
    best = np.array([0])
    signals = measure_signals(boxes, scores, best, old_size, **seen)
    # the second lies within the first, so the best elsewhere is the third; the side doubled
    lead = np.log(0.9 / 0.1) - np.log(0.3 / 0.7)
    assert signals[0] == pytest.approx([0.9, lead, np.log(2), 0.7, 0.4, 0.6])
    assert measure_signals(boxes, scores, best, old_size)[0] == pytest.approx([0.9, lead, np.log(2), 0, 0, 0])


def test_leads_are_finite_whatever_the_scores_and_boxes() -> None:
    boxes = np.array([[[0, 0, 20, 20], [60, 0, 20, 20]], [[0, 0, 500, 500], [60, 0, 500, 500]]], dtype=float)
    scores = np.array([[1.0, 0.0], [0.9, 0.4]])
    signals = measure_signals(boxes, scores, np.array([0, 0]), np.full((2, 2), 20.0), answers=scores)
    assert np.isfinite(signals).all()
    assert signals[0, 1] > 20 and signals[0, 5] == 1
    assert signals[1, 1] == signals[1, 5] == 0  # a box as large as the region has nothing beside it


def test_confidence_is_a_probability_whatever_the_signals() -> None:
    calibration = ConfidenceCalibration(bias=-1, peak=50, lead=-50, size_jump=-9, similarity=9, parts=30, contrast=-30)
    confidence = calibration(np.random.default_rng(0).normal(0, 100, (50, len(SIGNALS))))
    assert ((confidence > 0) & (confidence < 1)).all()


def test_fit_finds_what_made_the_data() -> None:
    rng = np.random.default_rng(0)
    signals = rng.normal(0, 1, (4000, len(SIGNALS)))
    signals[:, 3] = 0  # a network without similarity
    truth = ConfidenceCalibration(bias=0.5, peak=3.0, lead=-1.0, size_jump=-2.0, parts=1.5)
    on_target = rng.random(4000) < truth(signals)
    fitted = fit_calibration(signals, on_target, decay=1e-4)
    assert fitted.similarity == 0
    for name in ("bias", "peak", "lead", "size_jump", "parts"):
        assert getattr(fitted, name) == pytest.approx(getattr(truth, name), abs=0.3)
    assert abs(fitted(signals).mean() - on_target.mean()) < 1e-3


def test_fit_stays_finite_on_separable_data_and_refuses_one_class() -> None:
    signals = np.zeros((20, len(SIGNALS)))
    signals[10:, 0] = 1
    fitted = fit_calibration(signals, np.arange(20) >= 10)
    assert np.isfinite(fitted.peak) and fitted(signals)[15] > 0.8 > 0.2 > fitted(signals)[5]
    with pytest.raises(ValueError, match="on the target and frames off it"):
        fit_calibration(signals, np.ones(20))
