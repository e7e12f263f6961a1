#!/usr/bin/env python3
"""Write docs/speed.md: every figure there comes from a file under docs/bench/speed.

python tools/speed_page.py

Each folder there is what ``onlinetada bench --out`` wrote; ``fast_paths.json`` is of ``tools/fast_paths.py``.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "bench" / "speed"
# folder -> title, and what was run
RUNS = {
    "default_1": ("The default model and its peers, one thread", "onlinetada bench --threads 1 --peers ... --growth"),
    "default_2": ("The default model, two threads", "onlinetada bench --threads 2"),
    "default_2_batch16": ("16 targets in one stream, two threads", "onlinetada bench --threads 2 --batch 16"),
    "default_h200": (
        "The default model on a GPU (the bench of `tctrack` ran beside it: upper bounds)",
        "onlinetada bench --device cuda --seconds 2",
    ),
    "tctrack_1_float32": (
        "`tctrack` and the published code, one thread",
        "onlinetada bench --model tctrack --random-weights --threads 1 --published DIR",
    ),
    "tctrack_1_bf16": (
        "`tctrack` in bfloat16, one thread",
        "onlinetada bench --model tctrack --random-weights --threads 1 --dtype bf16 --published DIR",
    ),
    "tctrack_h200": (
        "`tctrack` on a GPU (the bench of the default model ran beside it: upper bounds)",
        "onlinetada bench --device cuda --model tctrack --random-weights --seconds 2",
    ),
}
COLUMNS = ("subject", "stage", "runtime", "dtype", "batch", "frame", "p50_ms", "p95_ms", "p99_ms", "targets_per_s")
HEAD = """# Speed

Tables on this page are written by `python tools/speed_page.py` from files under `docs/bench/speed`. Measure your own
machine:

```console
onlinetada bench --threads 1                               # whole updates at 720p, and their stages
onlinetada bench --threads 2 --batch 16                    # 16 targets in one stream
onlinetada bench --peers opencv-mil,opencv-nano=FOLDER     # OpenCV's trackers on the same frames, in the same run
onlinetada bench --growth --out out                        # against batch, frame size, length of the stream
onlinetada bench --model tctrack --random-weights --published TCTRACK_COPY
```

What is compared is timed in turns, so that a load that comes and goes meets all alike. Frames lie in memory; nothing
is decoded. `--out` gets `bench.csv`, `bench.json` (the machine, and how busy it was) and `bench.png`. Times on a busy
machine are too long, and the command says so.

## What computes

| device | `--runtime auto` takes |
| --- | --- |
| CPU | ONNX Runtime, with the exported step that lies beside the weights |
| GPU | one CUDA graph of crop, network, decoding, choice, learning and state update |

Where no step lies beside the weights, or one of other weights (a warning says so), torch computes. Graphs are made at
batch sizes 1, 2, 4 and so on; each is compared once with the same step run plainly, which takes its place where they
differ or nothing can be captured. `--runtime torch` switches both off.

`--dtype bf16` lets the backbone compute in bfloat16, in torch; heads and decoding stay float32. It pays where the
processor has bfloat16 instructions (`avx512_bf16`, AMX) and on GPUs. There, float32 is what PyTorch makes of it:
convolutions in TF32. `--threads` sets the threads of torch, OpenCV and ONNX Runtime.
Of several targets, each is one thread's from beginning to end.

The step that ships is int8 where that pays: the backbone's convolutions after its first block, scaled by what
calibration on training video saw; the first layers and the head stay float32. On processors without int8 instructions
(VNNI) a float32 step may be faster: export one.

## Export

```console
onlinetada export compact --format onnx --out step.onnx                 # float32
onlinetada export compact --format onnx --dtype int8 --calibration LABELLED_VIDEO --out step.onnx
onlinetada export compact --format pt2 --out step.pt2                   # torch.export
onlinetada track video.mp4 --init 300,200,60,40 --weights step.onnx
```

Beside the file lie the weights that begin streams, their card and, for a network whose memory learns,
`NAME.learn.onnx`, which takes `features` of a step and the box that is `believed` to the buffers that are new; all of
them travel together. Without the last, torch learns. Inputs are `search`, the
bytes of the crops (B, R, R, 3) in the network's channel order, and `state.NAME` for each buffer of the state; outputs
are `boxes`, `scores`, `similarity` where the network has it, and `next.NAME` for the buffers that a step writes. The
batch is dynamic. The crop is not in the file. Writing needs `pip install 'onlinetada[export]'`.

`python tools/openvino_step.py step.onnx` compares and times OpenVINO; `tools/tensorrt_step.sh step.onnx step.engine`
builds a TensorRT engine with `trtexec`.
"""
NOT_RUN = """## On a GPU, and what has not been run

The tests of tracking and of streaming layers that are marked `gpu` pass on an H200: the graph of a whole step gives the
boxes of the plain path there, and layers replay as graphs. `tools/bench_gpu.sh OUT DEV [TCTRACK_COPY]` runs what else
needs a GPU, and has not been run to its end: captured and plain, float32 and bfloat16, batches of 16 and 64, and
evaluation in lockstep against one run at a time (`tools/bench_lockstep.py`). Neither has `tools/tensorrt_step.sh`. What
bfloat16 does to the boxes of trained TCTrack weights is not measured: none were at hand.
"""


def table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    """A Markdown table."""
    lines = [list(columns), ["---"] * len(columns), *([str(row.get(c, "")) for c in columns] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def section(folder: Path, title: str, command: str) -> str:
    """One run: how, on what, and its rows."""
    with open(folder / "bench.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    facts = json.loads((folder / "bench.json").read_text(encoding="utf-8"))
    about = ", ".join(f"{key} {value}" for key, value in facts.items())
    return f"### {title}\n\n`{command}`\n\n{about}\n\n{table(rows, COLUMNS)}"


def agreement() -> str:
    """How far fast paths are from the plain one."""
    rows = json.loads((RESULTS / "fast_paths.json").read_text(encoding="utf-8"))
    columns = ("path", "success", "clips", "looks", "look_p50_px", "look_p99_px", "look_max_px")
    said = (
        "`python tools/fast_paths.py`: success is the mean over overlap thresholds of whole runs on real video, each "
        "path on its own; a look is one step from the state of the plain run, its difference the largest of x, y, w, "
        "h in pixels of the frame, where the plain path was sure of the target."
    )
    return f"## Fast paths against the plain one\n\n{said}\n\n{table(rows, columns)}"


def page() -> str:
    """The page's text."""
    parts = [HEAD, "## Measured"]
    parts += [section(RESULTS / name, *about) for name, about in RUNS.items() if (RESULTS / name).is_dir()]
    if (RESULTS / "fast_paths.json").is_file():
        parts.append(agreement())
    parts.append(NOT_RUN)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def main() -> None:
    """Write the page."""
    (ROOT / "docs" / "speed.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
