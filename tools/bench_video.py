#!/usr/bin/env python3
"""Speed of TAda2D on clips, and of its online form frame by frame.

    python tools/bench_video.py --out docs/video/bench_cpu.csv
    python tools/bench_video.py --device cuda --dtype bf16 --batch 16 --out docs/video/bench_cuda.csv

Clips: our form, one grouped kernel a frame (the published form) and the same network without calibration; temporal
pooling is in all three. Live: a step of the online form (a captured CUDA graph on a GPU), and a sliding window, the
whole clip again for every new frame. Forms of a case take turns, so that the machine's load meets them alike; times are
medians.
"""

from __future__ import annotations

import argparse
import copy
import csv
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from bench_layer import captured, in_turns
from torch import Tensor, nn

import onlinetada
from onlinetada import TAdaConv2d
from onlinetada.video import VideoNetwork, build

FIELDS = ["case", "form", "ms", "frames_per_s", "vs_uncalibrated"]


def as_published(network: VideoNetwork) -> VideoNetwork:
    """The network with its calibrated layers in the grouped form."""
    made = copy.deepcopy(network)
    for module in made.modules():
        if isinstance(module, TAdaConv2d):
            module.advance = grouped_advance(module)
    return made


def grouped_advance(layer: TAdaConv2d) -> Callable[..., tuple[Tensor, dict]]:
    """`TAdaConv2d.advance` by one grouped convolution; only for what TAda2D has: cin, no bias, no groups."""

    def advance(x: Tensor, buffers: dict) -> tuple[Tensor, dict]:
        factors, new = layer.calibration.advance(x, buffers)
        alpha = factors.alpha.transpose(1, 2).flatten(0, 1).to(x.dtype)
        frames = x.transpose(1, 2).flatten(0, 1)
        kernels = (alpha[:, None, :, None, None] * layer.weight.to(x.dtype)[None]).flatten(0, 1)
        flat = frames.reshape(1, -1, *frames.shape[2:])
        y = nn.functional.conv2d(flat, kernels, None, layer.stride, layer.padding, 1, frames.shape[0])
        y = y.view(frames.shape[0], -1, *y.shape[2:])
        return y.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2), new

    return advance


def forms(args: argparse.Namespace) -> tuple[dict[str, Callable[[], None]], dict[str, Callable[[], None]]]:
    """Clips and live frames: name -> one run."""
    torch.manual_seed(0)
    dtype = {"float32": torch.float32, "bf16": torch.bfloat16}[args.dtype]

    def ready(network: nn.Module) -> nn.Module:
        network = network.eval().to(args.device, dtype)
        return network.to(memory_format=torch.channels_last) if args.device == "cuda" else network

    tada = build(args.network, num_classes=400)
    networks = {
        "calibrated": ready(tada),
        "grouped kernels": ready(as_published(tada)),
        "uncalibrated": ready(build(args.network, num_classes=400, source="none")),
    }
    shape = (args.batch, args.frames, 3, args.size, args.size)
    clip = torch.randn(shape, device=args.device, dtype=dtype).transpose(1, 2)  # frames whole in memory, as decoded
    clips = {name: (lambda n=n: _run(n, clip)) for name, n in networks.items()}
    if args.compile:
        fused = {name: torch.compile(n) for name, n in networks.items()}
        clips |= {f"{name}, compiled": (lambda n=n: _run(n, clip)) for name, n in fused.items()}
    online = ready(build(args.network, num_classes=400, online=True))
    plain = ready(build(args.network, num_classes=400, online=True, source="none", aggregation="none"))
    window, frame = clip[:1], clip[:1, :, 0].contiguous()
    live: dict[str, Callable[[], None]] = {"sliding window": lambda: _run(networks["calibrated"], window)}
    for name, network in {"online step": online, "uncalibrated": plain}.items():
        live[name] = stepper(network, frame, graphed=args.device == "cuda")
    return clips, live


def stepper(network: nn.Module, frame: Tensor, *, graphed: bool) -> Callable[[], None]:
    """One frame of one stream."""
    state = onlinetada.init_state(network, batch_size=1)

    def step() -> None:
        with torch.no_grad():
            onlinetada.step(network, frame, state)

    step()  # makes the buffers whose size the frame tells
    return captured(step) if graphed else step


def _run(network: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        network(x)


def write_page(table: Path, about: str) -> None:
    """The results as a page beside the CSV."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = ["# Speed of the video networks", "", f"Written by `python tools/bench_video.py`: {about}.", ""]
    lines += ["Live, the uncalibrated form has no temporal pooling either.", ""]
    lines += ["| case | form | ms | frames a second | time against the uncalibrated |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(row[name] for name in FIELDS) + " |" for row in rows]
    table.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="tada2d_r50", help="a TAda2D")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bf16"])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--batch", type=int, default=1, help="clips at a time")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each of the two cases")
    parser.add_argument("--compile", action="store_true", help="the clips' forms under torch.compile too")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = True
    device = torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine()
    about = (
        f"{args.network}, {args.batch} x {args.frames} frames of {args.size} x {args.size}, {args.dtype}, {device}, "
        f"{args.threads} thread(s), torch {torch.__version__}"
    )
    print(about)
    rows = []
    clips, live = forms(args)
    for case, count, made in (("clip", args.batch * args.frames, clips), ("live", 1, live)):
        times = in_turns(made, args.device, args.seconds)
        for form, ms in times.items():
            ratio = ms / times["uncalibrated"]
            rows.append(
                dict(zip(FIELDS, (case, form, f"{ms:.3f}", f"{1e3 * count / ms:.1f}", f"{ratio:.3f}"), strict=True))
            )
            print("  ".join(f"{k} {v}" for k, v in rows[-1].items()), flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    write_page(args.out, about)


if __name__ == "__main__":
    main()
