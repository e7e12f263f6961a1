"""Writing one step of a tracking network to a file: ONNX or torch.export, state in and state out.

Inputs are ``search``, the bytes of the crops (B, R, R, 3), and ``state.<buffer>`` for the buffers of the state; outputs
are ``boxes``, ``scores``, ``similarity`` where the network has it, and ``next.<buffer>`` for the buffers that a step
writes. The batch is dynamic. Beside the file lie the weights that begin streams and their card.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from onlinetada.errors import InputError
from onlinetada.export import need_packages, quiet_exporter
from onlinetada.state import StreamState
from onlinetada.trackers.models.checkpoint import read_state_dict
from onlinetada.trackers.models.network import TrackNetwork
from onlinetada.trackers.runtime.graph import FEATURES, LearnStep, TrackStep
from onlinetada.trackers.runtime.session import METADATA, learning_beside

_OPSET = 18
_LARGEST_BATCH = 4096


def file_sha256(path: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_onnx(network: TrackNetwork, path: Path, *, facts: Mapping[str, Any]) -> Path:
    """Write one step as ONNX in float32.

    Args:
        network: in evaluation mode, on the CPU.
        path: of the file to write.
        facts: kept in the file, see ``session.facts_of``.

    Raises:
        InputError: onnx or onnxscript are missing.
    """
    need_packages("onnx", "onnxscript")
    import onnx

    from onlinetada.trackers.runtime.rewrite import name_after_modules, plain, read_bytes_directly

    graph = TrackStep(network).eval()
    inputs = (graph.search, *(buffer.clone() for buffer in graph.example.values()))
    model = _onnx_model(graph, inputs, _dynamic_rows(graph))
    name_after_modules(model)
    read_bytes_directly(model)
    plain(model)
    note(model, facts)
    onnx.save(model, str(path))
    return path


def write_learning(network: TrackNetwork, path: Path, *, facts: Mapping[str, Any]) -> Path | None:
    """Write what a network learns from a frame as ONNX beside its step; None where it learns nothing.

    Args:
        network: in evaluation mode, on the CPU.
        path: of the exported step.
        facts: kept in the file.
    """
    import onnx

    from onlinetada.trackers.runtime.rewrite import plain

    step = TrackStep(network)
    beside = learning_beside(path)
    if FEATURES not in step.outputs:
        beside.unlink(missing_ok=True)  # of another network that was written here before
        return None
    graph = LearnStep(step).eval()
    rows = torch.export.Dim("batch", min=1, max=_LARGEST_BATCH)
    model = _onnx_model(graph, graph.example, ({0: rows}, {0: rows}, tuple({0: rows} for _ in graph.example[2:])))
    plain(model)
    note(model, facts)
    onnx.save(model, str(beside))
    return beside


def _onnx_model(graph: TrackStep | LearnStep, inputs: tuple[torch.Tensor, ...], rows: Any) -> Any:
    with torch.no_grad(), quiet_exporter():
        program = torch.onnx.export(
            graph,
            inputs,
            dynamo=True,
            opset_version=_OPSET,
            input_names=graph.input_names,
            output_names=graph.output_names,
            dynamic_shapes=rows,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx gave no program")
    return program.model_proto


def write_program(network: TrackNetwork, path: Path, *, facts: Mapping[str, Any]) -> Path:
    """Write one step with ``torch.export`` (.pt2). Arguments as `write_onnx`."""
    graph = TrackStep(network).eval()
    inputs = (graph.search, *(buffer.clone() for buffer in graph.example.values()))
    with torch.no_grad():
        program = torch.export.export(graph, inputs, dynamic_shapes=_dynamic_rows(graph))
    names = {"inputs": graph.input_names, "outputs": graph.output_names}
    with quiet_exporter():
        torch.export.save(program, str(path), extra_files={METADATA: json.dumps({**facts, **names})})
    return path


def note(model: Any, facts: Mapping[str, Any]) -> None:
    """Keep facts in an ONNX model."""
    kept = {prop.key: prop.value for prop in model.metadata_props} | {METADATA: json.dumps(dict(facts))}
    del model.metadata_props[:]
    for key, value in kept.items():
        model.metadata_props.add(key=key, value=value)


def put_beside(weights: Path, out: Path) -> Path:
    """Put the weights, as safetensors, and their card next to an exported step under its name.

    Raises:
        InputError: other weights lie there.
    """
    from safetensors.torch import load_file, save_file

    beside = out.with_suffix(".safetensors")
    if beside.resolve() == weights.resolve():
        return beside
    tensors = {name: tensor.contiguous() for name, tensor in read_state_dict(weights).items()}
    if beside.exists():
        held = load_file(beside)
        if held.keys() != tensors.keys() or any(not torch.equal(held[name], tensors[name]) for name in held):
            raise InputError(f"{beside} holds other weights: give another --out, or remove it")
    elif weights.suffix == ".safetensors":
        shutil.copyfile(weights, beside)
    else:
        save_file(tensors, beside)
    card = weights.with_suffix(".json")
    if card.is_file():
        shutil.copyfile(card, out.with_suffix(".json"))
    return beside


@torch.no_grad()
def deviation(network: TrackNetwork, exported: TrackNetwork) -> tuple[float, float]:
    """How far an exported step is from its network's on noise: largest difference of scores, and of the best boxes.

    The boxes' is in pixels of the crop.
    """
    graph = TrackStep(network)
    search = graph.search.permute(0, 3, 1, 2)
    states = [StreamState.of({n: b.clone() for n, b in graph.example.items()}, len(search)) for _ in range(2)]
    wanted, _ = network.step(search.float(), states[0])
    given, _ = exported.step(search, states[1])
    best = wanted.scores.argmax(1)
    rows = torch.arange(len(best))
    boxes = (wanted.boxes - given.boxes)[rows, best].abs().max()
    return float((wanted.scores - given.scores).abs().max()), float(boxes)


def _dynamic_rows(graph: TrackStep) -> Any:
    rows = torch.export.Dim("batch", min=1, max=_LARGEST_BATCH)
    return ({0: rows}, tuple({0: rows} for _ in graph.example))
