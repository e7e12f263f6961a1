"""Readers of detection data sets: every box of a still is a target of one frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2

from onlinetada.errors import InputError
from onlinetada.trackers.result import Box
from onlinetada.trackers.training.clips import (
    STRICT,
    Clip,
    Faults,
    boxes_by_frame,
    image_reader,
    images_in,
    read_number_rows,
)
from onlinetada.trackers.training.readers_video import voc_boxes


def read_coco(folder: Path, faults: Faults = STRICT) -> Iterator[Clip]:
    """COCO: ``annotations/instances_SET.json`` with pictures in ``SET`` or ``images/SET``. Crowds are left out."""
    files = sorted((folder / "annotations").glob("instances_*.json"))
    if not files:
        raise InputError(f"{folder}: no annotations/instances_*.json as COCO has them")
    for path in files:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path}: no JSON: {error}") from None
        name = path.stem.removeprefix("instances_")
        pictures = next((p for p in (folder / name, folder / "images" / name) if p.is_dir()), None)
        if pictures is None:
            raise InputError(f"{folder}: no pictures in {name} or images/{name}")
        boxes: dict[int, list[Box]] = {}
        for thing in content["annotations"]:
            if not thing.get("iscrowd"):
                boxes.setdefault(thing["image_id"], []).extend(boxes_by_frame([thing["bbox"]]).values())
        for image in content["images"]:
            yield _still(pictures / image["file_name"], f"{name}/{image['file_name']}", boxes.get(image["id"], []))


def read_voc(folder: Path, faults: Faults = STRICT) -> Iterator[Clip]:
    """Pascal VOC: ``Annotations/NAME.xml`` with ``JPEGImages/NAME.*``, or both beside each other in one folder."""
    apart = (folder / "JPEGImages").is_dir()
    for path in images_in(folder / "JPEGImages" if apart else folder):
        truth = (folder / "Annotations" if apart else folder) / f"{path.stem}.xml"
        with faults.noted():
            yield _still(path, path.stem, [box for _, box in voc_boxes(truth)] if truth.exists() else [])


def read_yolo(folder: Path, faults: Faults = STRICT) -> Iterator[Clip]:
    """YOLO: ``images/**/NAME.*`` with ``labels/**/NAME.txt``, rows class cx cy w h as shares of the picture."""
    root = folder / "images"
    if not root.is_dir():
        raise InputError(f"{folder}: no folder named images as YOLO data has it")
    for place in sorted({p.parent for p in root.rglob("*") if p.is_file()}):
        for path in images_in(place):
            with faults.noted():
                name = path.relative_to(root).with_suffix("")
                truth = folder / "labels" / f"{name}.txt"
                rows = read_number_rows(truth, (5,)) if truth.exists() else []
                yield _still(path, str(name), _in_pixels(path, rows) if rows else [])


def read_visdrone_det(folder: Path, faults: Faults = STRICT) -> Iterator[Clip]:
    """The layout of VisDrone's stills: ``images/NAME.jpg`` with ``annotations/NAME.txt``, rows
    x,y,w,h,valid,class,truncation,occlusion. Rows that are not valid and ignored regions (class 0) are left out.

    VisDrone itself is a benchmark here: train on other data in its layout only.
    """
    if not (folder / "images").is_dir():
        raise InputError(f"{folder}: no folder named images as VisDrone's stills have it")
    for path in images_in(folder / "images"):
        with faults.noted():
            truth = folder / "annotations" / f"{path.stem}.txt"
            rows = read_number_rows(truth, (8,)) if truth.exists() else []
            kept = [row[:4] for row in rows if row[4] and row[5]]
            yield _still(path, path.stem, [box for row in kept for box in boxes_by_frame([row]).values()])


def _in_pixels(path: Path, rows: list[list[float]]) -> list[Box]:
    image = cv2.imread(str(path))
    if image is None:
        raise InputError(f"{path}: not a picture that OpenCV can read")
    height, width = image.shape[:2]
    return [
        ((cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height) for _, cx, cy, w, h in rows if w > 0 < h
    ]


def _still(path: Path, name: str, boxes: list[Box]) -> Clip:
    return Clip(name, 1, image_reader([path]), {str(i): {0: box} for i, box in enumerate(boxes)}, files=(path,))
