"""Rewriting an exported graph so that runtimes do less: same numbers, fewer passes over the picture."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np

_SCOPES = "pkg.torch.onnx.name_scopes"  # the exporter's note of the modules around an operation


def read_bytes_directly(model: Any) -> bool:
    """Make cast, subtraction and division at the graph's beginning one operation, which int8 runtimes then drop.

    ``(float(bytes) - zero) / scale`` with a whole zero is what DequantizeLinear does. In place.

    Args:
        model: an ONNX model.

    Returns:
        Whether the graph began so.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    constants |= {
        n.output[0]: numpy_helper.to_array(n.attribute[0].t)
        for n in graph.node
        if n.op_type == "Constant" and n.attribute[0].name == "value"
    }
    cast = next((n for n in graph.node if n.op_type == "Cast"), None)
    minus = _only_user(graph, cast, "Sub")
    over = _only_user(graph, minus, "Div")
    if cast is None or minus is None or over is None:
        return False
    zero, scale = constants.get(minus.input[1]), constants.get(over.input[1])
    if zero is None or scale is None or zero.size != 1 or scale.size != 1 or not float(zero.item()).is_integer():
        return False
    names = f"{over.output[0]}.scale", f"{over.output[0]}.zero"
    values = np.float32(scale.item() ** -1), np.uint8(zero.item())
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in zip(names, values, strict=True))
    whole = helper.make_node("DequantizeLinear", [cast.input[0], *names], [over.output[0]], name="pixels")
    at = list(graph.node).index(cast)
    for node in (cast, minus, over):
        graph.node.remove(node)
    graph.node.insert(at, whole)
    return True


def plain(model: Any) -> None:
    """Drop what the exporter notes of its own doing: stack traces with the paths of the machine."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]


def name_after_modules(model: Any) -> None:
    """Name nodes after the modules they come from, ``backbone.blocks.3.expand/Conv``, once each. In place.

    Layers can then be chosen by name, and profiles can be read.
    """
    seen: dict[str, int] = {}
    for node in model.graph.node:
        noted = {prop.key: prop.value for prop in node.metadata_props}.get(_SCOPES)
        modules = [name for name in ast.literal_eval(noted)[:-1] if name] if noted else []
        where = modules[-1].removeprefix("network").lstrip(".") if modules else ""
        name = f"{where}/{node.op_type}"
        seen[name] = seen.get(name, 0) + 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"


def _only_user(graph: Any, node: Any, op_type: str) -> Any:
    """The node that alone takes another's output, if it is of this type."""
    if node is None:
        return None
    users = [n for n in graph.node if node.output[0] in n.input]
    return users[0] if len(users) == 1 and users[0].op_type == op_type else None
