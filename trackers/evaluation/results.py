"""Result files of trackers: ``RESULTS/BENCHMARK/TRACKER/SEQUENCE.txt``, ours and everybody's."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence as Several
from pathlib import Path

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.benchmarks import Benchmark
from onlinetada.trackers.evaluation.boxfiles import Boxes, read_boxes, read_numbers
from onlinetada.trackers.evaluation.sequences import Sequence


def results_folder(results: Path, benchmark: Benchmark) -> Path:
    """``RESULTS/BENCHMARK``, under any name of the benchmark; or ``RESULTS`` itself where it is that folder.

    Raises:
        InputError: neither is there.
    """
    if not results.is_dir():
        raise InputError(f"{results}: no such folder; results are read from RESULTS/{benchmark.name}/TRACKER/SEQ.txt")
    names = {n.lower() for n in (benchmark.name, *benchmark.aliases)}
    for folder in sorted(results.iterdir()):
        if folder.is_dir() and folder.name.lower() in names:
            return folder
    if results.name.lower() in names:
        return results
    raise InputError(f"{results}: no folder {benchmark.name} in it; expected {benchmark.name}/TRACKER/SEQUENCE.txt")


def list_trackers(folder: Path, wanted: Several[str] = ()) -> tuple[str, ...]:
    """Trackers that have a folder of results, or those of them that are wanted.

    Raises:
        InputError: there are none, or a wanted one is missing.
    """
    there = sorted(f.name for f in folder.iterdir() if f.is_dir() and _has_results(f))
    if not there:
        raise InputError(f"{folder}: no tracker has results here; expected TRACKER/SEQUENCE.txt")
    for name in wanted:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1)
            raise InputError(f"{folder}: no results of {name!r}; there are {', '.join(near or there[:8])}")
    return tuple(dict.fromkeys(wanted)) or tuple(there)


def load_results(folder: Path, tracker: str, sequences: Several[Sequence]) -> dict[str, Boxes]:
    """Boxes of a tracker by sequence, in published coordinates; sequences without a file are left out.

    Raises:
        InputError: a file is broken or has the wrong length (file and line are named), or none is there.
    """
    found: dict[str, Boxes] = {}
    for sequence in sequences:
        file = result_file(folder / tracker, sequence.name)
        if file is not None:
            found[sequence.name] = read_boxes(file, rows=len(sequence))
    if not found:
        raise InputError(f"{folder / tracker}: no result for any sequence, {sequences[0].name}.txt for one")
    return found


def result_file(folder: Path, sequence: str) -> Path | None:
    """The result file of a sequence: ``SEQ.txt``, or ``SEQ/SEQ_001.txt`` as for GOT-10k; None without.

    People write Jogging-1, jogging_1 and Jogging.1; a file that differs in case and signs only is taken, too.
    """
    for file in (folder / f"{sequence}.txt", folder / sequence / f"{sequence}_001.txt"):
        if file.is_file():
            return file
    alike = [f for f in folder.glob("*.txt") if _plain(f.stem) == _plain(sequence)]
    return alike[0] if len(alike) == 1 else None


def speed_fps(folder: Path, tracker: str, sequences: Several[Sequence]) -> float:
    """Frames a second of the tracker alone, over all sequences that have a times file; NaN without any.

    The first frame, initialisation, is left out.
    """
    seconds = _seconds(folder / tracker, sequences, "time")
    return len(seconds) / total if (total := sum(seconds)) > 0 else float("nan")


def decode_ms(folder: Path, tracker: str, sequences: Several[Sequence]) -> float:
    """Mean time of reading and decoding a frame, which is not part of the tracker's; NaN where it is not known."""
    seconds = _seconds(folder / tracker, sequences, "decode")
    return 1000 * sum(seconds) / len(seconds) if seconds else float("nan")


def _seconds(folder: Path, sequences: Several[Sequence], kind: str) -> list[float]:
    files = [folder / "times" / f"{s.name}_{kind}.txt" for s in sequences]
    return [float(v) for file in files if file.is_file() for v in read_numbers(file)[1:]]


def _plain(name: str) -> str:
    return re.sub(r"[-._ ]", "-", name.lower())  # one for one: car1_1 must not become car11


def _has_results(folder: Path) -> bool:
    return any(folder.glob("*.txt")) or any(folder.glob("*/*_001.txt"))
