"""Between the got10k toolkit and this one: its datasets and trackers here, our sequences in its experiments."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Several
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from onlinetada.trackers.evaluation.benchmarks import Benchmark
from onlinetada.trackers.evaluation.geometry import bounding_boxes
from onlinetada.trackers.evaluation.sequences import Sequence
from onlinetada.trackers.result import Box, Image, TrackResult, as_box


class Got10kDataset:
    """Our sequences with the face of a got10k dataset: ``seq_names``, ``len``, and items ``(img_files, anno)``.

    ``anno`` is in 0-based pixels, so trackers start right; scores do not change, for results are in the same.
    """

    def __init__(self, sequences: Several[Sequence]) -> None:
        self._sequences = tuple(sequences)
        self.seq_names = [s.name for s in sequences]

    def __len__(self) -> int:
        return len(self._sequences)

    def __getitem__(self, index: int | str) -> tuple[list[str], npt.NDArray[np.float64]]:
        sequence = self._sequences[self.seq_names.index(index) if isinstance(index, str) else index]
        truth = bounding_boxes(sequence.truth) - [sequence.index_base, sequence.index_base, 0, 0]
        return [str(f) for f in sequence.frames], truth

    def __iter__(self) -> Iterator[tuple[list[str], npt.NDArray[np.float64]]]:
        return (self[i] for i in range(len(self)))


def got10k_experiment(sequences: Several[Sequence], *, name: str, results: Path, reports: Path) -> Any:
    """A got10k ``ExperimentOTB`` (``run``, ``report``, ``show``) over any of our sequences.

    Args:
        name: folder of the results and of the report.
    """
    from got10k.experiments import ExperimentOTB

    experiment = object.__new__(ExperimentOTB)  # its __init__ would download OTB
    experiment.dataset = Got10kDataset(sequences)
    experiment.result_dir, experiment.report_dir = str(results / name), str(reports / name)
    experiment.nbins_iou, experiment.nbins_ce = 21, 51
    return experiment


def sequences_of(dataset: Any, benchmark: Benchmark) -> tuple[Sequence, ...]:
    """The sequences of a got10k dataset object, whose boxes are in the benchmark's published coordinates."""
    made = []
    for index, name in enumerate(dataset.seq_names):
        files, anno = dataset[index][:2]
        truth = np.asarray(anno, dtype=np.float64).reshape(-1, np.shape(anno)[-1])
        frames = tuple(Path(f) for f in files)
        withheld = len(truth) == 1 < len(frames)
        if withheld:
            truth = np.concatenate([truth, np.full((len(frames) - 1, truth.shape[1]), np.nan)])
        made.append(Sequence(name, truth, benchmark.index_base, benchmark.fps, frames, withheld=withheld))
    return tuple(made)


class FromGot10k:
    """A tracker written for the got10k toolkit (``init(image, box)``, ``update(image)`` with PIL RGB) as one of ours.

    It has no confidence: its score is 1 and it is never lost.
    """

    def __init__(self, tracker: Any) -> None:
        self.name = str(tracker.name)
        self._tracker = tracker
        self._index = 0

    def init(
        self, image: Image, box_xywh: Box | npt.ArrayLike, *, timestamp_s: float | None = None, color: str = "bgr"
    ) -> TrackResult:
        """Start on a frame."""
        start, self._index = perf_counter(), 0
        box = as_box(box_xywh)
        self._tracker.init(_pil(image, color), np.array(box))
        return self._result(box, timestamp_s, start)

    def update(self, image: Image, *, timestamp_s: float | None = None, color: str = "bgr") -> TrackResult:
        """Find the target in the next frame."""
        start = perf_counter()
        self._index += 1
        return self._result(as_box(self._tracker.update(_pil(image, color))), timestamp_s, start)

    def _result(self, box: Box, timestamp_s: float | None, start: float) -> TrackResult:
        stamp = self._index / 30 if timestamp_s is None else timestamp_s
        return TrackResult(self._index, stamp, box, 1.0, "tracking", (perf_counter() - start) * 1000)


def _pil(image: Image, color: str) -> Any:
    from PIL import Image as PilImage

    return PilImage.fromarray(image if color == "rgb" else np.ascontiguousarray(image[..., ::-1]))
