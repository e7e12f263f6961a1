"""A network whose steps ONNX Runtime computes: the same protocol, so the same engine, as the torch network's."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onlinetada.errors import InputError
from onlinetada.export import NEXT
from onlinetada.state import StreamState
from onlinetada.trackers.models.network import Candidates, LearningNetwork, TrackNetwork
from onlinetada.trackers.runtime.graph import BELIEVED, FEATURES, SEARCH, STATE, candidates_of

METADATA = "onlinetada"  # key of the JSON that an exported step carries

_OF = "weights_sha256"

Arrays = dict[str, npt.NDArray[Any]]


class OnnxNetwork:
    """Steps in ONNX Runtime on the CPU, starts in torch; the state is the torch network's.

    Args:
        network: that the file was exported from.
        path: of the exported step.
        providers: ONNX Runtime's execution providers; by default the CPU's.

    Attributes:
        geometry: of the network.
        facts: what the file says of itself.
        reads, gives: names of the buffers that go in, and of the outputs.
        takes_bytes: its pictures are bytes as the crops are, (B, 3, R, R) with the channels last in memory.
    """

    takes_bytes = True

    def __init__(self, network: TrackNetwork, path: Path, *, providers: list[str] | None = None) -> None:
        self.network, self.path = network, path
        self.geometry = network.geometry
        self._providers = providers or ["CPUExecutionProvider"]
        self._sessions: dict[tuple[Path, int], Any] = {}
        session = self._session(torch.get_num_threads())
        self.facts = facts_of(session, path)
        self.reads = [i.name.removeprefix(STATE) for i in session.get_inputs() if i.name != SEARCH]
        self.gives = [o.name for o in session.get_outputs()]
        self._learning = self._find_learning()

    def start(self, template: Tensor, search: Tensor, box: Tensor) -> StreamState:
        """Begin B streams, see ``TrackNetwork.start``."""
        return self.network.start(template.float(), search.float(), box)

    def step(self, search: Tensor, state: StreamState, *, commit: bool = True) -> tuple[Candidates, StreamState]:
        """One frame of B streams, see ``TrackNetwork.step``. Pictures that are no bytes are rounded to them."""
        if search.dtype != torch.uint8:
            search = search.round().clamp(0, 255).to(torch.uint8)
        feed: Arrays = {STATE + name: state[name].numpy() for name in self.reads}
        feed[SEARCH] = np.ascontiguousarray(search.permute(0, 2, 3, 1).numpy())
        answers = {n: torch.from_numpy(v) for n, v in zip(self.gives, self._run(feed), strict=True)}
        if commit:
            state.commit({name.removeprefix(NEXT): v for name, v in answers.items() if name.startswith(NEXT)})
        return candidates_of(answers), state

    def learn(self, features: Tensor, boxes: Tensor, state: StreamState) -> None:
        """See ``LearningNetwork.learn``; in torch where the exported form of it does not lie beside the step."""
        if self._learning is None:
            cast(LearningNetwork, self.network).learn(features, boxes, state)
            return
        path, reads, gives = self._learning
        feed = {STATE + name: state[name].numpy() for name in reads}
        feed |= {FEATURES: features.numpy(), BELIEVED: boxes.numpy()}
        answers = self._session(torch.get_num_threads(), path).run(None, feed)
        state.commit({name: torch.from_numpy(value) for name, value in zip(gives, answers, strict=True)})

    def learned(self, features: Tensor, boxes: Tensor, memory: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """In torch, see ``LearningNetwork.learned``."""
        return cast(LearningNetwork, self.network).learned(features, boxes, memory)

    def forward(self, template: Tensor, clip: Tensor, box: Tensor, *, first: Tensor | None = None) -> Any:
        """Whole clips, in torch, see ``TrackNetwork.forward``."""
        return self.network.forward(template, clip, box, first=first)

    def _find_learning(self) -> tuple[Path, list[str], list[str]] | None:
        """The exported form of ``learn``, what it reads and gives, where one of the same weights lies beside."""
        path = learning_beside(self.path)
        if not path.is_file():
            return None
        session = self._session(torch.get_num_threads(), path)
        if facts_of(session, path).get(_OF) != self.facts.get(_OF):
            return None
        inputs = [i.name for i in session.get_inputs()]
        reads = [name.removeprefix(STATE) for name in inputs if name.startswith(STATE)]
        return path, reads, [o.name.removeprefix(NEXT) for o in session.get_outputs()]

    def _run(self, feed: Arrays) -> list[npt.NDArray[Any]]:
        """All rows. One row has all threads; of several, each is one thread's from beginning to end.

        What lies between the layers of one row stays in a core's cache, and threads that do not share a row do not wait
        for each other: 16 rows take less time than one run of 16.
        """
        rows, threads = len(feed[SEARCH]), torch.get_num_threads()
        if rows == 1:
            return list(self._session(threads).run(None, feed))
        session = self._session(1)

        def run(row: int) -> list[npt.NDArray[Any]]:
            return list(session.run(None, {name: value[row : row + 1] for name, value in feed.items()}))

        if threads == 1:
            answers = [run(row) for row in range(rows)]
        else:
            with ThreadPoolExecutor(min(threads, rows)) as pool:
                answers = list(pool.map(run, range(rows)))
        return [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    def _session(self, threads: int, path: Path | None = None) -> Any:
        """A session on this many threads, which are fixed for its life."""
        key = path or self.path, threads
        if key not in self._sessions:
            self._sessions[key] = open_session(*key, self._providers)
        return self._sessions[key]


def learning_beside(path: Path) -> Path:
    """Where the exported form of ``learn`` lies, beside an exported step."""
    return path.with_suffix(".learn.onnx")


def onnxruntime_problem() -> str | None:
    """Why ONNX Runtime cannot be used, in one line; None where it can."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed: pip install onnxruntime"
    return None


def open_session(path: Path, threads: int, providers: list[str] | None = None) -> Any:
    """An ONNX Runtime session of a file, on this many threads that do not spin between frames.

    Raises:
        InputError: ONNX Runtime is missing, or it refuses the file.
    """
    problem = onnxruntime_problem()
    if problem is not None:
        raise InputError(problem)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers or ["CPUExecutionProvider"])
    except Exception as error:  # its classes are private to each version
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: ONNX Runtime refuses the file: {reason}") from None


def facts_of(session: Any, path: Path) -> Mapping[str, Any]:
    """What an exported step says of itself: model, weights_sha256, dtype, search_size.

    Raises:
        InputError: it is not one of ours.
    """
    held = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if held is None:
        raise InputError(f"{path} was not written by `onlinetada export`: it does not say which weights it is of")
    facts: Mapping[str, Any] = json.loads(held)
    return facts
