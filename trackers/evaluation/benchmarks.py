"""One row a benchmark: what it is called, how it lies on disk, how it counts pixels and frames."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from onlinetada.errors import InputError

_UAV_ATTRIBUTES = (
    "scale variation",
    "aspect ratio change",
    "low resolution",
    "fast motion",
    "full occlusion",
    "partial occlusion",
    "out of view",
    "background clutter",
    "illumination variation",
    "viewpoint change",
    "camera motion",
    "similar object",
)
_DTB_ATTRIBUTES = (
    "scale variation",
    "aspect ratio variation",
    "occlusion",
    "deformation",
    "fast camera motion",
    "in-plane rotation",
    "out-of-plane rotation",
    "out of view",
    "background clutter",
    "similar objects around",
    "motion blur",
)
_UAVDT_ATTRIBUTES = (
    "background clutter",
    "camera motion",
    "object motion",
    "small object",
    "illumination variation",
    "object blur",
    "scale variation",
    "long-term tracking",
    "large occlusion",
)
_VISDRONE_ATTRIBUTES = (
    "aspect ratio change",
    "background clutter",
    "camera motion",
    "fast motion",
    "full occlusion",
    "illumination variation",
    "low resolution",
    "out of view",
    "partial occlusion",
    "similar object",
    "scale variation",
    "viewpoint change",
)


@dataclass(frozen=True)
class Layout:
    """Where ground truth and images lie, relative to one base folder.

    Attributes:
        truth: path of the ground truth; ``{seq}`` is the sequence, ``{part}`` any one folder or number.
        images: folders to look for the images in, first hit wins; ``{folder}`` is the benchmark's own image folder.
        zero_based: the file counts pixels from 0 even where the benchmark counts from 1.
    """

    truth: str
    images: tuple[str, ...]
    zero_based: bool = False


_OWN_FOLDER = ("{seq}/img", "{seq}/imgs", "{seq}/images", "{seq}/frames", "{seq}/color", "{seq}")
# One folder a sequence: how people keep excerpts. Its groundtruth.txt counts from 0 under every name.
_EXCERPT = (
    Layout("{seq}/groundtruth_published.txt", _OWN_FOLDER),
    Layout("{seq}/groundtruth.txt", _OWN_FOLDER, zero_based=True),
)
_FLAT = (Layout("{seq}.txt", ("{seq}/img", "{seq}")),)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark.

    Attributes:
        name: as on the command line and in result paths.
        sequences: how many it has; 0 where it has no fixed number.
        index_base: the number of the first pixel in its published boxes and result files, 0 or 1.
        fps: frames a second of its videos.
        layouts: the forms in which it is found on disk, the usual one first.
        attributes: names of the columns of its attribute files.
        aliases: other names that people use.
        image_numbers: image folders are shared; a table says at which number a sequence starts.
        spare_images: more images than boxes are normal: the boxes are of the first ones.
    """

    name: str
    sequences: int
    index_base: int
    fps: float
    layouts: tuple[Layout, ...]
    attributes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    image_numbers: bool = False
    spare_images: bool = False


def _uav123(name: str, count: int, fps: float, folders: tuple[str, ...], aliases: tuple[str, ...]) -> Benchmark:
    images = (
        *(f"data_seq/{f}/{part}" for f in folders for part in ("{seq}", "{folder}")),
        *(f"data_seq/{part}" for part in ("{seq}", "{folder}")),
        "{seq}/img",
        "{seq}",
        "{folder}",
    )
    truths = (f"anno/{name}/{{seq}}.txt", "anno/{seq}.txt", f"{name}/{{seq}}.txt")
    layouts = (*(Layout(t, images) for t in truths), *_EXCERPT, *_FLAT)
    return Benchmark(name, count, 1, fps, layouts, _UAV_ATTRIBUTES, aliases, image_numbers=True)


def _uavtrack(name: str, count: int, annotations: tuple[str, ...], aliases: tuple[str, ...]) -> Benchmark:
    images = ("data_seq/{seq}", "data_seq/{seq}/img", "{seq}/img", "{seq}")
    layouts = (*(Layout(f"{a}/{{seq}}.txt", images) for a in annotations), *_EXCERPT, *_FLAT)
    return Benchmark(name, count, 0, 30.0, layouts, aliases=aliases)


_RECT = Layout("{seq}/groundtruth_rect.txt", _OWN_FOLDER)
_SOT_IMAGES = ("sequences/{seq}", "data_seq/{seq}", "{seq}/img", "{seq}")

BENCHMARKS: tuple[Benchmark, ...] = (
    _uav123("UAV123", 123, 30.0, ("UAV123",), ("uav", "uav-123")),
    _uav123("UAV123_10fps", 123, 10.0, ("UAV123_10fps", "UAV123"), ("UAV123@10fps", "uav10fps", "uav123-10fps")),
    _uav123("UAV20L", 20, 30.0, ("UAV20L", "UAV123"), ("uav123_20l",)),
    Benchmark("DTB70", 70, 1, 30.0, (_RECT, *_EXCERPT, *_FLAT), _DTB_ATTRIBUTES, ("dtb",)),
    _uavtrack("UAVTrack112", 112, ("anno",), ("uavtrack", "v4rflight112")),
    _uavtrack("UAVTrack112_L", 45, ("anno_l", "anno_L", "anno"), ("uavtrack112l",)),
    Benchmark(
        "VisDrone-SOT-test-dev",
        35,
        0,
        30.0,
        (Layout("annotations/{seq}.txt", _SOT_IMAGES), Layout("anno/{seq}.txt", _SOT_IMAGES), *_EXCERPT, *_FLAT),
        _VISDRONE_ATTRIBUTES,
        ("visdrone", "visdrone2018-sot", "visdrone2018-sot-test-dev", "visdrone-sot"),
    ),
    Benchmark(
        "UAVDT",
        50,
        0,
        30.0,
        (
            Layout("anno/{seq}_gt.txt", _SOT_IMAGES),
            Layout("{part}/{seq}_gt.txt", ("{part}/{seq}", *_SOT_IMAGES, "UAV-benchmark-S/{seq}")),
            Layout("anno/{seq}.txt", _SOT_IMAGES),
            Layout("{seq}_gt.txt", _SOT_IMAGES),
            *_EXCERPT,
            *_FLAT,
        ),
        _UAVDT_ATTRIBUTES,
        ("uavdt-sot", "uav-benchmark-s"),
    ),
    Benchmark(
        "OTB100",
        100,
        1,
        30.0,
        (_RECT, Layout("{seq}/groundtruth_rect.{part}.txt", _OWN_FOLDER), *_EXCERPT, *_FLAT),
        aliases=("otb", "otb2015", "otb-100"),
        image_numbers=True,
        spare_images=True,
    ),
    Benchmark("GOT-10k", 0, 0, 10.0, (Layout("{seq}/groundtruth.txt", ("{seq}",)), *_EXCERPT, *_FLAT), (), ("got10k",)),
    Benchmark(
        "LaSOT",
        280,
        0,
        30.0,
        (Layout("{part}/{seq}/groundtruth.txt", ("{part}/{seq}/img",)), *_EXCERPT, *_FLAT),
    ),
    Benchmark(
        "folder",
        0,
        0,
        30.0,
        (
            Layout("{seq}/groundtruth.txt", _OWN_FOLDER),
            Layout("{seq}/groundtruth_rect.txt", _OWN_FOLDER),
            Layout("{seq}/gt.txt", _OWN_FOLDER),
            Layout("{seq}/{seq}.txt", _OWN_FOLDER),
            *_FLAT,
        ),
    ),
)


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name, upper and lower case alike.

    Raises:
        InputError: there is none; says which is nearest.
    """
    known = {n.lower(): b for b in BENCHMARKS for n in (b.name, *b.aliases)}
    found = known.get(name.lower())
    if found is None:
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
        hint = f"; did you mean {known[near[0]].name}?" if near else ""
        raise InputError(f"unknown benchmark {name!r}{hint} Known: {', '.join(b.name for b in BENCHMARKS)}")
    return found
