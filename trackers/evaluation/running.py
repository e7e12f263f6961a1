"""Run a tracker over a benchmark: several workers and machines, stopped and gone on with at any moment."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from pathlib import Path

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.boxfiles import sweep_parts, write_atomic
from onlinetada.trackers.evaluation.claims import Claims
from onlinetada.trackers.evaluation.modes import Mode, OnePass
from onlinetada.trackers.evaluation.progress import Progress
from onlinetada.trackers.evaluation.seeding import seed_everything
from onlinetada.trackers.evaluation.sequences import Sequence
from onlinetada.trackers.result import Tracker

Build = Callable[[], Tracker]
_POLL_S = 0.2


@dataclass(frozen=True)
class Job:
    """What every worker of a run needs; it must survive pickling.

    Attributes:
        build: makes the tracker, once a worker.
        sequences: to be run.
        folder: of the tracker's results.
        mode: how a sequence is run.
        batch: sequences that advance together through one network; 1: one after the other.
    """

    build: Build
    sequences: tuple[Sequence, ...]
    folder: Path
    mode: Mode = field(default_factory=OnePass)
    batch: int = 1


def run_all(job: Job, *, workers: int = 1) -> list[str]:
    """Run what is not done yet, and wait for what others are running.

    Other processes, on this or another machine, may work on the same folder at the same time; every sequence is run by
    whoever claims it first, and taken over from those that die.

    Returns:
        Names of the sequences that have no result in the end, because they cannot be read.
    """
    sweep_parts(job.folder)
    if workers <= 1:
        work(job)
    else:
        _run_workers(job, workers)
    Claims(job.folder / ".claims").clear()
    return [s.name for s in job.sequences if not job.mode.is_done(job.folder, s)]


def work(job: Job) -> None:
    """One worker: claim and run until every sequence is done or has failed here."""
    waiting = sorted((s for s in job.sequences if not job.mode.is_done(job.folder, s)), key=lambda s: -len(s))
    progress = Progress(job.sequences, waiting, lambda s: job.mode.is_done(job.folder, s))
    if not waiting:
        return
    if job.batch > 1:
        from onlinetada.trackers.evaluation.lockstep import work_in_lockstep

        work_in_lockstep(job, waiting, progress)
        return
    tracker = None
    with Claims(job.folder / ".claims") as claims:
        while waiting:
            sequence = claim_next(job, claims, waiting)
            if sequence is None:
                time.sleep(_POLL_S)  # the rest is being run by others; take over if they die
                continue
            tracker = job.build() if tracker is None else tracker
            _run_one(job, tracker, sequence, progress)
            claims.release(sequence.name)


def claim_next(job: Job, claims: Claims, waiting: list[Sequence]) -> Sequence | None:
    """Take the next free sequence out of ``waiting``, and those that others have finished; None: none is free now."""
    for sequence in list(waiting):
        if job.mode.is_done(job.folder, sequence):
            waiting.remove(sequence)
        elif claims.take(sequence.name):
            waiting.remove(sequence)
            if not job.mode.is_done(job.folder, sequence):  # finished between the look and the claim
                return sequence
            claims.release(sequence.name)
    return None


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write the files of a sequence, the one that says it is done last."""
    for name, content in files.items():
        write_atomic(folder / name, content)


def note_settings(folder: Path, settings: dict[str, object]) -> None:
    """Write what the results were made with, or compare: results of two settings must not mix.

    Raises:
        InputError: there are results of other settings.
    """
    file = folder / "run.json"
    text = json.dumps(settings, indent=1, sort_keys=True) + "\n"
    if not file.is_file():
        write_atomic(file, text)
        return
    try:
        before = json.loads(file.read_text())
    except ValueError:
        before = {}
    for name in sorted(settings.keys() | before.keys()):
        if settings.get(name) != before.get(name):
            raise InputError(
                f"{folder} holds results made with {name} = {before.get(name)}, now it is {settings.get(name)}; "
                "give another --name, or --overwrite to begin anew"
            )


def _run_one(job: Job, tracker: Tracker, sequence: Sequence, progress: Progress) -> None:
    start = time.perf_counter()
    seed_everything()
    try:
        files = job.mode.run(tracker, sequence)
    except InputError as error:
        progress.failed(sequence, error)
        return
    write_files(job.folder, files)
    progress.finished(sequence, time.perf_counter() - start)


def _run_workers(job: Job, workers: int) -> None:
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // workers)
    processes = [context.Process(target=_worker, args=(job, index, threads)) for index in range(workers)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    broken = [p.exitcode for p in processes if p.exitcode not in (0, None)]
    if len(broken) == len(processes):
        raise InputError("no worker could run the tracker; see the messages above")
    if broken:
        print(f"onlinetada eval: {len(broken)} of {workers} workers stopped early", file=sys.stderr)
        work(job)  # what they left


def _worker(job: Job, index: int, threads: int) -> None:
    _die_with_parent()
    import torch

    torch.set_num_threads(threads)
    if torch.cuda.device_count() > 1 and "LOCAL_RANK" not in os.environ:
        torch.cuda.set_device(index % torch.cuda.device_count())
    try:
        work(job)
    except InputError as error:
        print(f"onlinetada eval: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _die_with_parent() -> None:
    """A worker whose parent was killed must not go on in the dark."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, name="parent watch", daemon=True).start()


def shard_of(sequences: Several[Sequence], shard: str) -> tuple[Sequence, ...]:
    """Part i of n, ``"i/n"``: every n-th sequence. i counts from 1; 0 is taken for n.

    Raises:
        InputError: not of that form.
    """
    first, slash, count = shard.partition("/")
    if not slash or not first.isdigit() or not count.isdigit() or int(count) < 1 or int(first) > int(count):
        raise InputError(f"--shard {shard!r}: expected i/n with i from 1 to n, as in 1/4")
    return tuple(sequences[int(first) % int(count) :: int(count)])
