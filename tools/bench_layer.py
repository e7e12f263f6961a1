#!/usr/bin/env python3
"""Cost of calibrated convolution against (a) one grouped kernel a frame and (b) a plain convolution, in one run.

    python tools/bench_layer.py --threads 1 --out out/bench            # CPU
    python tools/bench_layer.py --device cuda --out out/bench_cuda     # GPU, and the graphed streaming step

All forms of a case are timed in turns, so that a change in the machine's load meets them alike; ratios are of the
median over the rounds. Writes bench_layer.csv and prints the table.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from onlinetada import OnlineTAdaConv2d
from onlinetada.functional import calibrated_conv2d

# (B, T, C, S, groups, kernel)
SHAPES = [
    (1, 8, 64, 56, 1, 3),
    (8, 8, 64, 56, 1, 3),
    (8, 8, 128, 28, 1, 3),
    (1, 8, 256, 14, 1, 3),
    (16, 8, 256, 14, 1, 3),
    (16, 8, 512, 7, 1, 3),
    (1, 1, 384, 30, 1, 3),
    (32, 1, 384, 30, 1, 3),
    (8, 8, 192, 28, 192, 7),
]
FIELDS = ["case", "cal_dim", "dtype", "layout", "mode", "plain_ms", "grouped_ms", "ours_ms", "vs_plain", "vs_grouped"]


def grouped_kernels(x: Tensor, weight: Tensor, alpha: Tensor, groups: int, cal_dim: str) -> Tensor:
    """The published form: N kernels, one convolution of N * groups groups."""
    n, _, height, width = x.shape
    # As published: factors kept channel by channel, (C, N), and broadcast over the one shared kernel.
    factors = alpha.t().contiguous().t()
    if cal_dim == "cout":
        kernels = factors[:, :, None, None, None] * weight[None]
    elif groups == 1:
        kernels = factors[:, None, :, None, None] * weight[None]
    else:  # the published code takes no groups here
        kernels = factors.view(n, groups, -1).repeat_interleave(weight.shape[0] // groups, 1)[..., None, None] * weight
    y = F.conv2d(x.reshape(1, -1, height, width), kernels.flatten(0, 1), None, 1, weight.shape[-1] // 2, 1, groups * n)
    return y.view(n, -1, height, width)


def cases(device: str, dtype: torch.dtype, channels_last: bool, train: bool) -> Iterator[tuple[str, str, dict]]:
    """Name, calibrated dimension, and the three forms as functions."""
    for (b, t, c, s, groups, k), cal_dim in itertools.product(SHAPES, ("cin", "cout")):
        n = b * t
        layout = torch.channels_last if channels_last else torch.contiguous_format
        x = torch.randn(n, c, s, s, device=device, dtype=dtype).contiguous(memory_format=layout)
        weight = torch.randn(c, c // groups, k, k, device=device, dtype=dtype).contiguous(memory_format=layout)
        alpha = (torch.rand(n, c, device=device) + 0.5).to(dtype)
        leaves = [v.requires_grad_(train) for v in (x, weight, alpha)]

        def run(form: Callable[[], Tensor], leaves: list[Tensor] = leaves) -> None:
            with torch.set_grad_enabled(train):
                y = form()
            if train:
                for leaf in leaves:
                    leaf.grad = None
                y.backward(y.detach())

        options = {"padding": k // 2, "groups": groups}
        forms = {
            "plain": lambda r=run, x=x, w=weight, o=options: r(lambda: F.conv2d(x, w, **o)),
            "grouped": lambda r=run, x=x, w=weight, a=alpha, g=groups, d=cal_dim: r(
                lambda: grouped_kernels(x, w, a, g, d)
            ),
            "ours": lambda r=run, x=x, w=weight, a=alpha, o=options, d=cal_dim: r(
                lambda: calibrated_conv2d(x, w, a, cal_dim=d, **o)
            ),
        }
        depthwise = f" depthwise {k}x{k}" if groups > 1 else ""
        yield f"({b},{t},{c},{s}){depthwise}", cal_dim, forms


def in_turns(forms: dict[str, Callable[[], None]], device: str, seconds: float) -> dict[str, float]:
    """Median milliseconds of each form; the forms take turns."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for form in forms.values():
        form()
    start, rounds = time.perf_counter(), 0
    while rounds < 5 or (time.perf_counter() - start < seconds and rounds < 400):
        for name, form in forms.items():
            times[name].append(_once(form, device))
        rounds += 1
    return {name: statistics.median(values) for name, values in times.items()}


def _once(form: Callable[[], None], device: str) -> float:
    if device != "cuda":
        start = time.perf_counter()
        form()
        return (time.perf_counter() - start) * 1e3
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    form()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def streaming_step(device: str, dtype: torch.dtype, seconds: float) -> dict[str, object]:
    """One frame through OnlineTAdaConv2d, descriptor and calibration included, against the plain convolution.

    On a GPU both are captured CUDA graphs, and the difference is given in microseconds.
    """
    torch.manual_seed(0)
    layer = OnlineTAdaConv2d(384, 384, 3, padding=1, device=device, dtype=dtype).eval()
    layer = layer.to(memory_format=torch.channels_last) if device == "cuda" else layer
    frame = torch.randn(1, 384, 30, 30, device=device, dtype=dtype)
    frame = frame.contiguous(memory_format=torch.channels_last) if device == "cuda" else frame
    state = layer.init_state(1)

    def plain() -> None:
        F.conv2d(frame, layer.weight, layer.bias, padding=1)

    def step() -> None:
        layer.step(frame, state)

    with torch.no_grad():
        forms = {"plain": plain, "ours": step}
        if device == "cuda":
            forms = {name: captured(form) for name, form in forms.items()}
        ms = in_turns(forms, device, seconds)
    print(
        f"streaming step (1,1,384,30) {_short(dtype)}: plain {ms['plain']:.3f} ms, step {ms['ours']:.3f} ms, "
        f"ratio {ms['ours'] / ms['plain']:.3f}, {1e3 * (ms['ours'] - ms['plain']):+.1f} us"
    )
    mode = "graphed step" if device == "cuda" else "step"
    return _row("(1,1,384,30)", "cin", dtype, "-", mode, ms)


def captured(form: Callable[[], None]) -> Callable[[], None]:
    """A CUDA graph of the form."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            form()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        form()
    return graph.replay


def _row(case: str, cal_dim: str, dtype: torch.dtype, layout: str, mode: str, ms: dict[str, float]) -> dict:
    grouped = ms.get("grouped")
    return {
        "case": case,
        "cal_dim": cal_dim,
        "dtype": _short(dtype),
        "layout": layout,
        "mode": mode,
        "plain_ms": round(ms["plain"], 4),
        "grouped_ms": "" if grouped is None else round(grouped, 4),
        "ours_ms": round(ms["ours"], 4),
        "vs_plain": round(ms["ours"] / ms["plain"], 3),
        "vs_grouped": "" if grouped is None else round(grouped / ms["ours"], 2),
    }


def _short(dtype: torch.dtype) -> str:
    return {torch.float32: "float32", torch.bfloat16: "bf16"}[dtype]


def main() -> None:
    """Run the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--dtypes", default="float32,bf16")
    parser.add_argument("--layouts", default=None, help="nchw, nhwc or both; default nchw on CPU, nhwc on a GPU")
    parser.add_argument("--modes", default="forward,train", help="forward, train (forward + backward)")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each line")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--out", type=Path, default=Path("out/bench_layer"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = True
    name = torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine()
    print(f"{name}, {args.threads} thread(s), torch {torch.__version__}")
    dtypes = {"float32": torch.float32, "bf16": torch.bfloat16}
    layouts = (args.layouts or ("nhwc" if args.device == "cuda" else "nchw")).split(",")
    rows = []
    chosen = itertools.product([dtypes[d] for d in args.dtypes.split(",")], layouts, args.modes.split(","))
    for dtype, layout, mode in chosen:
        for case, cal_dim, forms in cases(args.device, dtype, layout == "nhwc", mode == "train"):
            if args.only not in case:
                continue
            row = _row(case, cal_dim, dtype, layout, mode, in_turns(forms, args.device, args.seconds))
            rows.append(row)
            print("  ".join(f"{k} {v}" for k, v in row.items()), flush=True)
    for dtype in [dtypes[d] for d in args.dtypes.split(",")]:
        rows.append(streaming_step(args.device, dtype, args.seconds))
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "bench_layer.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {args.out / 'bench_layer.csv'}")


if __name__ == "__main__":
    main()
