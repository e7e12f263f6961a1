"""What a run says while it goes on: one line a sequence, with the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from collections.abc import Sequence as Several

from onlinetada.trackers.evaluation.sequences import Sequence


class Progress:
    """Counts what all workers have done, by looking at their results.

    Args:
        sequences: of the run.
        waiting: those of them that are not done at its beginning.
        is_done: whether a sequence has its result.
    """

    def __init__(
        self, sequences: Several[Sequence], waiting: Several[Sequence], is_done: Callable[[Sequence], bool]
    ) -> None:
        self._count = len(sequences)
        self._open = list(waiting)
        self._frames = sum(map(len, waiting))
        self._is_done = is_done
        self._start_s = time.monotonic()
        if len(waiting) < len(sequences):
            _say(f"{len(sequences) - len(waiting)} of {len(sequences)} sequences are done already")

    def finished(self, sequence: Sequence, seconds: float) -> None:
        """Say that this worker finished a sequence."""
        self._open = [s for s in self._open if s is not sequence and not self._is_done(s)]
        left = sum(map(len, self._open))
        elapsed = time.monotonic() - self._start_s
        rest = f"; {_duration(elapsed * left / max(1, self._frames - left))} left" if left else ""
        fps = len(sequence) / max(seconds, 1e-9)
        number = f"[{self._count - len(self._open)}/{self._count}]"
        _say(f"{number} {sequence.name}: {len(sequence)} frames, {fps:.1f} fps{rest}")

    def failed(self, sequence: Sequence, error: Exception) -> None:
        """Say that a sequence cannot be run."""
        self._open = [s for s in self._open if s is not sequence]
        _say(f"{sequence.name} FAILED: {error}")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
