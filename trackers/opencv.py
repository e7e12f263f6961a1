"""OpenCV's own trackers behind this package's interface, and this package's trackers behind OpenCV's."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy.typing as npt

from onlinetada.errors import InputError
from onlinetada.trackers.images import as_bgr, checked_box
from onlinetada.trackers.result import Box, Image, Tracker, TrackResult

_FRAME_S = 1 / 30
# name -> (class in cv2, what the model files must be called like, in OpenCV's order)
_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "opencv-mil": ("TrackerMIL", ()),
    "opencv-kcf": ("TrackerKCF", ()),
    "opencv-csrt": ("TrackerCSRT", ()),
    "opencv-nano": ("TrackerNano", ("backbone", "head")),
    "opencv-vit": ("TrackerVit", ("vit",)),
}
OPENCV_MODELS = tuple(_KINDS)


def build_opencv_tracker(name: str, *, weights: str | Path | None = None) -> Tracker:
    """One of OpenCV's trackers, to compare with.

    Args:
        name: "opencv-mil", "opencv-kcf", "opencv-csrt" (both need opencv-contrib-python), "opencv-nano" or
            "opencv-vit" (both need ONNX files of the user's).
        weights: "opencv-vit": its .onnx file. "opencv-nano": the folder that holds backbone and head, or both files
            separated by a comma.

    Raises:
        InputError: no such tracker, or it is missing from this OpenCV, or its files are.
    """
    if name not in _KINDS:
        raise InputError(f"there is no model {name!r}; OpenCV's are {', '.join(OPENCV_MODELS)}")
    class_name, roles = _KINDS[name]
    create = _find_class(name, class_name)
    files = _find_files(name, roles, weights)
    make = _maker(create, class_name, files)
    _made(make, name)  # wrong files are found out now, not at the first frame
    return _OpenCvTracker(name, make)


def opencv_problem(name: str) -> str | None:
    """Why a tracker cannot be built here without further files, in one line; None where it can."""
    try:
        build_opencv_tracker(name)
    except InputError as error:
        return str(error)
    return None


class OpenCvStyle:
    """One of this package's trackers with OpenCV's interface: ``init(image, box)``, ``ok, box = update(image)``.

    Args:
        tracker: from ``build_tracker``.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._score = 0.0

    def init(self, image: Image, boundingBox: npt.ArrayLike) -> None:
        """Start on a BGR image with x, y, w, h."""
        self._score = self._tracker.init(image, boundingBox).score

    def update(self, image: Image) -> tuple[bool, tuple[int, int, int, int]]:
        """Whether the target is seen, and its box in whole pixels; while it is lost, the last that was trusted."""
        result = self._tracker.update(image)
        self._score = result.score
        x, y, w, h = (round(v) for v in result.box_xywh)
        return result.state != "lost", (x, y, w, h)

    def getTrackingScore(self) -> float:
        """Confidence of the last frame, between 0 and 1."""
        return self._score


class _OpenCvTracker:
    """An OpenCV tracker that answers with ``TrackResult``. OpenCV makes a new one for each target."""

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self.name = name
        self._make = make
        self._tracker: Any = None
        self._last: TrackResult | None = None

    def init(
        self, image: Image, box_xywh: Box | npt.ArrayLike, *, timestamp_s: float | None = None, color: str = "bgr"
    ) -> TrackResult:
        """Start on ``image``; OpenCV takes whole pixels inside the image, so the box is rounded and cut to it."""
        picture = as_bgr(image, color)
        box = checked_box(box_xywh, picture)
        began_s = perf_counter()
        tracker = _made(self._make, self.name)
        _call(lambda: tracker.init(picture, _inside(box, picture)), self.name)
        self._tracker = tracker
        latency_ms = (perf_counter() - began_s) * 1000
        self._last = TrackResult(0, 0.0 if timestamp_s is None else timestamp_s, box, 1.0, "tracking", latency_ms)
        return self._last

    def update(self, image: Image, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        """Find the target; "lost" where OpenCV says so, and the box is then the last that was found."""
        if self._last is None:
            raise InputError(f"{self.name}: call init before update")
        began_s = perf_counter()
        picture = as_bgr(image, color)
        found, box = _call(lambda: self._tracker.update(picture), self.name)
        stamp_s = self._last.timestamp_s + _FRAME_S if timestamp_s is None else timestamp_s
        trusted: Box = tuple(map(float, box)) if found and box[2] > 0 and box[3] > 0 else self._last.box_xywh  # type: ignore[assignment]
        self._last = TrackResult(
            self._last.frame_index + 1,
            stamp_s,
            trusted,
            self._score() if found else 0.0,
            "tracking" if found else "lost",
            (perf_counter() - began_s) * 1000,
        )
        return self._last

    def _score(self) -> float:
        """OpenCV's score where this version and tracker have one; -1 is its way to say that they have not."""
        get = getattr(self._tracker, "getTrackingScore", None)
        score = float(get()) if get is not None else -1.0
        return min(max(score, 0.0), 1.0) if math.isfinite(score) and score >= 0 else 1.0


def _find_class(name: str, class_name: str) -> Any:
    import cv2

    for place in (cv2, getattr(cv2, "legacy", None)):
        # the class can be there without its factory when OpenCV was built without its module
        create = getattr(getattr(place, class_name, None), "create", None) or getattr(
            place, f"{class_name}_create", None
        )
        if create is not None:
            return create
    hint = (
        "pip install opencv-contrib-python in place of opencv-python"
        if name in ("opencv-kcf", "opencv-csrt")
        else ("it needs a newer OpenCV")
    )
    raise InputError(f"{name}: this OpenCV ({cv2.__version__}) has no {class_name}; {hint}")


def _find_files(name: str, roles: tuple[str, ...], weights: str | Path | None) -> list[Path]:
    if not roles:
        if weights is not None:
            raise InputError(f"{name} has no model files: leave the weights out")
        return []
    if weights is None:
        what = "a folder with its backbone and head .onnx files" if len(roles) > 1 else "its .onnx file"
        raise InputError(f"{name} needs {what}: give --weights (in Python, weights=...)")
    paths = [Path(part) for part in str(weights).split(",")]
    if len(paths) == 1 and paths[0].is_dir():
        models = sorted(paths[0].glob("*.onnx"))
        paths = [next((m for m in models if role in m.name.lower()), paths[0] / f"*{role}*.onnx") for role in roles]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{name}: {path} does not exist")
    if len(paths) != len(roles):
        raise InputError(f"{name} needs {len(roles)} files ({', '.join(roles)}), got {len(paths)}")
    return paths


def _maker(create: Any, class_name: str, files: list[Path]) -> Callable[[], Any]:
    if not files:
        return lambda: create()

    def make() -> Any:
        import cv2

        parameters = getattr(cv2, f"{class_name}_Params")()
        names = ("backbone", "neckhead") if class_name == "TrackerNano" else ("net",)
        for name, path in zip(names, files, strict=True):
            setattr(parameters, name, str(path))
        return create(parameters)

    return make


def _made(make: Callable[[], Any], name: str) -> Any:
    from onlinetada.trackers.io.capture import quiet

    with quiet():
        return _call(make, name)


def _call(action: Callable[[], Any], name: str) -> Any:
    import cv2

    try:
        return action()
    except cv2.error as error:
        reason = " ".join(str(getattr(error, "err", "") or error).split())
        raise InputError(f"{name}: OpenCV refused: {reason}") from None


def _inside(box: Box, image: Image) -> tuple[int, int, int, int]:
    height, width = image.shape[:2]
    x, y = min(max(round(box[0]), 0), width - 1), min(max(round(box[1]), 0), height - 1)
    right, bottom = min(round(box[0] + box[2]), width), min(round(box[1] + box[3]), height)
    return x, y, max(right - x, 1), max(bottom - y, 1)
