"""Batches made ahead of the training that uses them."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
_POLL_S = 0.1


def ahead(batches: Iterator[T], device: torch.device, *, depth: int = 2) -> Generator[T, None, None]:
    """The same batches in the same order, made by a thread of their own; on a GPU also on a stream of their own.

    Neither side waits for the GPU: the training's stream waits there for the event that ends a batch.

    Args:
        batches: dataclasses of tensors on ``device``. Nobody else may draw from it until this generator is closed.
        device: that makes and uses them.
        depth: how many may be ready at a time; 0 makes each one when it is asked for.
    """
    if not depth:
        yield from batches
        return
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()
    worker = threading.Thread(target=_work, args=(batches, device, ready, stopped), daemon=True, name="batches")
    worker.start()
    try:
        while True:
            made, error = ready.get()
            if error is not None:
                raise error
            if made is None:
                return
            yield _taken_over(*made)
    finally:
        stopped.set()
        worker.join()


def _work(batches: Iterator[Any], device: torch.device, ready: queue.Queue[Any], stopped: threading.Event) -> None:
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None
    try:
        with torch.cuda.stream(stream):  # None: no change
            for batch in batches:
                _put(((batch, None if stream is None else stream.record_event()), None), ready, stopped)
                if stopped.is_set():
                    return
        _put((None, None), ready, stopped)
    except BaseException as error:
        _put((None, error), ready, stopped)


def _put(thing: Any, ready: queue.Queue[Any], stopped: threading.Event) -> None:
    while not stopped.is_set():
        try:
            ready.put(thing, timeout=_POLL_S)
            return
        except queue.Full:
            continue


def _taken_over(batch: Any, made: torch.cuda.Event | None) -> Any:
    """A batch that the current stream may use from now on."""
    if made is not None:
        stream = torch.cuda.current_stream()
        stream.wait_event(made)
        for field in dataclasses.fields(batch):
            value = getattr(batch, field.name)
            if isinstance(value, Tensor):
                value.record_stream(stream)  # its memory is not given to the other stream before this one is done
    return batch
