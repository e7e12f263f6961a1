"""One step of a tracking network as a pure function of tensors: what is exported, and what a CUDA graph captures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from onlinetada.errors import InputError
from onlinetada.export import NEXT
from onlinetada.state import StreamState
from onlinetada.trackers.models.network import Candidates, LearningNetwork, TrackNetwork

SEARCH = "search"
FEATURES, BELIEVED = "features", "believed"
CANDIDATES = ("boxes", "scores", "similarity", FEATURES, "parts", "answers")
STATE = "state."  # before the names of buffers that go in, which could be those of values inside
_EXAMPLE_ROWS = 2  # a batch of one would be taken as fixed


class TrackStep(nn.Module):
    """``network.step`` as (search, *buffers) -> (boxes, scores, other candidates there are, *buffers that it writes).

    The search regions come as the bytes of the crops, (B, R, R, 3), so that nothing is converted outside. Frozen rows
    are the caller's business.

    Args:
        network: in evaluation mode.

    Attributes:
        example: one search region a row, and a state, of two rows.
        outputs: names of the outputs proper.
        written: names of the buffers that a step writes.
    """

    def __init__(self, network: TrackNetwork) -> None:
        super().__init__()
        if getattr(network, "training", False):
            raise InputError("the network is in training mode: call eval() before exporting")
        self.network = network
        with torch.inference_mode(False), torch.no_grad():  # inference tensors do not count how often they are written
            self._run_example(network)

    def _run_example(self, network: TrackNetwork) -> None:
        state = example_state(network)
        size = network.geometry.search_size
        pixels = torch.Generator().manual_seed(0)
        self.search = torch.randint(0, 256, (_EXAMPLE_ROWS, size, size, 3), dtype=torch.uint8, generator=pixels)
        self.search = self.search.to(state.device)
        self.example = {name: buffer.clone() for name, buffer in state.buffers.items()}
        before = {name: buffer.clone() for name, buffer in self.example.items()}
        with torch.no_grad():
            candidates, after = network.step(
                as_frames(self.search), StreamState.of(before, _EXAMPLE_ROWS, state.device)
            )
        # a clone that nobody wrote to is still at version 0
        self.written = [n for n, b in after.buffers.items() if b is not before[n] or b._version > 0]
        self.outputs = [name for name in CANDIDATES if getattr(candidates, name) is not None]

    @property
    def input_names(self) -> list[str]:
        """Of the graph."""
        return [SEARCH, *(STATE + name for name in self.example)]

    @property
    def output_names(self) -> list[str]:
        """Of the graph."""
        return [*self.outputs, *(NEXT + name for name in self.written)]

    def forward(self, search: Tensor, *buffers: Tensor) -> tuple[Tensor, ...]:
        """One step; nothing that came in is written."""
        rows = search.shape[0]
        copies = {name: buffer.clone() for name, buffer in zip(self.example, buffers, strict=True)}
        candidates, state = self.network.step(as_frames(search), StreamState.of(copies, rows, search.device))
        answers = [getattr(candidates, name) for name in self.outputs]
        return (*answers, *(state[name] for name in self.written))


class LearnStep(nn.Module):
    """``network.learned`` as (features, believed, *buffers) -> new buffers, for networks that learn.

    Args:
        step: of the same network; its example is this one's.

    Attributes:
        example: arguments of two rows.
        written: names of the buffers that are learned.
    """

    def __init__(self, step: TrackStep) -> None:
        super().__init__()
        self.network = cast(LearningNetwork, step.network)
        self._names = list(step.example)
        state = StreamState.of({n: b.clone() for n, b in step.example.items()}, _EXAMPLE_ROWS, step.search.device)
        with torch.no_grad():
            features = step.network.step(as_frames(step.search), state)[0].features
            assert features is not None  # noqa: S101  the caller has looked
            believed = torch.tensor([[3.0, -2.0, 40.0, 50.0]] * _EXAMPLE_ROWS, device=features.device)
            self.example = (features, believed, *step.example.values())
            self.written = list(self.network.learned(features, believed, step.example))

    @property
    def input_names(self) -> list[str]:
        """Of the graph."""
        return [FEATURES, BELIEVED, *(STATE + name for name in self._names)]

    @property
    def output_names(self) -> list[str]:
        """Of the graph."""
        return [NEXT + name for name in self.written]

    def forward(self, features: Tensor, believed: Tensor, *buffers: Tensor) -> tuple[Tensor, ...]:
        """Nothing that came in is written."""
        learned = self.network.learned(features, believed, dict(zip(self._names, buffers, strict=True)))
        return tuple(learned[name] for name in self.written)


def as_frames(search: Tensor) -> Tensor:
    """Bytes (B, R, R, 3) as the floats (B, 3, R, R) that networks take, channels last in memory."""
    return search.permute(0, 3, 1, 2).float()


def example_state(network: TrackNetwork) -> StreamState:
    """The state of two streams that began on noise, to see what a network remembers."""
    geometry = network.geometry
    device = next(iter(network.parameters()), torch.zeros(0)).device if isinstance(network, nn.Module) else None
    pixels = torch.Generator().manual_seed(1)
    template, search = (
        torch.randint(0, 256, (_EXAMPLE_ROWS, 3, side, side), generator=pixels).float().to(device)
        for side in (geometry.template_size, geometry.search_size)
    )
    middle, side = geometry.template_size / 2, geometry.template_size / 3
    with torch.no_grad():
        return network.start(
            template, search, torch.tensor([[middle, middle, side, side]] * _EXAMPLE_ROWS, device=device)
        )


def candidates_of(answers: Mapping[str, Tensor]) -> Candidates:
    """What a step answered, by the names of `TrackStep.outputs`."""
    return Candidates(*(answers.get(name) for name in CANDIDATES))  # type: ignore[arg-type]  # the first two are there
