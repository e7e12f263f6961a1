"""Readers of video data sets whose boxes or masks lie apart from the frames."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

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
)

Tracks = dict[str, dict[int, Box]]


def read_trackingnet(folder: Path, faults: Faults = STRICT) -> Iterator[Clip]:
    """TrackingNet: ``TRAIN_*/frames/VIDEO/*.jpg`` with ``TRAIN_*/anno/VIDEO.txt``."""
    for truth in sorted(folder.glob("*/anno/*.txt")):
        with faults.noted():
            images = images_in(_existing(truth.parents[1] / "frames" / truth.stem))
            boxes = boxes_by_frame(read_number_rows(truth, (4,)))
            name = f"{truth.parents[1].name}/{truth.stem}"
            yield _clip(name, images, {"0": _within(boxes, len(images))})


def read_mot(folder: Path, faults: Faults = STRICT) -> Iterator[Clip]:
    """MOT challenge: ``SEQUENCE/img1/*.jpg`` with ``SEQUENCE/gt/gt.txt`` (frame,id,x,y,w,h,valid,class,visibility).

    Rows marked as not valid are left out.
    """
    for truth in sorted(folder.glob("**/gt/gt.txt")):
        with faults.noted():
            root = truth.parents[1]
            images = images_in(_existing(root / "img1"))
            yield _clip(str(root.relative_to(folder)), images, _mot_tracks(truth, len(images)))


def read_visdrone_mot(folder: Path, faults: Faults = STRICT) -> Iterator[Clip]:
    """The layout of VisDrone's videos: ``sequences/NAME/*.jpg`` with ``annotations/NAME.txt``, rows as in MOT.

    VisDrone itself is a benchmark here: train on other data in its layout only.
    """
    for truth in sorted(_existing(folder / "annotations").glob("*.txt")):
        with faults.noted():
            images = images_in(_existing(folder / "sequences" / truth.stem))
            yield _clip(truth.stem, images, _mot_tracks(truth, len(images)))


def _mot_tracks(truth: Path, length: int) -> Tracks:
    tracks: Tracks = {}
    for frame, target, *rest in read_number_rows(truth, range(6, 11)):
        if len(rest) > 4 and rest[4] == 0:
            continue
        box = boxes_by_frame([rest[:4]])
        if box and 1 <= frame <= length:
            tracks.setdefault(str(int(target)), {})[int(frame) - 1] = box[0]
    return tracks


def read_imagenet_vid(folder: Path, faults: Faults = STRICT) -> Iterator[Clip]:
    """ImageNet VID: ``Data/VID/train/**/VIDEO/*.JPEG`` with ``Annotations/VID/train/**/VIDEO/*.xml``."""
    pictures, truths = folder / "Data" / "VID", _existing(folder / "Annotations" / "VID")
    for video in sorted({path.parent for path in truths.rglob("*.xml")}):
        with faults.noted():
            name = video.relative_to(truths)
            images = images_in(_existing(pictures / name))
            tracks: Tracks = {}
            for number, image in enumerate(images):
                truth = video / f"{image.stem}.xml"
                for target, box in voc_boxes(truth, key="trackid") if truth.exists() else []:
                    tracks.setdefault(target, {})[number] = box
            yield _clip(str(name), images, tracks)


def voc_boxes(path: Path, *, key: str | None = None) -> list[tuple[str, Box]]:
    """Objects of a Pascal VOC file: their number, or what ``key`` says, and their box.

    Raises:
        InputError: naming the file that is no such XML.
    """
    try:
        root = ET.parse(path).getroot()  # noqa: S314  see above
        found = []
        for i, thing in enumerate(root.iter("object")):
            x1, y1, x2, y2 = (float(thing.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax"))
            name = thing.findtext(key, str(i)) if key else str(i)
            found.append((name, (x1, y1, x2 - x1, y2 - y1)))
    except (ET.ParseError, ValueError) as error:
        raise InputError(f"{path}: not a VOC annotation: {error}") from None
    return [(name, box) for name, box in found if box[2] > 0 and box[3] > 0]


def read_davis(folder: Path, faults: Faults = STRICT) -> Iterator[Clip]:
    """DAVIS and YouTube-VOS: ``JPEGImages/[480p/]VIDEO/*.jpg`` with indexed masks ``Annotations/[480p/]VIDEO/*.png``.

    Every index above 0 is a target; its box encloses the mask.
    """
    masks = _existing(folder / "Annotations")
    for video in sorted({path.parent for path in masks.rglob("*.png")}):
        with faults.noted():
            name = video.relative_to(masks)
            images = images_in(_existing(folder / "JPEGImages" / name))
            paths = [video / f"{image.stem}.png" for image in images]
            tracks: Tracks = {}
            for number, path in enumerate(paths):
                for target, box in _mask_boxes(_indexed_mask(path)):
                    tracks.setdefault(target, {})[number] = box
            yield _clip(str(name), images, tracks, partial(_target_mask, paths))


def _indexed_mask(path: Path) -> Image | None:
    """Palette files decode to colours; every colour but black is a target then, and its number stands for it."""
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.exists() else None
    if mask is None or mask.ndim == 2:
        return mask
    packed: Image = mask[..., :3].astype(np.int64) @ np.array([1, 256, 65536])
    return packed


def _mask_boxes(mask: Image | None) -> Iterator[tuple[str, Box]]:
    if mask is None:
        return
    for value in np.unique(mask[mask > 0]):
        rows, columns = np.where(mask == value)
        x, y = float(columns.min()), float(rows.min())
        yield str(int(value)), (x, y, float(columns.max()) + 1 - x, float(rows.max()) + 1 - y)


def _target_mask(paths: list[Path], number: int, track: str) -> Image | None:
    mask = _indexed_mask(paths[number])
    return None if mask is None else (mask == int(track)).astype(np.uint8) * 255


def _clip(
    name: str, images: list[Path], tracks: Tracks, read_mask: Callable[[int, str], Image | None] | None = None
) -> Clip:
    return Clip(name, len(images), image_reader(images), tracks, read_mask, images)


def _within(boxes: dict[int, Box], length: int) -> dict[int, Box]:
    return {number: box for number, box in boxes.items() if number < length}


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, though the format has one there")
    return folder
