"""Threads follow what is free, unless somebody said otherwise."""

from __future__ import annotations

import os

import pytest
import torch

from onlinetada.trackers.threads import use_threads


@pytest.fixture(autouse=True)
def _restore():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_busy_cores_are_left_alone(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(4)
    monkeypatch.setattr(os, "getloadavg", lambda: (2.6, 0.0, 0.0), raising=False)
    assert use_threads() == 1
    torch.set_num_threads(4)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 0.0, 0.0), raising=False)
    assert use_threads() == 4


def test_what_is_asked_for_counts(monkeypatch):
    torch.set_num_threads(2)
    assert use_threads(3) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(2)
    monkeypatch.setattr(os, "getloadavg", lambda: (9.0, 0.0, 0.0), raising=False)
    assert use_threads() == 2
