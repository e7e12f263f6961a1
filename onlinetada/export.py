"""One step of a live model as a file: ONNX or torch.export, with the state as named inputs and outputs.

    export_onnx(model, frame, "step.onnx")
    step = load_step("step.onnx")                  # ONNX Runtime; .pt2 files run in torch
    state = step.init_state(batch_size=3)
    y, state = step.step(frame, state)             # as layer.step

Inputs are ``frame`` and the buffers of the state under their own names, outputs ``output`` (``output_0``, ... for
several) and ``next.<buffer>``. The batch is dynamic. Frozen rows are the caller's business: `ExportedStep` keeps them.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from onlinetada.errors import InputError
from onlinetada.state import StreamState
from onlinetada.streaming import advance, init_state, step

NEXT = "next."


class StepGraph(nn.Module):
    """A model's step as a pure function of tensors: (frame, *buffers) -> (*outputs, *next buffers).

    Args:
        model: in eval mode, with causal temporal modules.
        frame: (B, C, H, W) example; buffers that keep whole frames take their size from it.
    """

    def __init__(self, model: nn.Module, frame: Tensor) -> None:
        super().__init__()
        if model.training:
            raise InputError("the model is in training mode: call model.eval() before exporting")
        self.model = model
        state = init_state(model, frame.shape[0], device=frame.device)
        with torch.no_grad():
            output, _ = step(model, frame, state)  # also makes the buffers whose size the frame tells
        self.example = {name: torch.zeros_like(b) for name, b in state.buffers.items()}
        if not self.example:
            raise InputError("the model has no state to export; export it as an ordinary network")
        self.num_outputs = len(_as_tuple(output))

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs proper."""
        return ["output"] if self.num_outputs == 1 else [f"output_{i}" for i in range(self.num_outputs)]

    def forward(self, frame: Tensor, *buffers: Tensor) -> tuple[Tensor, ...]:
        """One step; nothing is written."""
        state = StreamState.of(dict(zip(self.example, buffers, strict=True)), frame.shape[0], frame.device)
        output, new = advance(self.model, frame, state)
        return (*_as_tuple(output), *(new[name] for name in self.example))


class _Runner(Protocol):
    def __call__(self, frame: Tensor, buffers: Mapping[str, Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]: ...


class ExportedStep:
    """An exported step with the API of a layer: ``init_state`` and ``step``. Made by `load_step`."""

    def __init__(self, run: _Runner, buffers: Mapping[str, tuple[list[int], torch.dtype]]) -> None:
        self._run = run
        self.buffers = dict(buffers)

    def init_state(self, batch_size: int = 1, *, device: torch.device | str = "cpu") -> StreamState:
        """State of B streams that have not begun."""
        made = {
            name: torch.zeros(batch_size, *shape, dtype=dtype, device=device)
            for name, (shape, dtype) in self.buffers.items()
        }
        return StreamState.of(made, batch_size, device)

    def step(self, frame: Tensor, state: StreamState, *, commit: bool = True) -> tuple[Any, StreamState]:
        """The next frame (B, C, H, W) of B streams; the state is written in place unless ``commit`` is false.

        Returns:
            The output (a tuple where the model gives several) and the same state object.
        """
        if frame.shape[0] != state.batch_size:
            raise InputError(f"the frame has {frame.shape[0]} streams, the state has {state.batch_size}")
        if state.buffers.keys() != self.buffers.keys():
            raise InputError("the state is of another model: its buffers have other names")
        outputs, new = self._run(frame, state.buffers)
        if commit:
            state.commit(new)
        return (outputs[0] if len(outputs) == 1 else tuple(outputs)), state


def export_onnx(model: nn.Module, frame: Tensor, path: str | Path, *, opset: int = 18) -> Path:
    """Write one step of ``model`` as ONNX, with a dynamic batch.

    Args:
        model: in eval mode; a layer or a whole network.
        frame: (B, C, H, W) example of a frame; H and W are fixed by it.
        path: of the file to write.
        opset: ONNX opset.
    """
    need_packages("onnx", "onnxscript")
    graph, frame, buffers = _prepared(model, frame)
    names = list(graph.example)
    path = Path(path)
    with torch.no_grad(), quiet_exporter():
        program = torch.onnx.export(
            graph,
            (frame, *buffers),
            dynamo=True,
            opset_version=opset,
            input_names=["frame", *names],
            output_names=[*graph.output_names, *(NEXT + n for n in names)],
            dynamic_shapes=_dynamic_batch(len(names)),
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx gave no program")
    program.save(str(path))
    return path


def export_program(model: nn.Module, frame: Tensor, path: str | Path) -> Path:
    """Write one step of ``model`` with ``torch.export`` (.pt2), with a dynamic batch. Arguments as `export_onnx`."""
    graph, frame, buffers = _prepared(model, frame)
    with torch.no_grad():
        program = torch.export.export(graph, (frame, *buffers), dynamic_shapes=_dynamic_batch(len(buffers)))
    spec = {n: [list(b.shape[1:]), str(b.dtype).removeprefix("torch.")] for n, b in graph.example.items()}
    torch.export.save(program, str(path), extra_files={"state.json": json.dumps(spec)})
    return Path(path)


def load_step(path: str | Path, *, providers: list[str] | None = None) -> ExportedStep:
    """Open an exported step: .onnx with ONNX Runtime, .pt2 with torch.

    Args:
        path: what `export_onnx` or `export_program` wrote.
        providers: ONNX Runtime's execution providers; by default the CPU's.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"there is no file {path}")
    if path.suffix == ".onnx":
        return _load_onnx(path, providers or ["CPUExecutionProvider"])
    if path.suffix == ".pt2":
        return _load_program(path)
    raise InputError(f"{path.name}: an exported step ends in .onnx or .pt2")


def _load_onnx(path: Path, providers: list[str]) -> ExportedStep:
    need_packages("onnxruntime")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=providers)
    types = {"tensor(float)": torch.float32, "tensor(int64)": torch.int64, "tensor(float16)": torch.float16}
    spec = {i.name: (list(i.shape[1:]), types[i.type]) for i in session.get_inputs() if i.name != "frame"}
    names = [o.name for o in session.get_outputs()]

    def run(frame: Tensor, buffers: Mapping[str, Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
        feed = {"frame": frame.numpy(force=True), **{n: b.numpy(force=True) for n, b in buffers.items()}}
        out = {n: torch.from_numpy(v) for n, v in zip(names, session.run(None, feed), strict=True)}
        new = {n: out.pop(NEXT + n) for n in buffers}
        return list(out.values()), new

    return ExportedStep(run, spec)


def _load_program(path: Path) -> ExportedStep:
    extra = {"state.json": ""}
    module = torch.export.load(str(path), extra_files=extra).module()
    if not extra["state.json"]:
        raise InputError(f"{path.name} was not written by onlinetada.export: it does not describe its state")
    spec = {n: (shape, getattr(torch, dtype)) for n, (shape, dtype) in json.loads(extra["state.json"]).items()}

    def run(frame: Tensor, buffers: Mapping[str, Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
        with torch.no_grad():
            out = module(frame, *(buffers[n] for n in spec))
        return list(out[: -len(spec)]), dict(zip(spec, out[-len(spec) :], strict=True))

    return ExportedStep(run, spec)


def _prepared(model: nn.Module, frame: Tensor) -> tuple[StepGraph, Tensor, list[Tensor]]:
    """The graph and example inputs of two streams, since a batch of one would be taken as fixed."""
    frame = frame[:1].repeat(2, *[1] * (frame.dim() - 1))
    graph = StepGraph(model, frame).eval()
    return graph, frame, [b.clone() for b in graph.example.values()]


def _dynamic_batch(num_buffers: int) -> Any:
    batch = torch.export.Dim("batch", min=1, max=4096)
    return ({0: batch}, tuple({0: batch} for _ in range(num_buffers)))


def _as_tuple(output: Any) -> tuple[Tensor, ...]:
    if isinstance(output, Tensor):
        return (output,)
    if isinstance(output, dict):
        output = output.values()
    flat = tuple(output)
    if not all(isinstance(o, Tensor) for o in flat):
        raise InputError("the model's output must be a tensor, or a flat tuple, list or dict of tensors")
    return flat


def need_packages(*packages: str) -> None:
    """Refuse, with what to install, where a package is missing."""
    missing = [p for p in packages if importlib.util.find_spec(p) is None]
    if missing:
        raise InputError(f"this needs {' and '.join(missing)}: pip install 'onlinetada[export]'")


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """The exporter explains itself at length on standard output and in warnings; errors still raise."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
