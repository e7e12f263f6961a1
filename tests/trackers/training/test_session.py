"""What a sitting of a training leaves behind."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from onlinetada.errors import InputError
from onlinetada.trackers.assemble import build_engine
from onlinetada.trackers.training import session
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.batches import BatchOptions
from onlinetada.trackers.training.readers import open_folder
from onlinetada.trackers.training.recipe import OptimiserOptions, Recipe
from onlinetada.trackers.training.release import release
from onlinetada.trackers.training.scenes import SceneOptions
from onlinetada.trackers.training.session import Session, open_board, read_lines, spread
from onlinetada.trackers.training.trainer import Trainer
from onlinetada.trackers.training.validation import HeldOut, Scores

RECIPE = Recipe(
    iterations=6,
    batch=BatchOptions(pasted=1, still=1, real=1, scene=SceneOptions(frames=1, size=96)),
    optimiser=OptimiserOptions(warm_up=1),
    imagenet=False,
    frozen_blocks=5,
    frozen_depthwise=True,
    log_every=2,
    checkpoint_every=3,
    validate_every=2,
    validate_clips=1,
)


@pytest.fixture
def clips(raw: Path) -> list[HeldOut]:
    torch.set_num_threads(1)
    return [HeldOut("videos", c) for c in open_folder(raw / "videos", "videos")]


def test_everything_is_written_where_it_belongs(bank: Bank, clips: list[HeldOut], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    said: list[str] = []
    board = open_board(tmp_path / "tensorboard")
    Session(Trainer(RECIPE, bank, tmp_path), tmp_path, clips, board, say=said.append).run()
    log = read_lines(tmp_path / "log.jsonl")
    assert [line["iteration"] for line in log] == [2, 4, 6]
    assert {"score_loss", "box_loss", "iou", "gradient_norm", "learning_rate", "remaining_s", "rates"} <= set(log[0])
    assert log[0]["rates"]["x1"] == pytest.approx(4 * log[0]["rates"]["x0.25"]) == log[0]["learning_rate"]
    validated = read_lines(tmp_path / "validation.jsonl")
    assert [line["iteration"] for line in validated] == [2, 4], "at the end, the card has it"
    assert set(validated[0]["scores"]) == {"videos", "all"} and 0 <= validated[0]["success"] <= 1
    assert (tmp_path / "sheets/000003.png").exists()
    assert "left" in said[0] and "tracked 1 tracks" in said[1]

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"train/score_loss", "rate/x0.25", "speed/search_frames_per_s", "validation success/all"} <= set(
        tags["scalars"]
    )
    assert tags["images"] == ["sheet"]
    assert [e.value for e in events.Scalars("train/iou")] == pytest.approx([line["iou"] for line in log])


def test_the_best_weights_stay_and_track(
    bank: Bank, clips: list[HeldOut], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    success = iter([0.5, 0.7, 0.6])

    def scored(runs: Any) -> dict[str, Scores]:
        return {"all": Scores(len(runs), next(success), 0.5)}

    monkeypatch.setattr(session, "score_runs", scored)
    recipe = dataclasses.replace(RECIPE, validate_every=1, iterations=9)
    trainer = Trainer(recipe, bank, tmp_path)
    trainer.run(report=lambda progress: None, until=1, at_validation=Session(trainer, tmp_path, clips)._validate)
    running = Session(trainer, tmp_path, clips, say=lambda line: None)
    running._best = 0.5
    trainer.run(report=lambda progress: None, until=2, at_validation=running._validate)
    best = {k: v.clone() for k, v in trainer.average.state_dict().items()}
    trainer.run(report=lambda progress: None, until=3, at_validation=running._validate)
    card = json.loads((tmp_path / "best/compact.json").read_text())
    assert card["validation_so_far"]["success"] == 0.7 and card["validation_so_far"]["iteration"] == 2
    engine = build_engine("compact", weights=tmp_path / "best/compact.safetensors", device="cpu")
    name = "head.log_ridge"
    assert torch.equal(engine.network.state_dict()[name], best[name])
    assert [line["success"] for line in read_lines(tmp_path / "validation.jsonl")] == [0.5, 0.7, 0.6]


def test_a_loss_that_is_no_number_ends_the_training_and_leaves_the_checkpoint(bank: Bank, tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, bank, tmp_path)
    trainer.run(report=lambda progress: None, until=2)
    before = (trainer.checkpoint / "meta.json").read_text()
    with torch.no_grad():
        trainer.network.head.log_ridge.fill_(float("nan"))
    with pytest.raises(InputError, match="no longer finite at iteration 3"):
        trainer.run(report=lambda progress: None)
    assert (trainer.checkpoint / "meta.json").read_text() == before


def test_weights_carry_their_licence_and_the_card_their_hash(bank: Bank, tmp_path: Path) -> None:
    from safetensors import safe_open

    trainer = Trainer(RECIPE, bank, tmp_path)
    path = tmp_path / "w.safetensors"
    card = release(trainer.average, path, recipe=RECIPE, training=trainer.summary(), terms=bank.terms)
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    with safe_open(path, "pt") as file:
        assert file.metadata()["license"] == card["license"] == "Apache-2.0" and "research" in file.metadata()["terms"]


def test_spread_takes_from_all_over(clips: list[HeldOut]) -> None:
    many = [dataclasses.replace(clips[0], source=str(i)) for i in range(10)]
    assert [c.source for c in spread(many, 3)] == ["0", "4", "9"]
    assert len(spread(many, 99)) == 10 and spread([], 3) == []
