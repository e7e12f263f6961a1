"""One sitting of a training: log, contact sheets, validation by tracking, the best weights so far."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from onlinetada.errors import InputError
from onlinetada.trackers.models.registry import find_model
from onlinetada.trackers.training.release import rounded, write_weights
from onlinetada.trackers.training.sheets import write_picture
from onlinetada.trackers.training.trainer import Progress, Trainer
from onlinetada.trackers.training.validation import HeldOut, as_plain, run_clips, score_runs, spread

LOG, VALIDATION_LOG = "log.jsonl", "validation.jsonl"


class Board(Protocol):
    """What is used of TensorBoard's writer."""

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """A number at a step."""

    def add_image(self, tag: str, image: Any, step: int, *, dataformats: str) -> None:
        """A picture at a step."""

    def close(self) -> None:
        """Write what is left."""


def open_board(folder: Path) -> Board:
    """A TensorBoard log.

    Raises:
        InputError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("TensorBoard is not installed: pip install tensorboard, or leave --tensorboard out") from None
    board: Board = SummaryWriter(str(folder))
    return board


@dataclass
class Session:
    """Runs a trainer and writes what happens into a folder.

    Attributes:
        trainer: does the work.
        out: gets ``log.jsonl``, ``validation.jsonl``, ``sheets/`` and ``best/``.
        clips: held-out clips to track during training; none are tracked without.
        board: TensorBoard's writer.
        say: prints a line.
    """

    trainer: Trainer
    out: Path
    clips: Sequence[HeldOut] = ()
    board: Board | None = None
    say: Callable[[str], None] = print
    _best: float = field(default=-math.inf, init=False)

    def run(self, max_s: float = math.inf) -> None:
        """Train until the recipe's end, or for so many seconds."""
        if not self.trainer.team.leads:
            self.trainer.run(max_s=max_s, report=lambda progress: None)
            return
        self.out.mkdir(parents=True, exist_ok=True)
        self._best = max((line["success"] for line in read_lines(self.out / VALIDATION_LOG)), default=-math.inf)
        with ExitStack() as stack:
            if self.board is not None:
                stack.callback(self.board.close)
            self.trainer.run(max_s=max_s, report=self._report, at_checkpoint=self._look, at_validation=self._validate)

    def _report(self, progress: Progress) -> None:
        append_line(self.out / LOG, progress.line())
        parts = "  ".join(f"{name} {value:.4f}" for name, value in progress.parts.items())
        self.say(
            f"{progress.iteration:6d}/{self.trainer.job.pace.iterations}  {parts}  rate {progress.learning_rate:.2g}  "
            f"{progress.search_frames_per_s:.0f} frames/s  {_duration(progress.remaining_s)} left"
        )
        if self.board is not None:
            scalars = {f"train/{name}": value for name, value in progress.parts.items()}
            scalars |= {f"rate/{name}": value for name, value in progress.rates.items()}
            scalars |= {
                "train/gradient_norm": progress.gradient_norm,
                "speed/search_frames_per_s": progress.search_frames_per_s,
            }
            for tag, value in scalars.items():
                self.board.add_scalar(tag, value, progress.iteration)

    def _look(self, iteration: int) -> None:
        sheet = self.trainer.job.sheet(self.trainer.average, self.trainer.bank)
        write_picture(sheet, self.out / "sheets" / f"{iteration:06d}.png")
        if self.board is not None:
            self.board.add_image("sheet", np.ascontiguousarray(sheet[..., ::-1]), iteration, dataformats="HWC")

    def _validate(self, iteration: int) -> None:
        if not self.clips:
            return
        job = self.trainer.job
        config = find_model(job.model).inference
        runs = run_clips(self.trainer.average, config, spread(self.clips, job.pace.validate_clips))  # type: ignore[arg-type]
        if not runs:
            return
        scores = as_plain(score_runs(runs))
        every = scores["all"]
        line = {"iteration": iteration, "success": every["success"], "precision": every["precision"], "scores": scores}
        append_line(self.out / VALIDATION_LOG, rounded(line))
        better = every["success"] > self._best
        self.say(
            f"{iteration:6d}  tracked {every['tracks']:.0f} tracks: success {every['success']:.3f}, "
            f"precision {every['precision']:.3f}{', the best so far' if better else ''}"
        )
        if self.board is not None:
            for name, value in scores.items():
                self.board.add_scalar(f"validation success/{name}", value["success"], iteration)
                self.board.add_scalar(f"validation precision/{name}", value["precision"], iteration)
        if better:
            self._best = every["success"]
            self._keep_best(line)

    def _keep_best(self, line: dict[str, Any]) -> None:
        """Weights that can be tracked with, beside a card that says no more than what they are."""
        job, average = self.trainer.job, self.trainer.average
        path = self.out / "best" / f"{job.model}.safetensors"
        digest = write_weights(average, path, half=job.model == "compact")
        card = {"model": job.model, "sha256": digest, "network": job.description(average), "validation_so_far": line}
        path.with_suffix(".json").write_text(json.dumps(rounded(card), indent=1) + "\n", encoding="utf-8")


def append_line(path: Path, values: dict[str, Any]) -> None:
    """Add a line of JSON to a file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of JSON of a file; none if it is not there."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
