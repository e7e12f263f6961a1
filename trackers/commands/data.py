"""``onlinetada data``: pack raw data sets once, and look at what was packed."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from onlinetada.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="pack|check", required=True)
    pack = actions.add_parser("pack", help="compress raw data sets into shards that training reads")
    pack.add_argument("material", type=Path, help="YAML that lists the data sets")
    pack.add_argument("--root", type=Path, required=True, help="folder that the paths in it are relative to")
    pack.add_argument("--out", type=Path, required=True, help="new folder for the shards")
    pack.add_argument("--webp", type=int, metavar="QUALITY", help="WebP, a third as large as JPEG at a quality of 78")
    pack.add_argument("--region-side-px", type=int, help="keep less around large targets than the material says")
    check = actions.add_parser("check", help="find broken pictures and boxes, draw a contact sheet")
    check.add_argument("folder", type=Path, help="packed folder, or a raw one with --format")
    check.add_argument("--format", help="read FOLDER as raw data of this format")
    check.add_argument("--sheet", type=Path, help="write a contact sheet with boxes to this picture")


def run(args: argparse.Namespace) -> int:
    """Pack, or check; a check that finds faults exits with 1."""
    if args.action == "pack":
        return _pack(args)
    from onlinetada.trackers.training.check import check_packed, check_raw

    report = check_raw(args.folder, args.format) if args.format else check_packed(args.folder)
    print(report.summary())
    if args.sheet:
        report.write_sheet(args.sheet)
        print(f"contact sheet: {args.sheet}")
    return 1 if report.faults else 0


def _pack(args: argparse.Namespace) -> int:
    from onlinetada.trackers.config import find_config, load_config
    from onlinetada.trackers.training.pack import Material, Region, left_out, pack

    path = find_config(args.material)
    material = load_config(path, Material)
    if args.region_side_px is not None:
        material = replace(material, region_side_px=args.region_side_px)
    if args.webp is not None and not 1 <= args.webp <= 100:
        raise InputError(f"--webp is a quality from 1 to 100, not {args.webp}")
    region = Region(material.region, material.region_side_px)
    leave_out = left_out(material, path)
    pack(material.sources, root=args.root, out=args.out, leave_out=leave_out, region=region, webp=args.webp)
    return 0
