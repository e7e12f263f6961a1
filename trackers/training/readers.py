"""Readers of data sets, one function a format: a folder in, clips out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2

from onlinetada.errors import InputError
from onlinetada.trackers.result import Box, Image
from onlinetada.trackers.training.clips import (
    STRICT,
    Clip,
    Faults,
    boxes_by_frame,
    image_reader,
    images_in,
    read_number_rows,
    video_length,
    video_reader,
)
from onlinetada.trackers.training.readers_stills import read_coco, read_visdrone_det, read_voc, read_yolo
from onlinetada.trackers.training.readers_video import (
    read_davis,
    read_imagenet_vid,
    read_mot,
    read_trackingnet,
    read_visdrone_mot,
)

Reader = Callable[[Path, Faults], Iterator[Clip]]

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg")


def read_videos(folder: Path, faults: Faults = STRICT) -> Iterator[Clip]:
    """``NAME.mp4`` with ``NAME.txt`` beside it: x,y,w,h a frame (NaN: absent), or rows track,frame,x,y,w,h.

    ``folder`` may be one such video. Without a ``NAME.txt`` its frames are stills.
    """
    inside = [folder] if folder.is_file() else folder.iterdir()
    for path in sorted(p for p in inside if p.suffix.lower() in VIDEO_SUFFIXES):
        with faults.noted():
            boxes = path.with_suffix(".txt")
            tracks = _tracks_of(boxes) if boxes.exists() else {}
            yield Clip(path.stem, video_length(path), video_reader(path), tracks)


def _tracks_of(path: Path) -> dict[str, dict[int, Box]]:
    rows = read_number_rows(path, (4, 6))
    if not rows or len(rows[0]) == 4:
        return {"0": boxes_by_frame(rows)}
    tracks: dict[str, dict[int, Box]] = {}
    for track, frame, *box in rows:
        found = boxes_by_frame([box])
        if found:
            tracks.setdefault(str(int(track)), {})[int(frame)] = found[0]
    return tracks


def read_sequences(folder: Path, faults: Faults = STRICT) -> Iterator[Clip]:
    """``SEQUENCE/groundtruth.txt`` with pictures in ``SEQUENCE`` or ``SEQUENCE/img``, at any depth.

    GOT-10k, LaSOT and the tracking benchmarks lie so. Frames that ``absence.label`` (GOT-10k), ``full_occlusion.txt``
    or ``out_of_view.txt`` (LaSOT) mark are without the target. ``SEQUENCE/mask/NAME.png`` may hold masks.
    """
    for truth in sorted(folder.rglob("groundtruth.txt")):
        with faults.noted():
            root = truth.parent
            images = images_in(root / "img" if (root / "img").is_dir() else root)
            absent = _absent(root)
            boxes = boxes_by_frame(read_number_rows(truth, (4, 8)))
            boxes = {n: b for n, b in boxes.items() if n < len(images) and n not in absent}
            masks = root / "mask"
            read_mask = partial(_mask_file, [masks / f"{p.stem}.png" for p in images]) if masks.is_dir() else None
            name = str(root.relative_to(folder))
            yield Clip(name, len(images), image_reader(images), {"0": boxes}, read_mask, images)


def _absent(root: Path) -> set[int]:
    absent: set[int] = set()
    for name in ("absence.label", "full_occlusion.txt", "out_of_view.txt"):
        path = root / name
        if path.exists():
            flags = path.read_text(encoding="utf-8").replace(",", " ").split()
            absent |= {i for i, flag in enumerate(flags) if flag != "0"}
    return absent


def _mask_file(paths: list[Path], number: int, track: str) -> Image | None:
    mask: Image | None = cv2.imread(str(paths[number]), cv2.IMREAD_GRAYSCALE)
    return None if mask is None else ((mask > 0) * 255).astype("uint8")


def read_boxed_stills(folder: Path, faults: Faults = STRICT) -> Iterator[Clip]:
    """``NAME.jpg`` with ``NAME.txt`` beside it, rows x,y,w,h or x,y,w,h,class in pixels. Each box is a target."""
    for path in images_in(folder):
        with faults.noted():
            truth = path.with_suffix(".txt")
            rows = read_number_rows(truth, (4, 5)) if truth.exists() else []
            tracks = {str(i): boxes_by_frame([row[:4]]) for i, row in enumerate(rows)}
            known = {name: boxes for name, boxes in tracks.items() if boxes}
            yield Clip(path.stem, 1, image_reader([path]), known, files=(path,))


def read_stills(folder: Path, faults: Faults = STRICT) -> Iterator[Clip]:
    """Pictures without boxes."""
    for path in images_in(folder):
        yield Clip(path.stem, 1, image_reader([path]), files=(path,))


FORMATS: dict[str, Reader] = {
    "videos": read_videos,
    "sequences": read_sequences,
    "boxed-stills": read_boxed_stills,
    "stills": read_stills,
    "trackingnet": read_trackingnet,
    "imagenet-vid": read_imagenet_vid,
    "davis": read_davis,
    "mot": read_mot,
    "visdrone-mot": read_visdrone_mot,
    "visdrone-det": read_visdrone_det,
    "coco": read_coco,
    "voc": read_voc,
    "yolo": read_yolo,
}


def open_folder(folder: Path, data_format: str, faults: Faults = STRICT) -> Iterator[Clip]:
    """The clips of a folder, or of one video.

    Args:
        folder: of the data set.
        data_format: one of ``FORMATS``.
        faults: collects what cannot be read; without it the first such thing is raised.

    Raises:
        InputError: no such format or folder.
    """
    if data_format not in FORMATS:
        raise InputError(f"unknown data format {data_format!r}; there are: {', '.join(sorted(FORMATS))}")
    if not folder.is_dir() and not (data_format == "videos" and folder.is_file()):
        raise InputError(f"{folder}: no such folder")
    return FORMATS[data_format](folder, faults)
