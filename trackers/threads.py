"""How many CPU threads to compute with."""

from __future__ import annotations

import os

import cv2
import torch


def use_threads(count: int | None = None) -> int:
    """Set the CPU threads of torch and OpenCV and return their number; ONNX Runtime takes as many as torch.

    The threads of one frame wait for each other. Where another program has a core, they wait for that program: two
    threads on one free core are many times slower than one. So only cores that are free count.

    Args:
        count: threads; None takes OMP_NUM_THREADS, or else the cores that are free by the load of the last minute.
    """
    if count is None and "OMP_NUM_THREADS" not in os.environ:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        count = max(1, torch.get_num_threads() - round(load))
    if count is not None:
        torch.set_num_threads(count)
    cv2.setNumThreads(torch.get_num_threads())
    return torch.get_num_threads()
