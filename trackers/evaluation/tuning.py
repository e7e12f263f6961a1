"""Search of inference options on given sequences: one set for all of them. Needs optuna (``onlinetada[search]``)."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from collections.abc import Sequence as Several
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onlinetada.errors import InputError
from onlinetada.trackers.evaluation.building import TrackerChoice
from onlinetada.trackers.evaluation.modes import track
from onlinetada.trackers.evaluation.protocols import Protocol
from onlinetada.trackers.evaluation.scores import score_sequence, sequence_values
from onlinetada.trackers.evaluation.seeding import seed_everything
from onlinetada.trackers.evaluation.sequences import Sequence
from onlinetada.trackers.evaluation.statistics import PairedDifference, paired_difference
from onlinetada.trackers.result import Tracker

Ranges = dict[str, tuple[float, float]]
BuildWith = Callable[[dict[str, float]], Tracker]


@dataclass(frozen=True)
class Choose:
    """Builds a model with the options of a trial."""

    choice: TrackerChoice

    def __call__(self, options: dict[str, float]) -> Tracker:
        changes: dict[str, Any] = dict(options)
        return replace(self.choice, **changes)()


@dataclass(frozen=True)
class Search:
    """What is searched, and where its trials are kept; it must survive pickling.

    Attributes:
        build: options -> tracker; {} gives the model's own.
        benchmarks: name -> sequences. Each benchmark weighs the same, however many sequences it has.
        ranges: option -> lowest and highest value.
        journal: file of all trials; processes on several machines may share it.
        trials: how many finished trials the search ends with, those of earlier sittings included.
        seed: of the sampler.
    """

    build: BuildWith
    benchmarks: dict[str, tuple[Sequence, ...]]
    protocol: Protocol
    ranges: Ranges
    journal: Path
    trials: int
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What was found.

    Attributes:
        options: the best, {} where nothing was better than the model's own.
        success: mean success with them.
        default_success: with the model's own options.
        difference: best against own, paired by sequence: the search has seen these sequences, so it flatters.
        trials: how many have finished.
    """

    options: dict[str, float]
    success: float
    default_success: float
    difference: PairedDifference
    trials: int


def run_search(search: Search, *, workers: int = 1) -> Outcome:
    """Go on until there are enough trials. A search that was stopped goes on where it was.

    Raises:
        InputError: optuna is missing.
    """
    study = _open_study(search)
    if not _own(study):
        study.enqueue_trial({}, user_attrs={"own": True})
    if workers <= 1:
        _optimize(search)
    else:
        context = multiprocessing.get_context("spawn")
        parts = [replace(search, seed=search.seed + i) for i in range(workers)]
        processes = [context.Process(target=_worker, args=(part,)) for part in parts]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    return _outcome(_open_study(search))


def measure(search: Search, options: dict[str, float]) -> dict[str, float]:
    """Success by ``benchmark/sequence`` with these options."""
    tracker = search.build(options)
    values = {}
    for name, sequences in search.benchmarks.items():
        for sequence in sequences:
            seed_everything()
            boxes = sequence.published(track(tracker, sequence).boxes)
            score = score_sequence(search.protocol, sequence, boxes)
            values[f"{name}/{sequence.name}"] = sequence_values(search.protocol, score)["success"]
    return values


def mean_success(values: dict[str, float]) -> float:
    """Mean over benchmarks of the mean over their sequences."""
    groups: dict[str, list[float]] = {}
    for name, value in values.items():
        groups.setdefault(name.partition("/")[0], []).append(value)
    return float(np.mean([np.mean(g) for g in groups.values()]))


def _worker(search: Search) -> None:
    import torch

    torch.set_num_threads(1)
    _optimize(search)


def _optimize(search: Search) -> None:
    import optuna

    def objective(trial: Any) -> float:
        own = trial.user_attrs.get("own", False)
        options = {} if own else {n: trial.suggest_float(n, *bounds) for n, bounds in search.ranges.items()}
        values = measure(search, options)
        trial.set_user_attr("values", values)
        return mean_success(values)

    def say(study: Any, trial: Any) -> None:
        shown = ", ".join(f"{n} {v:.4f}" for n, v in trial.params.items()) or "the model's own options"
        print(f"trial {trial.number}: {trial.value:.4f} with {shown}; best {study.best_value:.4f}", file=sys.stderr)

    study = _open_study(search)
    enough = optuna.study.MaxTrialsCallback(search.trials, states=(optuna.trial.TrialState.COMPLETE,))
    if len(_finished(study)) < search.trials:
        study.optimize(objective, callbacks=[say, enough])


def _open_study(search: Search) -> Any:
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise InputError("the search needs optuna: pip install 'onlinetada[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search.journal.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name="onlinetada",
        storage=JournalStorage(JournalFileBackend(str(search.journal))),
        direction="maximize",
        load_if_exists=True,
    )
    # the same seed in a later sitting would draw the first sitting's trials again
    study.sampler = optuna.samplers.TPESampler(seed=search.seed + 1000 * len(study.trials))
    return study


def _finished(study: Any) -> list[Any]:
    import optuna

    return list(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)))


def _own(study: Any) -> list[Any]:
    """Trials of the model's own options that are done or will be; one that was killed half way is not among them."""
    import optuna

    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.WAITING)
    return [t for t in study.get_trials(states=states) if t.user_attrs.get("own")]


def _outcome(study: Any) -> Outcome:
    done = _finished(study)
    own: Several[Any] = [t for t in done if t.user_attrs.get("own")]
    if not own:
        raise InputError("the trial with the model's own options has not finished; run the search again")
    best = max(done, key=lambda t: (t.value, t is own[0]))
    difference = paired_difference("best", "own", best.user_attrs["values"], own[0].user_attrs["values"])
    return Outcome(dict(best.params), float(best.value), float(own[0].value), difference, len(done))
