"""Steps in int8: weights and activations of the backbone's convolutions as bytes, scaled by what calibration saw."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy.typing as npt

from onlinetada.errors import InputError

Feed = dict[str, npt.NDArray[Any]]

# Their outputs are few and decide the box, or feed every later layer; in float they cost little. A name goes on with a
# slash where a module computes by itself, and begins with one where the network does, outside of its modules.
KEPT_FLOAT = ("head.", "head/", "grader.", "grader/", "/", "backbone.stem", "backbone.blocks.0")
_QUANTISED = ["Conv", "Clip", "Relu", "Add"]


def quantise(source: Path, path: Path, feeds: Iterable[Feed], *, keep: tuple[str, ...] = KEPT_FLOAT) -> int:
    """Write an exported float32 step as int8: static, weights a channel, activations a tensor (QDQ format).

    Args:
        source: what ``export.write_onnx`` wrote.
        path: of the file to write.
        feeds: inputs of the step that are like those it will see.
        keep: layers that stay float32, by the beginning of their names.

    Returns:
        The number of convolutions that became int8.

    Raises:
        InputError: nothing to quantise, or no calibration.
    """
    import onnx
    import onnxruntime
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    onnxruntime.set_default_logger_severity(3)  # it warns of what it tidies up itself
    feeds = list(feeds)
    if not feeds:
        raise InputError("int8 needs calibration material: no search region was found in it")
    with tempfile.TemporaryDirectory(prefix="onlinetada-") as folder:
        ready = Path(folder) / "ready.onnx"
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        nodes = onnx.load(str(ready)).graph.node
        kept = [node.name for node in nodes if node.name.startswith(keep)]
        changed = sum(node.op_type == "Conv" and node.name not in kept for node in nodes)
        if not changed:
            raise InputError("there is nothing to quantise in this network")
        quantize_static(
            str(ready),
            str(path),
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=_QUANTISED,
            nodes_to_exclude=kept,
        )
    return changed


class _Reader:
    """What ONNX Runtime's quantiser asks for calibration data."""

    def __init__(self, feeds: list[Feed]) -> None:
        self._feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)
