"""TCTrack's training: samples show what they say, targets and losses are the published ones, and it learns."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from onlinetada.errors import InputError
from onlinetada.trackers.cli import main
from onlinetada.trackers.models.tctrack import GRID_SIZE, TCTrack, TCTrackMaps, decode_boxes, encode_sides
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.jobs import load_recipe
from onlinetada.trackers.training.tctrack.backbone import load_backbone
from onlinetada.trackers.training.tctrack.job import TCTrackJob
from onlinetada.trackers.training.tctrack.recipe import (
    LossOptions,
    SamplingOptions,
    ScheduleOptions,
    Stage,
    TCTrackRecipe,
)
from onlinetada.trackers.training.tctrack.sampling import _blurred, _frames_before, _line_kernels, draw_samples
from onlinetada.trackers.training.tctrack.targets import losses, make_targets
from onlinetada.trackers.training.trainer import Progress, Trainer

CONFIGS = Path(__file__).parents[3] / "configs"
PLAIN = SamplingOptions(samples=6, blur=0.0, colour=0.0)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def cells() -> torch.Tensor:
    return TCTrack().cells


def is_cyan(picture: torch.Tensor, x: float, y: float) -> bool:
    """Whether the middle of the test world's square lies at a pixel of a (3, H, W) BGR picture."""
    blue, green, red = picture[:, round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3].mean((1, 2))
    return bool(blue > 150 and green > 150 and red < 110)


def test_samples_show_the_target_where_the_box_says(bank: Bank) -> None:
    samples = draw_samples(bank, PLAIN, 2, (0,))
    assert samples.template.shape == (6, 3, 127, 127) and samples.clip.shape == (6, 3, 3, 287, 287)
    for b in range(6):
        cx, cy, w, _ = samples.boxes[b].tolist()
        assert abs(cx) < 80 and abs(cy) < 80 and w == pytest.approx(63.5, rel=0.25)
        assert is_cyan(samples.clip[b, :, -1], cx + 143.5, cy + 143.5)
        assert is_cyan(samples.clip[b, :, 0], cx + 143.5, cy + 143.5), "all regions share one shift"
        assert is_cyan(samples.template[b], 63.5, 63.5)
    assert samples.boxes[:, :2].abs().max() > 20 and samples.present.all()


def test_same_seed_same_samples_and_the_other_kinds_of_change(bank: Bank) -> None:
    wild = dataclasses.replace(PLAIN, blur=1.0, colour=1.0, flip=1.0, grey=1.0, negative=1.0)
    a, b, c = (draw_samples(bank, wild, 1, seed) for seed in ((1,), (1,), (2,)))
    assert torch.equal(a.clip, b.clip) and torch.equal(a.keys, b.keys) and not torch.equal(a.clip, c.clip)
    assert not a.present.any()
    sharp = draw_samples(bank, dataclasses.replace(wild, blur=0.0), 1, (1,))
    assert sharp.clip.diff(dim=-1).abs().mean() > 1.2 * a.clip.diff(dim=-1).abs().mean()
    grey = draw_samples(bank, dataclasses.replace(PLAIN, grey=1.0), 1, (1,)).clip
    assert (grey[:, 0] - grey[:, 2]).abs().max() < 1e-2


def test_blur_is_a_cross_of_lines() -> None:
    point = torch.zeros(3, 3, 101, 101)
    point[:, :, 50, 50] = 1.0
    lines = _line_kernels(1, np.random.default_rng(0))
    blurred = _blurred(point, np.array([1]), lines)
    assert torch.equal(blurred[[0, 2]], point[[0, 2]])
    down, across = blurred[1, 0, :, 50].clone(), blurred[1, 0, 50].clone()
    assert blurred[1].sum() == pytest.approx(3.0, rel=1e-5)
    assert down.sum() + across.sum() - blurred[1, 0, 50, 50] == pytest.approx(1.0, rel=1e-5)
    assert (down > 0).sum() == (across > 0).sum() == (lines[0, 0] > 0).sum() and (down > 0).sum() % 2 == 1


def test_earlier_frames_lie_before_the_judged_one_and_end_beside_it() -> None:
    rng = np.random.default_rng(0)
    for judged in range(3, 30):
        frames = _frames_before(3, judged, 3, rng)
        assert len(frames) == 3 and (np.diff(frames) >= 0).all() and frames[0] >= min(3, judged)
        assert frames[-1] == max(judged - 1, 3)
        if judged - 3 >= 5:
            assert frames[0] < frames[1] < frames[2]


def test_targets_of_a_box_in_the_middle(cells: torch.Tensor) -> None:
    boxes = torch.tensor([[0.0, 0.0, 80.0, 48.0], [-16.0, 16.0, 4.0, 4.0], [0.0, 0.0, 60.0, 60.0]])
    present = torch.tensor([True, True, False])
    targets = make_targets(boxes, present, torch.rand(3, 2, 121), cells)
    # -40 .. 40 are cells 2.5 .. 7.5, cut to 2 .. 7, and -24 .. 24 cells 3.5 .. 6.5, cut to 3 .. 6
    row, column = np.mgrid[:11, :11]
    q = ((column - 4.5) / 3) ** 2 + ((row - 4.5) / 2) ** 2
    assert targets.central[0].view(11, 11).numpy() == pytest.approx(np.clip(1 - q, 0, None), abs=1e-6)
    assert (targets.positive[0].view(11, 11).numpy() == (q < 0.22)).all()
    assert targets.negative[0].sum() == 2 * targets.positive[0].sum()
    assert not (targets.negative[0] & (targets.central[0] > 0.3)).any()
    tiny = targets.positive[1].view(11, 11).nonzero()
    assert tiny.tolist() == [[5, 3], [5, 4], [6, 3], [6, 4]], "no cell is above .78; the most central ones count"
    assert not targets.positive[2].any() and targets.negative[2].sum() == 16 and targets.box_weight[2].sum() == 0
    kept = targets.box_weight[0][targets.box_weight[0] > 0]
    unsure = ((targets.central[0] >= 0.5) & (targets.central[0] < 0.8)).sum()
    sure = (targets.central[0] >= 0.8).sum()
    assert len(kept) == sure + unsure - int(unsure / 1.2)
    decoded = decode_boxes(targets.sides[:2].transpose(1, 2), cells)
    assert torch.allclose(decoded[0], boxes[0].expand(121, 4), atol=0.05)


def perfect_maps(boxes: torch.Tensor, cells: torch.Tensor) -> TCTrackMaps:
    """Maps that say the truth with all their might."""
    targets = make_targets(boxes, torch.ones(len(boxes), dtype=torch.bool), torch.rand(len(boxes), 2, 121), cells)
    sure = 20.0 * targets.positive.float() - 10
    shape = (len(boxes), 1, -1, GRID_SIZE, GRID_SIZE)
    score = torch.logit(targets.central.clamp(1e-4, 1 - 1e-4))
    parts = torch.stack([-sure, sure], 1), score[:, None], targets.sides
    return TCTrackMaps(*(p.reshape(shape) for p in parts))


def test_the_truth_has_hardly_any_loss_and_a_lie_has(cells: torch.Tensor) -> None:
    boxes = torch.tensor([[10.0, -20.0, 80.0, 48.0], [30.0, 5.0, 40.0, 90.0]])
    targets = make_targets(boxes, torch.tensor([True, True]), torch.rand(2, 2, 121), cells)
    options = LossOptions(l1=0.5)
    _, (score, box, iou_loss, iou) = losses(perfect_maps(boxes, cells), targets, cells, options)
    assert box < 0.01 and iou_loss < 0.01 and iou > 0.99
    entropy = torch.nn.functional.binary_cross_entropy(targets.central, targets.central)
    assert score == pytest.approx(float(entropy), abs=0.02), "a soft target keeps its own entropy"
    wrong = perfect_maps(boxes + torch.tensor([40.0, 30.0, 0.0, 0.0]), cells)
    _, (lied, box, iou_loss, iou) = losses(wrong, targets, cells, options)
    assert lied > score + 1 and box > 1 and iou_loss > 0.5 and iou < 0.5


def test_the_parts_add_up_and_boxes_turned_inside_out_still_pull(cells: torch.Tensor) -> None:
    boxes = torch.tensor([[10.0, -20.0, 80.0, 48.0]])
    targets = make_targets(boxes, torch.tensor([True]), torch.rand(1, 2, 121), cells)
    maps = TCTrackMaps(
        torch.zeros(1, 1, 2, 11, 11), torch.zeros(1, 1, 1, 11, 11), torch.full((1, 1, 4, 11, 11), -0.1).requires_grad_()
    )
    total, (score, box, _, _) = losses(maps, targets, cells, LossOptions())
    assert total.item() == pytest.approx(float(1.2 * score + 3.0 * box), rel=1e-5)
    assert float(score) == pytest.approx(2 * np.log(2), rel=1e-3)
    assert torch.autograd.grad(total, maps.loc)[0].abs().sum() > 0
    # the centre term by hand, where one cell counts: centred on the cell, (dx^2 / w + dy^2 / h) ** .5
    one = dataclasses.replace(targets, box_weight=torch.zeros(1, 121).index_fill(1, torch.tensor([60]), 1.0))
    flat = encode_sides(torch.tensor([30.0, 30.0, 20.0, 20.0])).view(1, 1, 4, 1, 1).expand(1, 1, 4, 11, 11)
    only = LossOptions(box=1, score=0, iou=0, centre=1)
    value, _ = losses(maps._replace(loc=flat), one, cells, only)
    assert float(value) == pytest.approx((10**2 / 80 + 20**2 / 48) ** 0.5, rel=1e-3)


# an epoch is one iteration; the backbone wakes up in the second, the third shows longer clips
SMALL = TCTrackRecipe(
    model="tctrack",
    epochs=3,
    epoch_samples=1,
    sampling=SamplingOptions(samples=1),
    stages=(Stage(0, 1), Stage(2, 2)),
    schedule=ScheduleOptions(warm_up_epochs=1, backbone_epoch=1),
    log_every=1,
)


def test_rates_epochs_and_stages_are_the_published_ones() -> None:
    first = load_recipe(CONFIGS / "tctrack.yaml")
    second = load_recipe(CONFIGS / "tctrackpp.yaml")
    assert isinstance(first, TCTrackRecipe) and isinstance(second, TCTrackRecipe)
    assert first.iterations == 100 * (600_000 // 140)
    assert [first.rate(0), first.rate(5), first.rate(99)] == pytest.approx([0.005, 0.01, 5e-5])
    assert first.rate(4) == pytest.approx(0.005 * 2**0.8) and first.rate(52) == pytest.approx((0.01 * 5e-5) ** 0.5)
    assert [first.earlier(e) for e in (0, 99)] == [3, 3]
    assert [second.earlier(e) for e in (0, 32, 33, 49, 50, 99)] == [1, 1, 2, 2, 3, 3]
    assert [second.rate(0), second.rate(10), second.rate(99)] == pytest.approx([0.005, 0.01, 2.5e-4])
    assert (first.schedule.backbone_epoch, second.schedule.backbone_epoch) == (10, 20)
    assert (first.loss.box, first.loss.score, second.loss.box, second.loss.l1) == (3.0, 1.2, 1.2, 0.5)


def alexnet_file(path: Path, *, numbered: bool) -> dict[str, torch.Tensor]:
    """ImageNet weights, as it were: what the published files call them, and which values they hold."""
    own = TCTrack().backbone.state_dict()
    generator = torch.Generator().manual_seed(7)
    held = {
        name: torch.rand(value.shape, generator=generator) * 0.02
        for name, value in own.items()
        if ".calibration." not in name and value.is_floating_point()
    }
    names = {"block": "layer", "temporalconv1": "layer4.0", "temporalconv2": "layer5.0", "b_f1.0": "layer4.1"}
    names |= {"b_f2": "layer5.1"}
    out = held
    if numbered:
        out = {}
        for name, value in held.items():
            old = next(o for o in names if name.startswith(o))
            out[names[old] + name.removeprefix(old)] = value
    torch.save(out, path)
    return held


@pytest.mark.parametrize("numbered", [False, True])
def test_imagenet_weights_come_in_under_both_names(tmp_path: Path, numbered: bool) -> None:
    held = alexnet_file(tmp_path / "alexnet.pth", numbered=numbered)
    network = TCTrack()
    load_backbone(network.backbone, tmp_path / "alexnet.pth")
    own = network.backbone.state_dict()
    assert len(held) > 20 and all(torch.equal(own[name], value) for name, value in held.items())
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"'block1\.0\.weight' is missing; an AlexNet of 96, 256"):
        load_backbone(network.backbone, tmp_path / "other.pth")


def test_frozen_parts_move_when_they_should_and_a_stop_changes_nothing(bank: Bank, tmp_path: Path) -> None:
    """Dropout, momentum, statistics of the norms, the clip's length: all as without a stop."""
    alexnet_file(tmp_path / "alexnet.pth", numbered=False)
    job = TCTrackJob(SMALL, backbone=tmp_path / "alexnet.pth")
    log: list[Progress] = []
    trainer = Trainer(job, bank, tmp_path / "whole")
    moved: list[set[str]] = []
    for until in (1, 3):
        before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
        trainer.run(report=log.append, until=until)
        moved.append({k for k, v in trainer.network.state_dict().items() if not torch.equal(v, before[k])})
    assert [round(p.learning_rate, 5) for p in log] == [0.005, 0.01, 5e-5]
    assert not any(name.startswith("backbone.") for name in moved[0]) and "grader.conv2.0.weight" in moved[0]
    assert {"backbone.block3.0.weight", "backbone.temporalconv1.weight", "backbone.block3.1.running_mean"} <= moved[1]
    assert not any(name.startswith(("backbone.block1", "backbone.block2")) for name in moved[1])

    Trainer(job, bank, tmp_path / "parts").run(report=lambda progress: None, until=2)
    parts = Trainer(job, bank, tmp_path / "parts", resume=True)
    parts.run(report=lambda progress: None)
    ended = parts.network.state_dict()
    assert all(torch.equal(v, ended[k]) for k, v in trainer.network.state_dict().items())
    with pytest.raises(InputError, match="began with given weights"):
        Trainer(TCTrackJob(SMALL), bank, tmp_path / "parts", resume=True)


@pytest.mark.slow
def test_a_handful_of_samples_is_learnt_by_heart(bank: Bank, tmp_path: Path) -> None:
    class ByHeart(TCTrackJob):
        def batches(self, network, bank, *, begin, rank, kernels):  # type: ignore[no-untyped-def]
            samples = next(super().batches(network, bank, begin=0, rank=rank, kernels=kernels))
            while True:
                yield samples

    # a backbone that stays as it is costs no backward pass; at the published rates one sample is a matter of rounding
    schedule = ScheduleOptions(warm_up_epochs=4, start_rate=0.001, peak_rate=0.002, end_rate=0.0002, backbone_epoch=99)
    recipe = dataclasses.replace(SMALL, epochs=40, stages=(Stage(0, 1),), schedule=schedule)
    log: list[Progress] = []
    Trainer(ByHeart(recipe, pretrained=True), bank, tmp_path).run(report=log.append)
    first, last = ({k: np.mean([p.parts[k] for p in part]) for k in log[0].parts} for part in (log[:5], log[-5:]))
    assert last["iou_loss"] < 0.4 * first["iou_loss"] and last["score_loss"] < 0.95 * first["score_loss"]


@pytest.mark.slow
def test_whole_training_from_the_command_line(bank: Bank, packed: Path, raw: Path, tmp_path: Path) -> None:
    (tmp_path / "held.yaml").write_text("clips: [held]\n")
    (tmp_path / "material.yaml").write_text(
        "leave_out: held.yaml\nsources:\n  - {name: videos, path: videos, format: videos, terms: made here}\n"
    )
    (tmp_path / "tiny.yaml").write_text(
        "model: tctrackpp\nepochs: 2\nepoch_samples: 1\nmaterial: material.yaml\nsampling: {samples: 1}\n"
        "schedule: {warm_up_epochs: 1}\ncheckpoint_every: 1\nquirks: trained\n"
        "stages: [{epoch: 0, earlier: 1}]\n"
    )
    out = tmp_path / "run"
    train = ["train", str(tmp_path / "tiny.yaml"), "--data", str(packed), "--out", str(out), "--root", str(raw)]
    assert main([*train, "--pictures", "disk"]) == 0
    card = json.loads((out / "tctrackpp.json").read_text())
    assert card["model"] == "tctrackpp" and card["network"] == {"quirks": "trained"}
    assert card["validation"]["scores"]["all"]["tracks"] == 1
    assert (out / "sheets/000001.png").exists()
    for shard in (out / "checkpoint").glob("*.safetensors"):
        assert shard.stat().st_size <= 16.1e6

    from onlinetada.trackers.assemble import build_engine

    engine = build_engine("tctrackpp", weights=out / "tctrackpp.safetensors", device="cpu")
    assert engine.network.grader.transformer.encoder.layers[0].reread, "the card says how it was trained"
