#!/usr/bin/env python3
"""Count the video networks against what was published, and check the article's claims about calibration's cost.

    python tools/video_costs.py                                  # prints
    python tools/video_costs.py --out docs/video/costs.md        # writes the page
    python tools/video_costs.py --layers tada2d_r50 --shape 8,224

Exit status 1 if a claim does not hold.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import nn

from onlinetada.video import build
from onlinetada.video.cost import Cost, count

# network, options, frames, side, published G multiply-adds (None: none known to us)
CASES = [
    ("tsn_r50", {}, 8, 256, None),
    ("tada2d_r50", {}, 8, 224, None),
    ("tada2d_r50", {}, 8, 256, None),
    ("tada2d_r50", {}, 16, 256, None),
    ("tadaconvnext_t", {}, 16, 256, None),
    ("tadaconvnextv2_t", {}, 16, 256, 47),
    ("tadaconvnextv2_t", {}, 32, 256, 94),
    ("tadaconvnextv2_s", {}, 16, 256, 91),
    ("tadaconvnextv2_b", {}, 16, 256, 162),
    ("tadaformer_b16", {}, 16, 224, 153),
    ("tadaformer_b16", {"enhanced": True, "double": True}, 16, 224, 187),
    ("slowfast_4x16", {}, 32, 256, 36.1),
    ("slowfast_4x16", {"tada": True}, 32, 256, None),
    ("slowfast_8x8", {}, 32, 256, 65.7),
    ("slowfast_8x8", {"tada": True}, 32, 256, None),
    ("r3d_18", {}, 16, 112, 40.7),
    ("r3d_18", {"tada": True}, 16, 112, None),
    ("r2plus1d_18", {}, 16, 112, 40.5),
    ("r2plus1d_18", {"tada": True}, 16, 112, None),
]
SOURCES = (
    "Published: TAdaConvNeXtV2 and TAdaFormer, the authors' model zoo (the larger TAdaFormer is that of "
    "Something-Something); SlowFast, PySlowFast's model zoo; R3D and R(2+1)D, torchvision's."
)


def cost(name: str, frames: int, side: int, **options: object) -> Cost:
    """Of a network with 400 classes."""
    with torch.device("meta"):
        network = build(name, num_classes=400, **options)
    return count(network, (1, 3, frames, side, side))


def table() -> list[str]:
    """Lines of Markdown."""
    lines = [
        "| network | input | parameters, M | G multiply-adds | published | off by | calibration: parameters, M | "
        "factors, % | descriptors and scaling, % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, options, frames, side, published in CASES:
        c = cost(name, frames, side, **options)
        giga = c.multiply_adds / 1e9
        known = "| |" if published is None else f"{published} | {100 * (giga / published - 1):+.1f}% |"
        said = "".join(f", {k}={v}" for k, v in options.items())
        lines.append(
            f"| {name}{said} | {frames} x {side} x {side} | {c.parameters / 1e6:.2f} | {giga:.2f} | {known} "
            f"{c.calibration_parameters / 1e6:.2f} | {100 * c.route / c.multiply_adds:.3f} | "
            f"{100 * c.pixels / c.multiply_adds:.3f} |"
        )
    return lines


def claims() -> list[tuple[str, bool]]:
    """The article's sentences about cost, and whether counting bears them out."""
    tada = cost("tada2d_r50", 8, 224)
    factors, all_of_it = tada.route / tada.multiply_adds, (tada.route + tada.pixels) / tada.multiply_adds
    space = nn.Conv3d(64, 64, (1, 3, 3), padding=(0, 1, 1), bias=False)
    both = nn.Sequential(space, nn.Conv3d(64, 64, (3, 1, 1), padding=(1, 0, 0), bias=False))
    plain, factorised = (count(m, (1, 64, 8, 14, 14)).multiply_adds for m in (space, both))
    more = factorised / plain - 1
    v2 = cost("tadaconvnextv2_t", 16, 256)
    return [
        (
            f"making the factors of TAda2D-R50 takes {100 * factors:.3f}% of its multiply-adds: under 0.1%",
            factors < 1e-3,
        ),
        (
            f"with every pass over the pixels (descriptors, scaling) it is {100 * all_of_it:.3f}%: under 0.2%, "
            "not under 0.1%",
            1e-3 < all_of_it < 2e-3,
        ),
        (
            f"a (2+1)-d convolution of kernel 3 takes {100 * more:.0f}% more than a 2-d one: 33%",
            abs(more - 1 / 3) < 0.01,
        ),
        (
            f"the attention of V2 costs more: {100 * v2.route / v2.multiply_adds:.2f}% of TAdaConvNeXtV2-T",
            v2.route / v2.multiply_adds < 5e-3,
        ),
    ]


def main() -> int:
    """Count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the page there")
    parser.add_argument("--layers", metavar="NAME", help="print this network layer by layer instead")
    parser.add_argument("--shape", default="8,224", help="frames,side for --layers")
    args = parser.parse_args()
    if args.layers:
        frames, side = map(int, args.shape.split(","))
        print(cost(args.layers, frames, side))
        return 0
    held = claims()
    lines = [
        "# What the video networks cost",
        "",
        "Written by `python tools/video_costs.py`; 400 classes, one clip.",
        "",
    ]
    lines += [*table(), "", SOURCES, ""]
    lines += [f"- {sentence}: {'holds' if holds else 'DOES NOT HOLD'}" for sentence, holds in held]
    page = "\n".join(lines) + "\n"
    print(page)
    if args.out:
        args.out.write_text(page, encoding="utf-8")
    return 0 if all(holds for _, holds in held) else 1


if __name__ == "__main__":
    sys.exit(main())
