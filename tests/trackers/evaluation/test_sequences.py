from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.benchmarks import BENCHMARKS, find_benchmark
from onlinetada.trackers.evaluation.sequences import load_annotations, load_sequences, with_frames

WriteTruth = Callable[[Path, object], None]
WriteImages = Callable[[Path, range], None]
BOX = [11, 21, 5, 6]


@pytest.mark.parametrize(
    ("name", "truth", "images"),
    [
        ("UAV123", "anno/UAV123/bike2.txt", "data_seq/UAV123/bike2"),
        ("UAV123", "Dataset_UAV123/UAV123/anno/UAV123/bike2.txt", "Dataset_UAV123/UAV123/data_seq/UAV123/bike2"),
        ("UAV123_10fps", "anno/UAV123_10fps/bike2.txt", "data_seq/UAV123_10fps/bike2"),
        ("UAV123_10fps", "UAV123_10fps/anno/UAV123_10fps/bike2.txt", "UAV123_10fps/data_seq/bike2"),
        ("UAV20L", "anno/UAV20L/bike2.txt", "data_seq/UAV123/bike2"),
        ("DTB70", "Car2/groundtruth_rect.txt", "Car2/img"),
        ("DTB70", "DTB70/Car2/groundtruth_rect.txt", "DTB70/Car2/img"),
        ("UAVTrack112", "V4RFlight112/anno/bike.txt", "V4RFlight112/data_seq/bike"),
        ("UAVTrack112_L", "V4RFlight112/anno_l/bike.txt", "V4RFlight112/data_seq/bike"),
        ("VisDrone-SOT-test-dev", "annotations/uav1_s.txt", "sequences/uav1_s"),
        (
            "VisDrone-SOT-test-dev",
            "VisDrone2018-SOT-test-dev/annotations/u.txt",
            "VisDrone2018-SOT-test-dev/sequences/u",
        ),
        ("UAVDT", "anno/S0101_gt.txt", "sequences/S0101"),
        ("UAVDT", "UAV-benchmark-SOT_v1.0/anno/S0101_gt.txt", "UAV-benchmark-S/S0101"),
        ("OTB100", "Basketball/groundtruth_rect.txt", "Basketball/img"),
        ("GOT-10k", "val/GOT-10k_Val_000001/groundtruth.txt", "val/GOT-10k_Val_000001"),
        ("LaSOT", "airplane/airplane-1/groundtruth.txt", "airplane/airplane-1/img"),
        ("LaSOT", "LaSOTBenchmark/airplane/airplane-1/groundtruth.txt", "LaSOTBenchmark/airplane/airplane-1/img"),
        ("folder", "mine/groundtruth.txt", "mine"),
        ("folder", "mine.txt", "mine"),
    ],
)
def test_layouts_that_people_have(
    tmp_path: Path, write_truth: WriteTruth, write_images: WriteImages, name: str, truth: str, images: str
) -> None:
    write_truth(tmp_path / truth, [BOX] * 4)
    write_images(tmp_path / images, range(1, 5))
    if "UAV-benchmark-SOT" in truth:  # images beside the folder of annotations: not one tree of the benchmark
        (tmp_path / "UAV-benchmark-S").rename(tmp_path / "UAV-benchmark-SOT_v1.0" / "sequences")
    (sequence,) = load_sequences(find_benchmark(name), tmp_path)
    assert len(sequence.frames) == 4
    base = find_benchmark(name).index_base
    assert sequence.first_box() == (11 - base, 21 - base, 5, 6)
    assert sequence.truth[0].tolist() == BOX


@pytest.mark.parametrize("name", [b.name for b in BENCHMARKS])
def test_an_excerpt_is_read_under_every_name(
    tmp_path: Path, write_truth: WriteTruth, write_images: WriteImages, name: str
) -> None:
    """``SEQ/img`` and ``SEQ/groundtruth.txt``, which counts from 0 whatever the benchmark does."""
    write_truth(tmp_path / "bike2" / "groundtruth.txt", [BOX, [float("nan")] * 4, BOX])
    write_images(tmp_path / "bike2" / "img", range(1, 4))
    (sequence,) = load_sequences(find_benchmark(name), tmp_path)
    assert sequence.first_box() == tuple(BOX)
    base = find_benchmark(name).index_base
    assert sequence.truth[2].tolist() == [11 + base, 21 + base, 5, 6]
    np.testing.assert_array_equal(sequence.published([BOX]), sequence.truth[2:])


def test_uav123_sequences_share_image_folders(
    tmp_path: Path, write_truth: WriteTruth, write_images: WriteImages
) -> None:
    """bird1_2 is images 775 to 1477 of the folder bird1; at 10 fps, 259 to 493 of its own, or every third."""
    write_truth(tmp_path / "thirty/anno/UAV123/bird1_2.txt", [BOX] * 703)
    write_images(tmp_path / "thirty/data_seq/UAV123/bird1", range(1, 2438))
    (at_30,) = load_sequences(find_benchmark("UAV123"), tmp_path / "thirty")
    assert (at_30.frames[0].name, at_30.frames[-1].name) == ("000775.jpg", "001477.jpg")

    write_truth(tmp_path / "ten/anno/UAV123_10fps/bird1_2.txt", [BOX] * 235)
    write_images(tmp_path / "ten/data_seq/UAV123_10fps/bird1", range(1, 814))
    (at_10,) = load_sequences(find_benchmark("UAV123_10fps"), tmp_path / "ten")
    assert (at_10.frames[0].name, at_10.frames[-1].name) == ("000259.jpg", "000493.jpg")

    write_truth(tmp_path / "thirty/anno/UAV123_10fps/bird1_2.txt", [BOX] * 235)
    (of_30,) = load_sequences(find_benchmark("UAV123_10fps"), tmp_path / "thirty")
    assert (of_30.frames[0].name, of_30.frames[1].name, of_30.frames[-1].name) == (
        "000775.jpg",
        "000778.jpg",
        "001477.jpg",
    )


def test_otb_special_sequences(tmp_path: Path, write_truth: WriteTruth, write_images: WriteImages) -> None:
    for name, rows, numbers in (("David", 5, range(1, 320)), ("Football1", 4, range(1, 9))):
        write_truth(tmp_path / name / "groundtruth_rect.txt", [BOX] * rows)
        write_images(tmp_path / name / "img", numbers)
    for target in (1, 2):
        write_truth(tmp_path / f"Jogging/groundtruth_rect.{target}.txt", [BOX] * 3)
    write_images(tmp_path / "Jogging/img", range(1, 4))
    (tmp_path / "Human4/img").mkdir(parents=True)
    (tmp_path / "Human4/groundtruth_rect.1.txt").touch()  # empty in the original, too
    found = {s.name: s for s in load_sequences(find_benchmark("OTB"), tmp_path)}
    assert sorted(found) == ["David", "Football1", "Jogging-1", "Jogging-2"]
    assert found["David"].frames[0].name == "000300.jpg"
    assert found["Football1"].frames[-1].name == "000004.jpg"


def test_attributes_and_labels(tmp_path: Path, write_truth: WriteTruth, write_images: WriteImages) -> None:
    write_truth(tmp_path / "DTB70/Car2.txt", [BOX] * 3)
    (tmp_path / "DTB70/att").mkdir()
    (tmp_path / "DTB70/att/Car2.txt").write_text("0,0,0,0,1,0,0,0,0,1,1\n")
    (car,) = load_annotations(find_benchmark("DTB70"), tmp_path)
    assert car.attributes == ("fast camera motion", "similar objects around", "motion blur")

    write_truth(tmp_path / "LaSOT/cat-1/groundtruth.txt", [BOX] * 3)
    (tmp_path / "LaSOT/cat-1/out_of_view.txt").write_text("0,1,0")
    (tmp_path / "LaSOT/cat-1/full_occlusion.txt").write_text("0,0,1")
    (cat,) = load_annotations(find_benchmark("LaSOT"), tmp_path)
    assert cat.absent is not None and cat.absent.tolist() == [False, True, True]

    folder = tmp_path / "GOT-10k/val/GOT-10k_Val_000001"
    write_truth(folder / "groundtruth.txt", [BOX] * 3)
    (folder / "cover.label").write_text("8\n0\n3\n")
    (folder / "meta_info.ini").write_text("[METAINFO]\nurl: x\nresolution: (640, 360)\n")
    (val,) = load_annotations(find_benchmark("GOT-10k"), tmp_path)
    assert val.absent is not None and val.absent.tolist() == [False, True, False]
    assert val.bounds == (640.0, 360.0)


def test_got10k_test_split_has_one_box(tmp_path: Path, write_truth: WriteTruth, write_images: WriteImages) -> None:
    write_truth(tmp_path / "test/GOT-10k_Test_000001/groundtruth.txt", [BOX])
    write_images(tmp_path / "test/GOT-10k_Test_000001", range(1, 5))
    (sequence,) = load_sequences(find_benchmark("GOT-10k"), tmp_path)
    assert sequence.withheld and len(sequence) == 4 and np.isnan(sequence.truth[1:]).all()


def test_a_benchmark_is_not_mistaken_for_another(
    tmp_path: Path, write_truth: WriteTruth, write_images: WriteImages
) -> None:
    write_truth(tmp_path / "DTB70/Car2/groundtruth.txt", [BOX] * 2)
    write_images(tmp_path / "DTB70/Car2/img", range(1, 3))
    for name in ("UAVDT", "UAV123", "LaSOT", "OTB100"):
        with pytest.raises(InputError, match=f"no {name} here"):
            load_sequences(find_benchmark(name), tmp_path)
    assert len(load_sequences(find_benchmark("DTB70"), tmp_path)) == 1


def test_what_is_missing_is_said(tmp_path: Path, write_truth: WriteTruth, write_images: WriteImages) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_sequences(find_benchmark("DTB70"), tmp_path / "nowhere")
    write_truth(tmp_path / "anno/UAV123/bike2.txt", [BOX] * 2)
    (tmp_path / "data_seq/UAV_123/bike2").mkdir(parents=True)
    with pytest.raises(InputError, match=r"expected .*data_seq/UAV123/bike2/\*.jpg.*nearest match.*UAV_123/bike2") as e:
        load_sequences(find_benchmark("UAV123"), tmp_path)
    assert "\n" not in str(e.value)
    (tmp_path / "other/Car2").mkdir(parents=True)
    (tmp_path / "other/Car2/groundtruth_rekt.txt").touch()
    with pytest.raises(InputError, match=r"expected .*SEQ/groundtruth_rect.txt.*nearest match .*groundtruth_rekt"):
        load_sequences(find_benchmark("DTB70"), tmp_path / "other")
    write_truth(tmp_path / "short/Car2/groundtruth_rect.txt", [BOX] * 5)
    write_images(tmp_path / "short/Car2/img", range(1, 4))
    with pytest.raises(InputError, match="5 boxes but 3 images"):
        load_sequences(find_benchmark("DTB70"), tmp_path / "short")


def test_names(clips: Path) -> None:
    folder = find_benchmark("folder")
    assert [s.name for s in load_sequences(folder, clips, only=("clip2", "clip0"))] == ["clip2", "clip0"]
    with pytest.raises(InputError, match="no sequence 'clip9'; nearest is clip"):
        load_sequences(folder, clips, only=("clip9",))
    with pytest.raises(InputError, match="unknown benchmark 'UAV132'; did you mean UAV123"):
        find_benchmark("UAV132")
    assert [s.name for s in load_sequences(folder, clips / "clip1")] == ["clip1"]


def test_with_frames_joins_by_name(clips: Path) -> None:
    benchmark = find_benchmark("folder")
    pictured = load_sequences(benchmark, clips)
    bare = tuple(s for s in load_annotations(benchmark, clips))
    assert [len(s.frames) for s in with_frames(bare, pictured)] == [8, 6, 7]


@pytest.mark.data
def test_real_annotations(data: Path) -> None:
    rows = {"UAV123": 112578, "UAV123_10fps": 37607, "UAV20L": 58670, "DTB70": 15777, "UAVDT": 37084}
    rows["VisDrone-SOT-test-dev"] = 32922
    for name, count in rows.items():
        benchmark = find_benchmark(name)
        sequences = load_annotations(benchmark, data / "annotations")
        assert len(sequences) == benchmark.sequences and sum(map(len, sequences)) == count
        assert any(s.attributes for s in sequences)


@pytest.mark.data
def test_real_excerpts(data: Path) -> None:
    for folder in sorted((data / "dev").iterdir()):
        benchmark = find_benchmark(folder.name)
        for root in (folder, data / "dev"):
            for sequence in load_sequences(benchmark, root):
                assert len(sequence.frames) == len(sequence)
                published = np.loadtxt(folder / sequence.name / "groundtruth_published.txt", delimiter=",")
                np.testing.assert_array_equal(sequence.truth, published)
