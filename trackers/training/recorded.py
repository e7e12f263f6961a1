"""A training step's loss and gradients as one CUDA graph: the host hands out one piece of work, not thousands."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Loss = Callable[[nn.Module, Any], tuple[Tensor, Tensor]]

_WARM_UP = 3  # compilers compile, libraries choose and set themselves up


def gradients(loss: Loss, network: nn.Module, batch: Any) -> Tensor:
    """Leave the gradients of a batch in the parameters; what the job reports comes back."""
    total, parts = loss(network, batch)
    total.backward()
    return parts.detach()


class Recorded:
    """``gradients`` of a loss that does the same to every batch, recorded after a few calls and then replayed.

    Gradients must be None before each call, as ``zero_grad`` leaves them. What cannot be recorded goes on as it is,
    with a warning.

    Args:
        loss: of batches that are dataclasses of tensors on one GPU, always of the same shapes.
    """

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._side = torch.cuda.Stream()
        self._calls = 0
        self._replay: Callable[[Any], Tensor] | None = None

    @property
    def recorded(self) -> bool:
        """Whether calls are replayed by now."""
        return self._replay is not None

    def __call__(self, network: nn.Module, batch: Any) -> Tensor:
        """See ``gradients``."""
        self._calls += 1
        if self._calls == _WARM_UP + 1:
            self._replay = self._record(network, batch)
        return self._as_it_is(network, batch) if self._replay is None else self._replay(batch)

    def _as_it_is(self, network: nn.Module, batch: Any) -> Tensor:
        """On the stream that will be recorded: what autograd ties to a stream must not be tied to another one."""
        current = torch.cuda.current_stream()
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            parts = gradients(self._loss, network, batch)
        current.wait_stream(self._side)
        return parts

    def _record(self, network: nn.Module, batch: Any) -> Callable[[Any], Tensor] | None:
        names = [field.name for field in dataclasses.fields(batch)]
        held = dataclasses.replace(batch, **{name: getattr(batch, name).clone() for name in names})
        graph = torch.cuda.CUDAGraph()
        try:
            # the thread that makes batches goes on meanwhile, which must not spoil the recording
            with torch.cuda.graph(graph, stream=self._side, capture_error_mode="thread_local"):
                parts = gradients(self._loss, network, held)
        except RuntimeError as error:
            for parameter in network.parameters():
                parameter.grad = None
            warnings.warn(
                f"training steps are not recorded: {str(error).splitlines()[0]}", RuntimeWarning, stacklevel=3
            )
            return None
        found = [(p, p.grad) for p in network.parameters() if p.grad is not None]

        def replay(batch: Any) -> Tensor:
            for name in names:
                getattr(held, name).copy_(getattr(batch, name))
            graph.replay()
            for parameter, gradient in found:
                parameter.grad = gradient
            return parts.clone()  # the next replay writes over them

        return replay
