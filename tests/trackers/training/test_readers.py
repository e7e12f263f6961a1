"""Every layout is read as what it shows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from onlinetada.errors import InputError
from onlinetada.trackers.training.readers import open_folder


def test_videos_with_one_and_with_many_tracks(raw: Path) -> None:
    clips = {c.name: c for c in open_folder(raw / "videos", "videos")}
    assert sorted(clips) == ["held", "many", "one"]
    assert clips["one"].length == 8
    assert clips["one"].tracks["0"][3] == (60, 52, 36, 36)
    assert sorted(clips["many"].tracks) == ["3", "7"]
    assert 2 not in clips["many"].tracks["7"] and 2 in clips["many"].tracks["3"]


def test_chosen_frames_come_in_order_and_are_the_right_ones(raw: Path) -> None:
    clip = next(c for c in open_folder(raw / "videos", "videos") if c.name == "one")
    numbers, images = zip(*clip.read([1, 4, 6]), strict=True)
    assert numbers == (1, 4, 6)
    for number, image in zip(numbers, images, strict=True):
        x, y, w, h = clip.tracks["0"][number]
        assert image[int(y + h / 2), int(x + w / 2)] == pytest.approx((240, 240, 20), abs=40)


def test_one_video_is_a_folder_of_one_video(raw: Path) -> None:
    (clip,) = open_folder(raw / "videos/one.mp4", "videos")
    assert clip.name == "one" and clip.tracks["0"][3] == (60, 52, 36, 36)


def test_sequences_leave_out_absent_frames_and_read_masks(raw: Path) -> None:
    (clip,) = open_folder(raw / "sequences", "sequences")
    assert sorted(clip.tracks["0"]) == list(range(1, 8))
    assert clip.read_mask is not None
    mask = clip.read_mask(2, "0")
    assert mask is not None and set(np.unique(mask)) == {0, 255}
    assert mask[48 + 18, 50 + 18] == 255


@pytest.mark.parametrize(("name", "flags"), [("absence.label", "0\n1\n0\n"), ("full_occlusion.txt", "0,1,0")])
def test_labels_of_absence(tmp_path: Path, name: str, flags: str) -> None:
    folder = tmp_path / "a/b"
    folder.mkdir(parents=True)
    for i in range(3):
        cv2.imwrite(str(folder / f"{i:08d}.jpg"), np.zeros((20, 20, 3), np.uint8))
    (folder / "groundtruth.txt").write_text("1,2,3,4\n" * 3)
    (folder / name).write_text(flags)
    (clip,) = open_folder(tmp_path, "sequences")
    assert clip.name == "a/b" and sorted(clip.tracks["0"]) == [0, 2]


def test_boxed_stills_have_one_target_a_box(raw: Path) -> None:
    clips = list(open_folder(raw / "boxed", "boxed-stills"))
    assert len(clips) == 8 and all(c.length == 1 for c in clips)
    assert clips[0].tracks == {"0": {0: (30, 40, 36, 36)}}


def test_bad_rows_name_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"")
    (tmp_path / "x.txt").write_text("1,2,3,4\n1,2,three,4\n")
    with pytest.raises(InputError, match=r"x\.txt, line 2: not numbers"):
        list(open_folder(tmp_path, "boxed-stills"))


def test_unknown_format_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are: boxed-stills"):
        open_folder(tmp_path, "nonsense")
    with pytest.raises(InputError, match="no such folder"):
        open_folder(tmp_path / "none", "videos")
