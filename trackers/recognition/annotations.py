"""Lists of videos with their classes, in the formats of the data sets."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from onlinetada.errors import InputError
from onlinetada.trackers.recognition.recipe import DataOptions

Label = tuple[int, ...]
Kind = TypeVar("Kind", "list[dict[str, str]]", "dict[str, str]")


@dataclass(frozen=True)
class VideoItem:
    """One video, or a part of one, and its class.

    Attributes:
        path: video file or folder of frames.
        label: class, or verb and noun.
        begin, end: frames of the part, end not included; None is the whole.
        name: of the item in its data set.
    """

    path: Path
    label: Label
    begin: int = 0
    end: int | None = None
    name: str = ""


def read_items(data: DataOptions, listing: Path, videos: Path, labels: Path | None) -> list[VideoItem]:
    """The items of an annotation file.

    Raises:
        InputError: a file is missing or of another format; names the line.
    """
    if not listing.exists():
        raise InputError(f"{listing}: no such annotation file")
    if not videos.is_dir():
        raise InputError(f"{videos}: no such folder of videos")
    readers = {"csv": _read_csv, "kinetics400": _read_kinetics, "epic100": _read_epic}
    if data.kind == "ssv2":
        assert labels is not None  # noqa: S101  the recipe has looked
        items = _read_ssv2(listing, videos, labels)
    elif data.kind in readers:
        items = readers[data.kind](listing, videos)
    else:
        raise InputError(f"data.kind {data.kind} has no annotation file")
    if not items:
        raise InputError(f"{listing}: no videos in it")
    return items


def class_counts(items: list[VideoItem]) -> int | tuple[int, int]:
    """Number of classes, or of verbs and nouns: one more than the largest label."""
    counts = [1 + max(column) for column in zip(*(item.label for item in items), strict=True)]
    return counts[0] if len(counts) == 1 else (counts[0], counts[1])


def find_video(folder: Path, stem: str) -> Path:
    """A folder of frames or a video file of this name; the bare name where there is neither, for the message later."""
    for candidate in (folder / stem, *(folder / f"{stem}{end}" for end in (".mp4", ".webm", ".mkv", ".avi", ".MP4"))):
        if candidate.exists():
            return candidate
    return folder / stem


def _rows(listing: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    with listing.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in needed if name not in (reader.fieldnames or [])]
        if missing:
            raise InputError(f"{listing}: no column {missing[0]!r}; it needs {', '.join(needed)}")
        return list(reader)


def _read_csv(listing: Path, videos: Path) -> list[VideoItem]:
    """Columns path and label (a number), or path, verb, noun; begin and end if there are such columns."""
    rows = _rows(listing, ("path",))
    items = []
    for number, row in enumerate(rows, 2):
        columns = ("label",) if row.get("label") is not None else ("verb", "noun")
        label = tuple(_whole(row.get(c), listing, number, c) for c in columns)
        begin = _whole(row.get("begin") or "0", listing, number, "begin")
        end = _whole(row["end"], listing, number, "end") if row.get("end") else None
        items.append(VideoItem(videos / row["path"], label, begin, end, row["path"]))
    return items


def _read_kinetics(listing: Path, videos: Path) -> list[VideoItem]:
    """label, youtube_id, time_start, time_end; files are named <id>_<start, 6 digits>_<end, 6 digits> or <id>.

    Classes are numbered in alphabetical order, as is usual; a test list needs all the classes for that.
    """
    rows = _rows(listing, ("label", "youtube_id", "time_start", "time_end"))
    numbers = {name: i for i, name in enumerate(sorted({row["label"] for row in rows}))}
    items = []
    for number, row in enumerate(rows, 2):
        begin, end = (_whole(row[c], listing, number, c) for c in ("time_start", "time_end"))
        stem = f"{row['youtube_id']}_{begin:06d}_{end:06d}"
        candidates = [videos / row["label"], videos / row["label"].replace(" ", "_"), videos]
        folder = next((f for f in candidates if f.is_dir()), videos)
        path = find_video(folder, stem)
        other = find_video(folder, row["youtube_id"])
        path = path if path.exists() or not other.exists() else other
        items.append(VideoItem(path, (numbers[row["label"]],), name=stem))
    return items


def _read_ssv2(listing: Path, videos: Path, labels: Path) -> list[VideoItem]:
    """A list of {"id", "template"}; brackets in templates are not part of the class's name."""
    numbers = {name: int(i) for name, i in _json(labels, dict).items()}
    items = []
    for entry in _json(listing, list):
        name = str(entry.get("template", "")).replace("[", "").replace("]", "")
        if "id" not in entry or name not in numbers:
            raise InputError(f"{listing}: entry {entry.get('id')!r} has no class that {labels.name} numbers: {name!r}")
        items.append(VideoItem(find_video(videos, str(entry["id"])), (numbers[name],), name=str(entry["id"])))
    return items


def _read_epic(listing: Path, videos: Path) -> list[VideoItem]:
    """narration_id, participant_id, video_id, start_frame, stop_frame, verb_class, noun_class; frames count from 1."""
    columns = ("start_frame", "stop_frame", "verb_class", "noun_class")
    items = []
    for number, row in enumerate(_rows(listing, ("narration_id", "participant_id", "video_id", *columns)), 2):
        start, stop, verb, noun = (_whole(row[c], listing, number, c) for c in columns)
        if stop < start or start < 1:
            raise InputError(f"{listing}:{number}: frames {start} to {stop} are no part of a video")
        own = videos / row["participant_id"]
        folder = next((f for f in (own / "rgb_frames", own) if f.is_dir()), videos)
        path = find_video(folder, row["video_id"])
        items.append(VideoItem(path, (verb, noun), start - 1, stop, row["narration_id"]))
    return items


def _whole(text: str | None, listing: Path, number: int, column: str) -> int:
    try:
        return int(text or "")
    except ValueError:
        raise InputError(f"{listing}:{number}: {column} must be a whole number, not {text!r}") from None


def _json(path: Path, kind: type[Kind]) -> Kind:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{path}: not JSON") from None
    if not isinstance(value, kind):
        raise InputError(f"{path}: must hold a {'list' if kind is list else 'mapping'}")
    return value
