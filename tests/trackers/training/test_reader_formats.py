"""The layouts of the well-known data sets, made small."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from onlinetada.errors import InputError
from onlinetada.trackers.training.clips import Faults
from onlinetada.trackers.training.readers import open_folder

VOC = (
    "<annotation><object><trackid>5</trackid><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>13</xmax><ymax>9</ymax>"
    "</bndbox></object></annotation>"
)


def picture(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((40, 60, 3), value, np.uint8))


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_trackingnet(tmp_path: Path) -> None:
    for i in (0, 1, 2, 10):  # names without leading zeros are in the order of their numbers
        picture(tmp_path / f"TRAIN_0/frames/vid/{i}.jpg", i * 20)
    text(tmp_path / "TRAIN_0/anno/vid.txt", "1,2,3,4\n2,2,3,4\n3,2,3,4\n4,2,3,4\n")
    (clip,) = open_folder(tmp_path, "trackingnet")
    assert clip.name == "TRAIN_0/vid" and clip.tracks["0"][3] == (4, 2, 3, 4)
    ((_, last),) = clip.read([3])
    assert abs(int(last.mean()) - 200) < 3


@pytest.mark.parametrize("name", ["mot", "visdrone-mot"])
def test_mot_counts_frames_from_one_and_skips_invalid_rows(tmp_path: Path, name: str) -> None:
    frames, truth = ("s/img1", "s/gt/gt.txt") if name == "mot" else ("sequences/s", "annotations/s.txt")
    for i in (1, 2):
        picture(tmp_path / frames / f"{i:06d}.jpg")
    text(tmp_path / truth, "1,4,1,2,3,4,1,1,1\n2,4,2,2,3,4,1,1,1\n2,9,5,5,5,5,0,1,1\n")
    (clip,) = open_folder(tmp_path, name)
    assert clip.tracks == {"4": {0: (1, 2, 3, 4), 1: (2, 2, 3, 4)}}


def test_imagenet_vid(tmp_path: Path) -> None:
    picture(tmp_path / "Data/VID/train/a/v/000000.JPEG")
    picture(tmp_path / "Data/VID/train/a/v/000001.JPEG")
    text(tmp_path / "Annotations/VID/train/a/v/000001.xml", VOC)
    (clip,) = open_folder(tmp_path, "imagenet-vid")
    assert clip.name == "train/a/v" and clip.tracks == {"5": {1: (3, 4, 10, 5)}}


@pytest.mark.parametrize("colour", [False, True])
def test_davis_masks(tmp_path: Path, colour: bool) -> None:
    picture(tmp_path / "JPEGImages/480p/v/00000.jpg")
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 5:25], mask[30:35, 40:50] = 1, 2
    if colour:
        mask = np.array([[0, 0, 0], [0, 0, 128], [0, 128, 0]], np.uint8)[mask]
    (tmp_path / "Annotations/480p/v").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "Annotations/480p/v/00000.png"), mask)
    (clip,) = open_folder(tmp_path, "davis")
    boxes = {box[0]: name for name, box in clip.tracks.items()}
    assert sorted(boxes) == [(5, 10, 20, 10), (40, 30, 10, 5)]
    assert clip.read_mask is not None
    name = next(n for n, box in clip.tracks.items() if box[0][0] == 5)
    found = clip.read_mask(0, name)
    assert found is not None and (found == 255).sum() == 200


def test_coco(tmp_path: Path) -> None:
    picture(tmp_path / "train/x.jpg")
    content = {
        "images": [{"id": 7, "file_name": "x.jpg"}],
        "annotations": [
            {"image_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 0},
            {"image_id": 7, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ],
    }
    text(tmp_path / "annotations/instances_train.json", json.dumps(content))
    (clip,) = open_folder(tmp_path, "coco")
    assert clip.tracks == {"0": {0: (1, 2, 3, 4)}}


def test_voc_and_yolo(tmp_path: Path) -> None:
    picture(tmp_path / "voc/JPEGImages/x.jpg")
    text(tmp_path / "voc/Annotations/x.xml", VOC)
    (clip,) = open_folder(tmp_path / "voc", "voc")
    assert clip.tracks == {"0": {0: (3, 4, 10, 5)}}
    picture(tmp_path / "yolo/images/train/x.jpg")
    text(tmp_path / "yolo/labels/train/x.txt", "0 0.5 0.5 0.1 0.2\n")
    (clip,) = open_folder(tmp_path / "yolo", "yolo")
    assert clip.name == "train/x" and clip.tracks["0"][0] == pytest.approx((27, 16, 6, 8))


def test_layouts_that_are_not_there_are_named(tmp_path: Path) -> None:
    for name, message in {
        "coco": "instances_",
        "yolo": "images",
        "davis": "Annotations",
        "imagenet-vid": "VID",
    }.items():
        with pytest.raises(InputError, match=message):
            list(open_folder(tmp_path, name))
    text(tmp_path / "x.xml", "<annotation><object><bndbox>")
    picture(tmp_path / "x.jpg")
    with pytest.raises(InputError, match=r"x\.xml: not a VOC annotation"):
        list(open_folder(tmp_path, "voc"))


def test_visdrone_stills_without_ignored_regions(tmp_path: Path) -> None:
    picture(tmp_path / "images/x.jpg")
    picture(tmp_path / "images/empty.jpg")
    text(tmp_path / "annotations/x.txt", "1,2,3,4,1,4,0,0\n5,5,9,9,1,0,0,0\n7,7,9,9,0,4,0,0\n8,2,3,4,1,1,0,1,\n")
    empty, boxed = open_folder(tmp_path, "visdrone-det")
    assert empty.tracks == {} and boxed.tracks == {"0": {0: (1, 2, 3, 4)}, "1": {0: (8, 2, 3, 4)}}


def test_lasot_and_got10k_leave_their_layouts_alone(tmp_path: Path) -> None:
    for i in (1, 2):
        picture(tmp_path / f"lasot/airplane/airplane-1/img/{i:08d}.jpg")
        picture(tmp_path / f"got/GOT-10k_Train_000001/{i:08d}.jpg")
    text(tmp_path / "lasot/airplane/airplane-1/groundtruth.txt", "1,2,3,4\n2,2,3,4\n")
    text(tmp_path / "lasot/airplane/airplane-1/out_of_view.txt", "0,1")
    text(tmp_path / "got/GOT-10k_Train_000001/groundtruth.txt", "1.0,2.0,3.0,4.0\n2.5,2.0,3.0,4.0\n")
    text(tmp_path / "got/GOT-10k_Train_000001/absence.label", "1\n0\n")
    text(tmp_path / "got/GOT-10k_Train_000001/cover.label", "8\n8\n")
    (lasot,), (got,) = (list(open_folder(tmp_path / name, "sequences")) for name in ("lasot", "got"))
    assert lasot.name == "airplane/airplane-1" and lasot.tracks == {"0": {0: (1, 2, 3, 4)}}
    assert got.name == "GOT-10k_Train_000001" and got.tracks == {"0": {1: (2.5, 2, 3, 4)}}


def test_faults_are_collected_and_the_rest_is_read(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / f"{name}.jpg")
        text(tmp_path / f"{name}.txt", "1,2,3,4\n" if name != "b" else "1,2,three,4\n")
    faults = Faults(collect=True)
    assert [c.name for c in open_folder(tmp_path, "boxed-stills", faults)] == ["a", "c"]
    assert faults.found is not None and len(faults.found) == 1 and "b.txt, line 1" in faults.found[0]
    with pytest.raises(InputError, match=r"b\.txt, line 1"):
        list(open_folder(tmp_path, "boxed-stills"))
