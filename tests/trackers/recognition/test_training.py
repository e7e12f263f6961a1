"""Training, testing, comparing, and the commands."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import onlinetada
from onlinetada import InputError
from onlinetada.trackers.cli import main
from onlinetada.trackers.config import load_config
from onlinetada.trackers.recognition.augment import Augmentation
from onlinetada.trackers.recognition.comparison import Comparison, result_path, run_comparison, table, write_page
from onlinetada.trackers.recognition.data import load_material
from onlinetada.trackers.recognition.live import recognise
from onlinetada.trackers.recognition.modelfile import load_model, save_model
from onlinetada.trackers.recognition.recipe import (
    AugmentOptions,
    DataOptions,
    NetworkChoice,
    OptimiserOptions,
    RecognitionRecipe,
)
from onlinetada.trackers.recognition.testing import Outcome, evaluate
from onlinetada.trackers.recognition.trainer import RecognitionTrainer, rate_factor
from onlinetada.trackers.training.parallel import Team
from onlinetada.video import build

CONFIGS = Path(onlinetada.trackers.__file__).parents[1] / "configs"
SMALL = {"depths": [1, 1, 1, 1], "widths": [8, 8, 8, 16, 16]}
RECIPE = f"""
name: tiny
iterations: 4
batch: 4
network: {{name: tada2d_r18, options: {json.dumps({**SMALL, "online": True})}}}
data: {{size: 32, test_clips: 8}}
optimiser: {{kind: adamw, learning_rate: 0.002}}
log_every: 2
"""


def recipe(**changes):
    network = NetworkChoice("tada2d_r18", options=SMALL)
    made = RecognitionRecipe(iterations=4, batch=4, network=network, data=DataOptions(size=32, test_clips=8))
    return replace(made, optimiser=OptimiserOptions(kind="adamw", learning_rate=1e-3), **changes)


def trainer(made, folder, **options):
    return RecognitionTrainer(made, load_material(made.data, folder), folder, **options)


class StopsAfter(Team):
    """Alone, and says that time is up after so many questions."""

    def __init__(self, steps):
        super().__init__()
        object.__setattr__(self, "left", steps)

    def agree(self, done, device):
        object.__setattr__(self, "left", self.left - 1)
        return self.left < 0


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path, kind):
    optimiser = OptimiserOptions(kind=kind, learning_rate=0.01, ema=0.5, clip_norm=1.0)
    made = replace(recipe(), optimiser=optimiser, augment=AugmentOptions(label_smoothing=0.1))
    whole = trainer(made, tmp_path / "whole")
    whole.run()
    stopped = trainer(made, tmp_path / "parts", team=StopsAfter(2))
    stopped.run()
    assert stopped.iteration == 2
    rest = trainer(made, tmp_path / "parts", resume=True)
    rest.run()
    assert rest.iteration == 4
    for a, b in zip(whole.average.state_dict().values(), rest.average.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)


def test_it_learns_what_changes_in_time(tmp_path):
    """Colours that run forward or backward: a few steps are enough, and only with calibration."""
    made = recipe(iterations=60)
    made = replace(made, batch=16, optimiser=OptimiserOptions(kind="adamw", learning_rate=5e-3), log_every=20)
    lines = []
    trainer(made, tmp_path).run(report=lines.append)
    assert lines[-1].loss < lines[0].loss and lines[-1].accuracy > 0.2  # chance is 0.125


def test_rates_warm_up_and_fall():
    made = recipe(iterations=100)
    rates = [rate_factor(i, made) for i in range(101)]
    assert rates[0] < 0.2 and max(rates) <= 1 and rates[-1] == pytest.approx(0.01)
    assert np.argmax(rates) == 8


def test_scores_of_a_video_are_the_mean_of_its_views():
    class Says(torch.nn.Module):
        def forward(self, x):
            grey = x.mean((1, 2, 3, 4))
            return torch.stack([grey, -grey, torch.zeros_like(grey)], 1)

    def view(value):
        return torch.full((3, 2, 4, 4), value, dtype=torch.uint8)

    videos = [("a", torch.stack([view(255), view(0)]), (0,)), ("b", view(0)[None], (0,)), ("c", view(0)[None], (1,))]
    outcome = evaluate(Says(), videos, views_at_once=2)
    each = [evaluate(Says(), [("", v[None], (0,))]).probabilities[0][0] for v in (view(255), view(0))]
    np.testing.assert_allclose(outcome.probabilities[0][0], (each[0] + each[1]) / 2, rtol=1e-5)
    assert outcome.names == ("a", "b", "c")
    assert outcome.summary()["top1"] == pytest.approx(2 / 3)
    assert outcome.mean_class() == pytest.approx((1 / 2 + 1) / 2)


def test_actions_need_both_and_groups_only_their_own_classes():
    probabilities = np.array([[0.1, 0.3, 0.6], [0.5, 0.2, 0.3]], np.float32)
    both = Outcome(("a", "b"), np.array([[2, 0], [0, 0]]), (probabilities, np.array([[0.9, 0.1], [0.2, 0.8]])))
    assert both.summary() == {"verb_top1": 1.0, "noun_top1": 0.5, "action_top1": 0.5}
    one = Outcome(("a", "b"), np.array([[1], [1]]), (probabilities,))
    assert one.top(1) == 0.0 and one.top(2) == 0.5
    assert one.within({"first two": (0, 1)}) == {"first two": 0.5}


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixtures_have_the_targets_of_what_they_are_made_of(name):
    pytest.importorskip("kornia")
    torch.manual_seed(3)
    greys = torch.tensor([0.0, 1.0, 10.0, 100.0])
    clips = greys.view(4, 1, 1, 1, 1).expand(4, 3, 2, 16, 16).contiguous()
    mixed, target = Augmentation(AugmentOptions(**{name: 1.0})).mixed(clips, torch.arange(4), 4)
    torch.testing.assert_close(target.sum(1), torch.ones(4))
    torch.testing.assert_close(mixed.mean((1, 2, 3, 4)), target @ greys, atol=1e-2, rtol=1e-3)
    assert torch.equal(mixed[:, :, 0], mixed[:, :, 1])  # all frames alike
    assert not torch.equal(mixed, clips)


def test_randaugment_changes_all_frames_of_a_clip_alike():
    pytest.importorskip("kornia")
    torch.manual_seed(0)
    clips = torch.rand(3, 3, 1, 24, 24).expand(-1, -1, 4, -1, -1)
    changed = Augmentation(AugmentOptions(auto_augment=(2, 9))).pictures(clips)
    assert torch.equal(changed, changed[:, :, :1].expand_as(changed)) and not torch.equal(changed, clips)


def test_without_kornia_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia", None)
    monkeypatch.setitem(sys.modules, "kornia.augmentation", None)
    with pytest.raises(InputError, match=r"onlinetada\[video\]"):
        Augmentation(AugmentOptions(mixup=0.8))
    Augmentation(AugmentOptions(label_smoothing=0.1))


def test_smoothed_targets():
    _, target = Augmentation(AugmentOptions(label_smoothing=0.1)).mixed(
        torch.rand(2, 3, 1, 4, 4), torch.tensor([0, 1]), 4
    )
    torch.testing.assert_close(target[0], torch.tensor([0.925, 0.025, 0.025, 0.025]))


def test_a_comparison_repeats_nothing_and_its_table_comes_from_the_files(tmp_path, monkeypatch):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    rows = [{"label": "a network", "network": {"name": "tada2d_r18", "options": SMALL}}]
    (tmp_path / "rows.yaml").write_text(json.dumps({"recipe": "recipe.yaml", "seeds": [0, 1], "rows": rows}))
    said = []
    run_comparison(tmp_path / "rows.yaml", tmp_path / "out", report=said.append)
    assert len(said) == 2
    run_comparison(tmp_path / "rows.yaml", tmp_path / "out", report=said.append)
    assert len(said) == 2
    for seed, value in ((0, 0.25), (1, 0.75)):
        path = result_path(tmp_path / "out", "a network", seed)
        result = json.loads(path.read_text())
        assert set(result["scores"]) == {"order", "tempo", "direction", "speed"}
        path.write_text(json.dumps({**result, "scores": {"order": value}}))
    assert table(tmp_path / "rows.yaml", tmp_path / "out").splitlines()[-1] == "| a network | 2 | 50.0 ± 35.4 |"
    write_page(tmp_path / "rows.yaml", tmp_path / "out", tmp_path / "page.md")
    assert "50.0 ± 35.4" in (tmp_path / "page.md").read_text()
    assert [json.loads(line)["seed"] for line in (tmp_path / "page.jsonl").read_text().splitlines()] == [0, 1]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("video_*_rows.yaml")), ids=lambda p: p.stem)
def test_comparisons_that_ship_can_be_built(path):
    comparison = load_config(path, Comparison)
    load_config(path.parent / comparison.recipe, RecognitionRecipe)
    for row in comparison.rows:
        build(row.network.name, num_classes=4, tada=row.network.tada, **row.network.options)


@pytest.mark.parametrize(
    "path", sorted(p for p in CONFIGS.glob("video_*.yaml") if "_rows" not in p.stem), ids=lambda p: p.stem
)
def test_recipes_that_ship_can_be_built(path):
    made = load_config(path, RecognitionRecipe)
    with torch.device("meta"):
        build(made.network.name, num_classes=10, tada=made.network.tada, **made.network.options)


def test_train_then_recognize(tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    out = tmp_path / "run"
    assert main(["train-video", str(tmp_path / "tiny.yaml"), "--out", str(out)]) == 0
    assert "8 videos: order" in capsys.readouterr().out
    assert main(["train-video", str(tmp_path / "tiny.yaml"), "--out", str(out)]) == 2
    assert "--resume" in capsys.readouterr().err
    weights = out / "tiny.safetensors"
    assert main(["train-video", str(tmp_path / "tiny.yaml"), "--test", str(weights)]) == 0
    tested = capsys.readouterr().out
    assert json.loads(weights.with_suffix(".json").read_text())["scores"].keys() == {
        "order",
        "tempo",
        "direction",
        "speed",
    }
    assert "8 videos" in tested

    frames = tmp_path / "frames"
    frames.mkdir()
    for i in range(6):
        cv2.imwrite(str(frames / f"{i}.png"), np.random.default_rng(i).integers(0, 255, (40, 60, 3), np.uint8))
    assert main(["recognize", str(frames), "--model", str(weights), "--json", "--every", "2"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["frame"] for line in lines] == [0, 2, 4]
    assert all(len(line["label"]) == 3 and " " in line["label"][0]["class"] for line in lines)
    assert main(["recognize", str(frames), "--model", str(weights), "--max-frames", "2", "--top", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_live_predictions_are_those_of_the_clip(tmp_path):
    made = replace(recipe(), network=NetworkChoice("tada2d_r18", options={**SMALL, "online": True}))
    network = build("tada2d_r18", num_classes=8, **made.network.options).eval()
    save_model(network, tmp_path / "m.safetensors", recipe=made, num_classes=8, scores={})
    loaded, card = load_model(tmp_path / "m.safetensors")
    images = [np.random.default_rng(i).integers(0, 255, (32, 32, 3), np.uint8) for i in range(5)]
    from onlinetada.trackers.io.frames import Frame
    from onlinetada.trackers.recognition.data import normalised

    frames = [Frame(image, i, i / 10) for i, image in enumerate(images)]
    said = list(recognise(loaded, card, frames))
    clip = torch.from_numpy(np.stack([i[..., ::-1] for i in images])).permute(3, 0, 1, 2)[None]
    with torch.no_grad():
        wanted = network(normalised(clip), per_frame=True)[0].softmax(1)
    for prediction, row in zip(said, wanted, strict=True):
        torch.testing.assert_close(prediction.probabilities["label"], row, atol=1e-5, rtol=1e-5)
    assert said[3].index == 3 and said[3].timestamp_s == pytest.approx(0.3)


def test_what_recognize_cannot_do_is_said_in_one_line(tmp_path, capsys):
    network = build("tada2d_r18", num_classes=8, **SMALL)
    save_model(network, tmp_path / "m.safetensors", recipe=recipe(), num_classes=8, scores={})
    (tmp_path / "f").mkdir()
    cv2.imwrite(str(tmp_path / "f" / "0.png"), np.zeros((8, 8, 3), np.uint8))
    for model, said in (("m.safetensors", "online: true"), ("none.safetensors", "no such file")):
        assert main(["recognize", str(tmp_path / "f"), "--model", str(tmp_path / model)]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    assert main(["recognize", "x", "--model", "y", "--top", "0"]) == 2
    card = json.loads((tmp_path / "m.json").read_text())
    card["network"]["options"]["depths"] = [2, 1, 1, 1]
    (tmp_path / "m.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="not the network of its card"):
        load_model(tmp_path / "m.safetensors")
