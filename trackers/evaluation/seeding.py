"""The same random numbers for every sequence, so that a result does not depend on what was run before it."""

from __future__ import annotations

import contextlib
import ctypes
import random

import cv2
import numpy as np


def seed_everything(seed: int = 0) -> None:
    """Seed Python, numpy, torch, OpenCV, and the C library, whose ``rand()`` OpenCV's MIL tracker draws from."""
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    cv2.setRNGSeed(seed)
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).srand(seed)
