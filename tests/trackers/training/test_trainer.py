"""Training learns, stops and goes on exactly, and its result tracks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from onlinetada.errors import InputError
from onlinetada.trackers.cli import main
from onlinetada.trackers.config import find_config, load_config
from onlinetada.trackers.models.compact import CompactOptions
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.batches import BatchOptions
from onlinetada.trackers.training.compact_job import CompactJob, new_network, rate_factor
from onlinetada.trackers.training.recipe import OptimiserOptions, Recipe
from onlinetada.trackers.training.release import write_weights
from onlinetada.trackers.training.render import compiled_kernels
from onlinetada.trackers.training.rounds import training_batches
from onlinetada.trackers.training.scenes import SceneOptions
from onlinetada.trackers.training.trainer import Progress, Trainer

SMALL = Recipe(
    iterations=6,
    batch=BatchOptions(pasted=1, still=1, real=2, scene=SceneOptions(frames=2, size=96)),
    optimiser=OptimiserOptions(warm_up=2),
    imagenet=False,
    frozen_blocks=5,
    frozen_depthwise=True,
    round_batches=2,
    passes=2,
    log_every=3,
    checkpoint_every=100,
)
CONFIGS = Path(__file__).parents[3] / "configs"


def weights_after(trainer: Trainer, **options: object) -> dict[str, torch.Tensor]:
    trainer.run(report=lambda progress: None, **options)  # type: ignore[arg-type]
    return {k: v.clone() for k, v in trainer.average.state_dict().items()}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_training_that_was_stopped_ends_as_one_that_was_not(bank: Bank, tmp_path: Path) -> None:
    whole = weights_after(Trainer(SMALL, bank, tmp_path / "whole"))
    weights_after(Trainer(SMALL, bank, tmp_path / "parts"), until=3)
    resumed = Trainer(SMALL, bank, tmp_path / "parts", resume=True)
    assert resumed.iteration == 3
    parts = weights_after(resumed)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_what_is_compiled_is_one_graph_each_and_says_the_same(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = dataclasses.replace(SMALL, batch=dataclasses.replace(SMALL.batch, scene=SceneOptions(frames=3, size=96)))
    job, compiler, made = CompactJob(recipe), torch.compile, []

    def compile_quickly(function: Any, **options: Any) -> Any:
        made.append(function)
        return compiler(function, backend="aot_eager", fullgraph=True, **options)

    monkeypatch.setattr(torch, "compile", compile_quickly)
    torch.compiler.reset()
    network = job.new_network(None)
    batch = next(training_batches(network, bank, recipe, kernels=compiled_kernels()))
    plain = next(training_batches(network, bank, recipe))
    assert (batch.clip - plain.clip).abs().max() < 0.1
    job.prepare(network, job.new_optimiser(network, torch.device("cpu")), 0)
    gradients = []
    for loss_of in (job.loss, job.compiled_loss()):
        network.zero_grad()
        loss, parts = loss_of(network, plain)
        loss.backward()
        gradients.append((loss.item(), parts, network.head.neck.weight.grad.clone()))
    assert len(made) == 6, "three that draw and begin, three of the loss"
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-4)
    assert torch.allclose(gradients[0][1], gradients[1][1], rtol=1e-3, atol=1e-4)
    assert torch.allclose(gradients[0][2], gradients[1][2], rtol=0.02, atol=1e-3)


def test_frozen_parts_stay_and_the_rest_moves(bank: Bank, tmp_path: Path) -> None:
    before = {k: v.clone() for k, v in new_network(SMALL).state_dict().items()}
    trainer = Trainer(SMALL, bank, tmp_path)
    trainer.run(report=lambda progress: None, until=2)
    after = trainer.network.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(n.startswith(("backbone.stem", "backbone.blocks.4.")) or ".depthwise." in n for n in moved)
    assert {"backbone.blocks.5.expand.weight", "backbone.blocks.10.project.weight", "head.neck.weight"} <= moved
    for shard in trainer.checkpoint.glob("*.safetensors"):
        assert shard.stat().st_size <= 16.1e6


def test_training_begins_with_given_weights_and_new_calibrations(bank: Bank, tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    plain = new_network(dataclasses.replace(SMALL, seed=5))
    write_weights(plain, path)
    online = dataclasses.replace(SMALL, model=CompactOptions(calibration="online"))
    network = Trainer(online, bank, tmp_path / "run", initial=path).network.state_dict()
    for name, value in plain.state_dict().items():
        assert torch.allclose(network[name], value, atol=1e-3 * float(value.abs().max()) + 1e-6), name
    assert network["backbone.blocks.9.expand.calibration.head.taps"].abs().sum() == 0
    with pytest.raises(InputError, match="there is no weights file"):
        new_network(SMALL, initial=tmp_path / "none.safetensors")


def test_the_same_weights_and_words_make_the_same_file(tmp_path: Path) -> None:
    """Whoever repeats a training gets the same hash."""
    network, path = new_network(SMALL), tmp_path / "a.safetensors"
    about = {word: f"{word} \u00e4" for word in ("model", "version", "licence", "terms", "made by")}
    digests = {write_weights(network, path, about=about) for _ in range(12)}
    assert digests == {hashlib.sha256(path.read_bytes()).hexdigest()}
    with safe_open(path, "pt") as file:
        assert file.metadata() == about
    read = load_file(path)
    assert read.keys() == network.state_dict().keys()
    assert torch.equal(read["head.neck.weight"], network.head.neck.weight.detach().half())


def test_features_of_the_frozen_part_are_those_of_the_pictures(bank: Bank) -> None:
    """What a round keeps gives the same answer as the pictures themselves, but for half floats."""
    recipe = dataclasses.replace(SMALL, round_batches=1, passes=1)
    network = new_network(recipe).eval()
    kept = next(training_batches(network, bank, recipe))
    pictures = next(training_batches(network, bank, dataclasses.replace(recipe, frozen_blocks=None)))
    with torch.no_grad():
        a = network.features(kept.clip, blocks_done=5)
        b = network.features(pictures.clip)
    assert (a - b).abs().max() < 0.01 * b.abs().max()


def test_a_round_shows_every_clip_in_every_pass(bank: Bank) -> None:
    network = new_network(SMALL)
    batches = training_batches(network, bank, SMALL)
    shown = [next(batches).boxes for _ in range(4)]
    passes = [torch.cat(shown[:2]), torch.cat(shown[2:])]
    first, second = (p.flatten(1)[p.flatten(1)[:, -1].argsort()] for p in passes)
    assert torch.equal(first, second) and not torch.equal(passes[0], passes[1])


def test_rate_warms_up_and_falls_to_a_hundredth() -> None:
    recipe = dataclasses.replace(SMALL, iterations=1000, optimiser=OptimiserOptions(warm_up=100))
    assert rate_factor(0, recipe) == pytest.approx(0.01)
    assert rate_factor(99, recipe) == pytest.approx(0.976, abs=0.01)
    assert rate_factor(500, recipe) == pytest.approx(0.505, abs=0.01)
    assert rate_factor(1000, recipe) == pytest.approx(0.01)


@pytest.mark.slow
def test_a_handful_of_clips_is_learnt_by_heart(bank: Bank, tmp_path: Path) -> None:
    recipe = dataclasses.replace(
        SMALL, iterations=40, round_batches=1, passes=1000, log_every=10, optimiser=OptimiserOptions(warm_up=5)
    )
    log: list[Progress] = []
    Trainer(recipe, bank, tmp_path).run(report=log.append)
    first, last = log[0].parts, log[-1].parts
    assert last["box_loss"] < 0.6 * first["box_loss"]
    assert last["iou"] > 0.6 > 0.5 > first["iou"] or last["iou"] > first["iou"] + 0.15


def test_whole_training_from_the_command_line(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "held.yaml").write_text("clips: [held]\n")
    (tmp_path / "material.yaml").write_text(
        "leave_out: held.yaml\nsources:\n"
        "  - {name: videos, path: videos, format: videos, terms: made here}\n"
        "  - {name: stills, path: stills, format: stills, terms: made here, blobs: 1}\n"
    )
    (tmp_path / "tiny.yaml").write_text(
        "iterations: 2\nname: tiny\nimagenet: false\nfrozen_blocks: 5\nfrozen_depthwise: true\ncheckpoint_every: 1\n"
        "batch: {pasted: 2, still: 1, real: 1, scene: {frames: 2, size: 96}}\n"
    )
    packed, out = tmp_path / "packed", tmp_path / "run"
    assert main(["data", "pack", str(tmp_path / "material.yaml"), "--root", str(raw), "--out", str(packed)]) == 0
    train = ["train", str(tmp_path / "tiny.yaml"), "--data", str(packed), "--out", str(out)]
    assert main([*train, "--max-minutes", "0"]) == 0
    assert main(train) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*train, "--resume", "--root", str(raw)]) == 0
    card = json.loads((out / "tiny.json").read_text())
    assert card["training"]["iterations"] == 2 and card["data"] == {"videos": "made here", "stills": "made here"}
    assert card["validation"]["scores"]["all"]["tracks"] == 1
    assert (out / "sheets/000001.png").exists() and len((out / "log.jsonl").read_text().splitlines()) >= 1

    from onlinetada.trackers.build import build_tracker
    from onlinetada.trackers.training.readers import open_folder

    tracker = build_tracker("compact", weights=out / "tiny.safetensors", device="cpu")
    clip = next(c for c in open_folder(raw / "videos", "videos") if c.name == "held")
    frames = [image for _, image in clip.read(range(3))]
    tracker.init(frames[0], clip.tracks["0"][0])
    assert np.isfinite(tracker.update(frames[1]).box_xywh).all()


def test_bad_recipes_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    for text, message in {
        "iterations: 5\nbatch: {pastd: 3}": "unknown key 'batch.pastd'; did you mean 'pasted'?",
        "seed: 1": "'iterations' is missing",
        "iterations: many": "iterations must be int, not str 'many'",
        "iterations: 0": "iterations must be at least 1",
        "iterations: 5\nprecision: half": "precision must be one of float32, bfloat16",
        "iterations: 5\nmodel: {search_size: 200}": "multiple of 32",
        "- 1": "must be a mapping",
        "a: [": "not YAML",
    }.items():
        path.write_text(text)
        with pytest.raises(InputError) as caught:
            load_config(path, Recipe)
        assert message in str(caught.value) and "\n" not in str(caught.value)


def test_recipes_that_ship_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # as a user has it who installed a wheel
    for name in ("configs/tctrack.yaml", "tctrack.yaml", "tctrack"):
        assert find_config(Path(name)).name == "tctrack.yaml" and find_config(Path(name)).exists()
    (tmp_path / "tctrack.yaml").write_text("")
    assert find_config(Path("tctrack.yaml")) == Path("tctrack.yaml"), "the user's own comes first"
    with pytest.raises(InputError, match=r"mine/tctrack\.yaml: no such configuration; there ship: .*compact\.yaml"):
        find_config(Path("mine/tctrack.yaml"))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("compact*.yaml")), ids=lambda p: p.stem)
def test_shipped_recipes_load(path: Path) -> None:
    assert load_config(path, Recipe).iterations > 100


def test_resuming_what_was_never_begun_names_the_folder(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none[/\\]checkpoint: no checkpoint to resume"):
        Trainer(SMALL, bank, tmp_path / "none", resume=True)
