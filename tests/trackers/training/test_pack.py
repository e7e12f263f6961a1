"""Packed material says the same as the raw one, and nothing that is held out gets in."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from onlinetada.errors import InputError
from onlinetada.trackers.cli import main
from onlinetada.trackers.training.bank import Bank, load_bank
from onlinetada.trackers.training.check import check_packed, check_raw
from onlinetada.trackers.training.cutouts import cut_out, largest_object
from onlinetada.trackers.training.pack import SourceOptions, pack, region_around
from onlinetada.trackers.training.pictures import Pictures
from onlinetada.trackers.training.shards import read_index, read_items


def test_index_counts_and_leaves_out(packed: Path) -> None:
    index = read_index(packed)
    assert index["counts"]["videos"] == {"track": 8 + 8 + 7}
    assert index["counts"]["sequences"] == {"track": 7, "cutout": 7}
    assert index["counts"]["boxed"] == {"boxed": 8, "cutout": 8}
    assert index["counts"]["stills"]["still"] == 8
    assert index["sources"]["videos"] == {"terms": "made here", "weight": 1.0, "left_out": 1}
    assert not any(g["name"].startswith("held/") for g in index["groups"])


def test_boxes_of_regions_lie_on_the_target(packed: Path) -> None:
    for item, _ in read_items(packed):
        if item is not None and item.kind in ("track", "boxed"):
            assert item.box is not None
            x, y, w, h = item.box
            b, g, r = item.image[int(y + h / 2), int(x + w / 2)].astype(int)
            assert b > 150 and g > 150 and r < 110, "the square's middle is cyan"
            outside = item.image[int(y + h / 2), min(item.image.shape[1] - 1, int(x + w + 4))].astype(int)
            assert abs(outside - (240, 240, 20)).sum() > 60


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_region_is_exact_to_a_fraction_of_a_pixel(factor: float) -> None:
    """A ramp of brightness says where every pixel of the region came from."""
    ramp = np.linspace(0, 255, 600, dtype=np.float32)
    image = np.repeat(np.repeat(ramp[None, :, None], 400, 0), 3, 2)
    side = 40 * factor
    box = (300 - side / 2, 200 - side / 2, side, side)
    region, (x, _, w, _) = region_around(image, box, np.zeros(2))
    middle = region[region.shape[0] // 2, :, 0].astype(float)
    position = np.interp(x + w / 2, np.arange(len(middle)) + 0.5, middle) / 255 * 599 + 0.5
    assert position == pytest.approx(300, abs=0.3)


def test_second_pack_into_the_same_folder_is_refused(raw: Path, packed: Path) -> None:
    with pytest.raises(InputError, match="holds packed material already"):
        pack([SourceOptions("s", "stills", "stills", "none")], root=raw, out=packed, report=lambda line: None)


def test_webp_is_smaller_and_shows_the_same(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    material = tmp_path / "material.yaml"
    source = "{name: s, path: sequences, format: sequences, terms: none, cutouts: masks}"
    material.write_text(f"sources: [{source}]\n")
    command = ["data", "pack", str(material), "--root", str(raw), "--out"]
    assert main([*command, str(tmp_path / "usual")]) == 0
    assert main([*command, str(tmp_path / "small"), "--webp", "78", "--region-side-px", "96"]) == 0
    usual, small = (load_bank(tmp_path / name, "cpu") for name in ("usual", "small"))
    sizes = [(tmp_path / name / "shard-00000.bin").stat().st_size for name in ("usual", "small")]
    assert sizes[1] < sizes[0] / 2
    assert small.rows("track").tolist() == usual.rows("track").tolist()
    assert small.shape[small.rows("track")].max() == 96
    for kind in ("track", "cutout"):
        a, b = (bank.pictures.mean[bank.rows(kind)] for bank in (usual, small))  # type: ignore[attr-defined]
        assert (a - b).abs().max() < 12
    assert main([*command, str(tmp_path / "none"), "--webp", "0"]) == 2
    assert "--webp is a quality from 1 to 100, not 0" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_missing_shard_is_named(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    pack([SourceOptions("s", "stills", "stills", "none")], root=raw, out=out, report=lambda line: None)
    (out / "shard-00000.bin").unlink()
    with pytest.raises(InputError, match=r"shard-00000\.bin: missing"):
        list(read_items(out))
    (out / "index.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(InputError, match="format 99"):
        list(read_items(out))


def test_bank_holds_the_pixels(bank: Bank, packed: Path) -> None:
    items = sorted((item for item, _ in read_items(packed) if item is not None), key=lambda i: (i.group, i.frame))
    assert isinstance(bank.pictures, Pictures)
    pixels = bank.pictures.pixels.numpy().view(np.uint8).reshape(-1, 4)
    for row in (0, 11, len(items) - 1):
        begin, h, w = (int(v[row]) for v in (bank.pictures.begin, bank.pictures.height, bank.pictures.width))
        held = pixels[begin : begin + h * w].reshape(h, w, 4)
        assert (held[..., 2::-1] == items[row].image[..., :3]).all()
    assert {s.name for s in bank.sources["cutout"]} == {"sequences", "boxed", "stills"}
    assert [len(s.begin) for s in bank.sources["track"]] == [3, 1]


def test_check_finds_what_was_broken(raw: Path, packed: Path, tmp_path: Path) -> None:
    report = check_packed(packed)
    assert report.pictures == sum(sum(c.values()) for c in read_index(packed)["counts"].values())
    assert report.faults == []
    report.write_sheet(tmp_path / "sheet.png")
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] == 6 * 240

    folder = tmp_path / "boxed"
    folder.mkdir()
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "broken.txt").write_text("1,2,30,40\n")
    cv2.imwrite(str(folder / "fine.jpg"), np.zeros((50, 50, 3), np.uint8))
    (folder / "fine.txt").write_text("60,2,30,40\n")
    report = check_raw(folder, "boxed-stills")
    assert len(report.faults) == 2
    assert "broken: 1 frames cannot be read" in report.summary()
    assert "fine, frame 0: box 60,2,30,40 lies outside of the 50x50 picture" in report.summary()

    noise = np.random.default_rng(0).integers(0, 255, (50, 50, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "short.jpg"), noise)
    whole = (folder / "short.jpg").read_bytes()
    (folder / "short.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "words.txt").write_text("1,2,three,4\n")
    cv2.imwrite(str(folder / "words.jpg"), noise)
    report = check_raw(folder, "boxed-stills")
    assert len(report.faults) == 4, "one fault does not hide the next"
    assert "short.jpg: cut off" in report.summary() and "words.txt, line 1: not numbers" in report.summary()
    (tmp_path / "nothing").mkdir()
    assert "nothing that the format 'stills' reads" in check_raw(tmp_path / "nothing", "stills").summary()


def test_broken_picture_in_a_shard_is_found(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    pack([SourceOptions("s", "stills", "stills", "none")], root=raw, out=out, report=lambda line: None)
    path = out / "shard-00000.bin"
    path.write_bytes(b"?" * 40 + path.read_bytes()[40:])
    (fault,) = check_packed(out).faults
    assert "shard 0, bytes 0 to" in fault and "broken picture" in fault
    with pytest.raises(InputError, match="picture 0 is broken; find it with: onlinetada data check"):
        load_bank(out, "cpu")


def test_clips_on_a_list_are_left_out(raw: Path, tmp_path: Path) -> None:
    (raw / "listed.txt").write_text("one\nmany\n")
    source = SourceOptions("v", "videos", "videos", "none", leave_out_list="listed.txt")
    pack([source], root=raw, out=tmp_path / "p", report=lambda line: None)
    assert {g["name"].split("/")[0] for g in read_index(tmp_path / "p")["groups"]} == {"held"}
    gone = SourceOptions("v", "videos", "videos", "none", leave_out_list="gone.txt")
    with pytest.raises(InputError, match=r"gone\.txt: no such list"):
        pack([gone], root=raw, out=tmp_path / "q", report=lambda line: None)


def test_cut_out_keeps_the_object_and_refuses_specks() -> None:
    image = np.full((100, 140, 3), (10, 200, 30), np.uint8)
    mask = np.zeros((100, 140), np.uint8)
    mask[20:70, 30:110] = 255
    cutout = cut_out(image, mask)
    assert cutout is not None and cutout.shape == (112, 112, 4)
    rows, columns = np.where(cutout[..., 3] > 127)
    assert columns.max() - columns.min() + 1 == pytest.approx(96, abs=2)
    assert rows.max() - rows.min() + 1 == pytest.approx(60, abs=2)
    mask[:] = 0
    mask[:5, :5] = 255
    assert cut_out(image, mask) is None


def test_largest_object_is_the_one_in_the_middle() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(90, 110, (200, 200, 3), dtype=np.uint8)
    image[60:140, 50:150] = (20, 20, 230)
    found = largest_object(image)
    assert found is not None
    x, y, w, h = found[1]
    assert (x, y, w, h) == pytest.approx((50, 60, 100, 80), abs=6)
    assert largest_object(np.full((80, 80, 3), 7, np.uint8)) is None
