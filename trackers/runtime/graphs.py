"""Device steps at a few fixed batch sizes, each captured as a CUDA graph where there is a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from onlinetada.state import StreamState
from onlinetada.trackers.runtime.device_crop import Packed, room_px
from onlinetada.trackers.runtime.device_step import ROW_NUMBERS, DeviceStep

Floats = npt.NDArray[np.float64]

_WARM_UP = 3
_TOLERANCE = 0.05  # pixels of the crop, between the graph and the same step run eagerly


class FixedBatch:
    """A device step whose tensors have fixed places: inputs are copied in, one small answer comes out.

    Args:
        step: what is run.
        state: an example; its rows are copied.
        rows: batch size.
        capture: whether to capture a CUDA graph; what cannot be captured runs eagerly, with a warning.

    Attributes:
        graphed: whether it runs as a CUDA graph.
        run: the step on what was copied in last, nothing copied back.
    """

    def __init__(self, step: DeviceStep, state: StreamState, rows: int, *, capture: bool) -> None:
        device, size = state.device, step.network.geometry.search_size
        self._step = step
        self.rows = rows
        self.state = state.select(torch.arange(rows) % state.batch_size)
        room = rows * room_px(size)
        pinned = device.type == "cuda"
        self._host_pixels = torch.zeros(room, 3, dtype=torch.uint8, pin_memory=pinned)
        self._host_rows = torch.zeros(rows, ROW_NUMBERS + 5 + 3, dtype=torch.float64, pin_memory=pinned)
        self._host_where = torch.ones(rows, 3, dtype=torch.int64, pin_memory=pinned)
        self._pixels, self._where, self._numbers = (
            t.to(device, copy=True) for t in (self._host_pixels, self._host_where, self._host_rows)
        )
        self._answer = torch.zeros(0)
        self.run: Callable[[], None] = self._eager
        replay = self._captured() if capture else None
        self.graphed = replay is not None
        if replay is not None:
            self.run = replay

    def __call__(self, packed: Packed, rows: Floats, state: StreamState, *, commit: bool) -> Floats:
        """Look with the first rows; the others repeat the first.

        Args:
            packed: sources of n rows.
            rows: (n, 9) see ``DeviceStep.forward``.
            state: of n streams; written unless ``commit`` is false.

        Returns:
            (n, 10) float64.
        """
        count = len(rows)
        self._load(packed, rows)
        names = list(self.state.buffers)
        own = [self.state[name][:count] for name in names]
        torch._foreach_copy_(own, [state[name] for name in names])
        self.state.frozen[:count].copy_(state.frozen)
        self.run()
        if commit:
            torch._foreach_copy_([state[name] for name in names], own)
        return np.asarray(self._answer[:count].cpu().numpy())

    def _load(self, packed: Packed, rows: Floats) -> None:
        count, used = len(rows), sum(map(len, packed.parts))
        np.concatenate(packed.parts, out=self._host_pixels.numpy()[:used])
        self._host_rows[:count] = torch.from_numpy(np.concatenate([rows, packed.warp, packed.fill], 1))
        self._host_rows[count:] = self._host_rows[0]
        self._host_where[:count] = torch.from_numpy(packed.where)
        self._host_where[count:] = self._host_where[0]
        self._pixels[:used].copy_(self._host_pixels[:used], non_blocking=True)
        self._numbers.copy_(self._host_rows, non_blocking=True)
        self._where.copy_(self._host_where, non_blocking=True)

    def _eager(self) -> None:
        rows, warp, fill = self._numbers.split([ROW_NUMBERS, 5, 3], 1)
        self._answer = self._step(self._pixels, self._where, warp.float(), fill.float(), rows, self.state)

    def _captured(self) -> Callable[[], None] | None:
        """The step as a graph, compared once with the same step run eagerly; None, with a warning, if it is no good."""
        try:
            before = self.state.clone()
            self._eager()
            wanted = self._answer.clone()
            graph = capture(self._eager)
            for name, buffer in before.buffers.items():
                self.state[name].copy_(buffer)
            graph.replay()
            near = (self._answer - wanted).abs().nan_to_num().max().item() <= _TOLERANCE
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            warnings.warn(f"no CUDA graph, steps run one by one: {reason}", RuntimeWarning, stacklevel=2)
            return None
        if not near:
            warnings.warn("the CUDA graph gave other boxes, steps run one by one", RuntimeWarning, stacklevel=2)
            return None
        return graph.replay


def capture(form: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """A CUDA graph of what a function does, after it ran a few times on a stream of its own."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP):
            form()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        form()
    return graph


def batch_size_for(rows: int) -> int:
    """The next power of two: few sizes serve any number of rows."""
    return 1 << (rows - 1).bit_length()


class GraphedSteps:
    """Device steps of any number of rows, made at need.

    Args:
        step: what is run.
        capture: whether as CUDA graphs.
    """

    def __init__(self, step: DeviceStep, *, capture: bool) -> None:
        self._step, self._capture = step, capture
        self.sizes: dict[int, FixedBatch] = {}

    def __call__(self, packed: Packed, rows: Floats, state: StreamState, *, commit: bool) -> Floats:
        """See ``FixedBatch.__call__``."""
        size = batch_size_for(len(rows))
        if size not in self.sizes:
            self.sizes[size] = FixedBatch(self._step, state, size, capture=self._capture)
        return self.sizes[size](packed, rows, state, commit=commit)
