#!/usr/bin/env python3
"""Run an exported step with OpenVINO: read, compile, compare with ONNX Runtime, time, and keep as OpenVINO's own files.

onlinetada export compact --format onnx --out step.onnx
pip install openvino
python tools/openvino_step.py step.onnx --dtype bf16 --threads 1 --save step.xml
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onlinetada.errors import InputError
from onlinetada.trackers.bench.timing import in_turns
from onlinetada.trackers.runtime.session import open_session

_ROWS_SEED = 0


def example_feed(session: Any, batch: int) -> dict[str, np.ndarray]:
    """Inputs by chance, of the shapes and types that the step takes."""
    random = np.random.default_rng(_ROWS_SEED)
    feed = {}
    for wanted in session.get_inputs():
        shape = [batch, *wanted.shape[1:]]
        if wanted.type == "tensor(uint8)":
            feed[wanted.name] = random.integers(0, 256, shape, dtype=np.uint8)
        elif wanted.type == "tensor(int64)":
            feed[wanted.name] = np.ones(shape, np.int64)
        else:
            feed[wanted.name] = random.standard_normal(shape).astype(np.float32)
    return feed


def main() -> int:
    """Exit status 2 where OpenVINO is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", type=Path, help="what `onlinetada export --format onnx` wrote")
    parser.add_argument("--dtype", choices=("f32", "bf16", "f16"), default="f32", help="precision of the inference")
    parser.add_argument("--device", default="CPU", help="OpenVINO's name of it: CPU, GPU, NPU")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--save", type=Path, metavar="FILE.xml", help="keep the converted model")
    args = parser.parse_args()
    try:
        import openvino
    except ImportError:
        print("openvino_step: pip install openvino", file=sys.stderr)
        return 2
    torch.set_num_threads(args.threads)
    try:
        session = open_session(args.step, args.threads)
    except InputError as error:
        print(f"openvino_step: {error}", file=sys.stderr)
        return 2
    feed = example_feed(session, args.batch)
    core = openvino.Core()
    model = core.read_model(args.step)
    if args.save is not None:
        openvino.save_model(model, args.save)
    model.reshape({name: list(value.shape) for name, value in feed.items()})
    options = {
        "INFERENCE_NUM_THREADS": args.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": args.dtype,
    }
    request = core.compile_model(model, args.device, options if args.device == "CPU" else {}).create_infer_request()
    wanted = session.run(None, feed)
    given = request.infer(feed)
    for index, output in enumerate(session.get_outputs()):
        difference = np.abs(np.asarray(given[index], dtype=np.float64) - wanted[index]).max()
        print(f"{output.name}: largest difference from ONNX Runtime {difference:.3g}")
    forms = {"onnxruntime": lambda: session.run(None, feed), f"openvino {args.dtype}": lambda: request.infer(feed)}
    for name, latency in in_turns(forms, device=torch.device("cpu"), seconds=args.seconds).items():
        print(f"{name}: p50 {latency.p50_ms:.2f} ms, p95 {latency.p95_ms:.2f}, {latency.samples} calls")
    return 0


if __name__ == "__main__":
    sys.exit(main())
