"""What is drawn lies where the boxes say, and the same seed draws the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from onlinetada.errors import InputError
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.batches import BatchOptions, make_batch, outline_boxes, plan_batch
from onlinetada.trackers.training.render import Layer, affine_map, draw
from onlinetada.trackers.training.scenes import SceneOptions, pasted_scene, real_scene, still_scene

SCENE = SceneOptions(frames=2, size=192)


def test_affine_map_takes_centres_to_centres_and_scales() -> None:
    m = affine_map(np.array([10.0, 20.0]), np.array([50.0, 60.0]), np.array([2.0, 4.0]), np.array(0.0))
    assert m @ [50, 60, 1] == pytest.approx([10, 20])
    assert m @ [52, 64, 1] == pytest.approx([11, 21]), "two and four pixels of the drawing are one of the picture"
    turned = affine_map(np.zeros(2), np.zeros(2), np.ones(2), np.array(np.pi / 2))
    assert turned @ [0, 1, 1] == pytest.approx([1, 0]), "the picture's x axis points down"


def test_draw_equals_the_picture_under_the_identity(bank: Bank) -> None:
    row = int(bank.rows("still")[0])
    height, width = int(bank.pictures.height[row]), int(bank.pictures.width[row])
    identity = np.array([[[1.0, 0, 0], [0, 1, 0]]])
    canvas, (cover,) = draw(bank.pictures, [Layer(np.array([0]), np.array([row]), identity)], 1, 96)
    begin = int(bank.pictures.begin[row])
    pixels = bank.pictures.pixels[begin : begin + height * width].view(torch.uint8).view(height, width, 4)
    assert torch.equal(canvas[0], pixels[:96, :96, :3].float())
    assert cover.min() == 1


def test_outside_is_the_mean_or_a_reflection(bank: Bank) -> None:
    row = int(bank.rows("still")[0])
    away = np.array([[[1.0, 0, -30], [0, 1, 0]]])
    plain, (cover,) = draw(bank.pictures, [Layer(np.array([0]), np.array([row]), away)], 1, 64)
    assert (cover[0, :, :30] == 0).all() and (cover[0, :, 30:] == 1).all()
    assert torch.allclose(plain[0, :, 0], bank.pictures.mean[row].expand(64, 3))
    folded, _ = draw(bank.pictures, [Layer(np.array([0]), np.array([row]), away, mirrored=True)], 1, 64)
    assert torch.equal(folded[0, :, 29], folded[0, :, 31]) and torch.equal(folded[0, :, 20], folded[0, :, 40])


def test_outline_boxes() -> None:
    masks = torch.zeros(2, 40, 40, dtype=torch.bool)
    masks[0, 10:30, 5:15] = True
    masks[1, 3, 3] = True
    boxes, valid = outline_boxes(masks)
    assert boxes[0].tolist() == [5, 10, 15, 30]
    assert valid.tolist() == [True, False]


@pytest.mark.parametrize("maker", [real_scene, still_scene, pasted_scene])
def test_frame_zero_has_the_target_in_the_middle_at_the_nominal_size(bank: Bank, maker: object) -> None:
    options = BatchOptions(
        pasted=8 * (maker is pasted_scene),
        still=8 * (maker is still_scene),
        real=8 * (maker is real_scene),
        mismatched=0.0,
        scene=SCENE,
    )
    batch = make_batch(bank, options, (3,))
    assert batch.clip.shape == (8, 3, 3, 192, 192)
    first = batch.boxes[batch.present[:, 0], 0]
    assert len(first) >= 6
    assert first[:, :2].abs().max() < 20  # the outline of a turned object is not centred on its box
    pad = first[:, 2:].sum(1) / 2
    context = ((first[:, 2] + pad) * (first[:, 3] + pad)).sqrt()
    # a look-alike may hide parts of a pasted target, and the outline of a turned one is an estimate
    assert context.median().item() == pytest.approx(128, abs=16)
    later = batch.boxes[:, 1:][batch.present[:, 1:]]
    assert later[:, :2].abs().max() > 20


def test_real_targets_lie_in_their_boxes(bank: Bank) -> None:
    """The square's middle is cyan, whatever happened to light and colour."""
    options = BatchOptions(pasted=0, still=0, real=16, mismatched=0.0, scene=SCENE)
    batch = make_batch(bank, options, (5,))
    found = []
    for b in range(16):
        for k in range(3):
            cx, cy = (batch.boxes[b, k, :2] + 96).round().long().tolist()
            if batch.present[b, k] and 4 < cx < 188 and 4 < cy < 188:
                inner = batch.clip[b, :, k, cy - 2 : cy + 3, cx - 2 : cx + 3].mean((1, 2))
                found.append(bool(inner[1] > inner[0] or (inner - inner.mean()).abs().max() < 3))  # or made grey
    assert len(found) > 30 and np.mean(found) > 0.9


def test_same_seed_same_batch_other_seed_another(bank: Bank) -> None:
    options = BatchOptions(pasted=3, still=2, real=2, scene=SCENE)
    a, b, c = (make_batch(bank, options, seed) for seed in ((1, 2), (1, 2), (1, 3)))
    assert torch.equal(a.clip, b.clip) and torch.equal(a.boxes, b.boxes)
    assert not torch.equal(a.clip, c.clip)
    assert 0 <= a.clip.min() and a.clip.max() <= 255


def test_absent_frames_show_another_clip(bank: Bank) -> None:
    options = BatchOptions(pasted=2, still=3, real=3, mismatched=0.0, scene=SCENE)
    with_target = make_batch(bank, options, (0,))
    batch = make_batch(bank, dataclasses.replace(options, absent=1.0), (0,))
    assert batch.present[:, 0].all() and not batch.present[:, 1:].any()
    assert batch.believed[:, 1:].isnan().all(), "nothing is to be learned there"
    assert torch.equal(batch.boxes, with_target.boxes)
    some = make_batch(bank, dataclasses.replace(options, absent=0.5), (0,))
    assert 0 < some.present[:, 1:].float().mean() < 1 and some.present[:, 0].all()
    difference = (some.clip - some.clip.roll(1, 0)).abs().flatten(3).amax((1, 3))
    assert (difference[~some.present] == 0).any(), "the frame is the neighbour's, pixel by pixel"


def test_drift_is_the_same_on_all_frames_of_a_clip(bank: Bank) -> None:
    options = BatchOptions(pasted=0, still=0, real=16, mismatched=0.0, scene=SCENE)
    drifted = make_batch(bank, dataclasses.replace(options, drift=1.0), (0,))
    assert torch.equal(drifted.boxes, make_batch(bank, options, (0,)).boxes)
    off = (drifted.believed[..., :2] - drifted.boxes[..., :2]) / drifted.boxes[..., 2:]
    within = off.nan_to_num().std(1).median()
    between = off.nanmean(1).nan_to_num().std(0).mean()
    assert between > 0.12 > within, "a bias of the whole clip, much larger than the usual noise"


@pytest.mark.parametrize("maker", [real_scene, still_scene, pasted_scene])
def test_vanished_frames_show_the_surroundings_without_the_target(bank: Bank, maker: object) -> None:
    n, size = 12, SCENE.size
    options = BatchOptions(
        pasted=n * (maker is pasted_scene),
        still=n * (maker is still_scene),
        real=n * (maker is real_scene),
        mismatched=0.0,
        scene=dataclasses.replace(SCENE, vanished=1.0),
    )
    batch = make_batch(bank, options, (4,))
    assert batch.present[:, 0].float().mean() > 0.8 and not batch.present[:, 1:].any()
    assert batch.believed[:, 1:].isnan().all()
    assert batch.clip[:, :, 1:].std() > 5, "the surroundings are still there"
    if maker is not pasted_scene:
        centre, half = batch.boxes[:, 1:, :2].abs(), batch.boxes[:, 1:, 2:] / 2
        assert (centre - half > size / 2).any(-1).all(), "no part of the target is left"
        assert ((centre - half < size).all(-1)).float().mean() > 0.9, "it is just outside"
    some = make_batch(bank, dataclasses.replace(options, scene=dataclasses.replace(SCENE, vanished=0.4)), (4,))
    assert 0.3 < some.present[:, 1:].float().mean() < 0.9 and some.present[:, 0].float().mean() > 0.8


def test_a_pasted_target_that_vanished_covers_nothing(bank: Bank) -> None:
    options = dataclasses.replace(SCENE, vanished=1.0)
    scene = pasted_scene(bank, 4, options, np.random.default_rng(0))
    _, covers = draw(bank.pictures, scene.layers, 4 * 3, options.size)
    seen = covers[scene.target_layer].unflatten(0, (4, 3)).sum((2, 3))
    assert (seen[:, 0] > 100).all() and (seen[:, 1:] == 0).all()


def test_faded_clips_lose_contrast_and_keep_their_boxes(bank: Bank) -> None:
    options = BatchOptions(pasted=0, still=16, real=16, mismatched=0.0, scene=SCENE)
    plain = plan_batch(bank, options, (0,))
    faded = plan_batch(bank, dataclasses.replace(options, faded=1.0), (0,))
    left = (faded.gain / plain.gain).mean(2)
    assert 0.15 - 1e-9 <= left[:, 1:].min() and left[:, 1:].max() <= 0.7 + 1e-9
    later = left[:, 0] == 1
    assert 2 <= later.sum() <= 20, "some fade only after frame 0"
    assert np.allclose(left[~later, 0], left[~later, 1])
    black = left[:, 1:] * 0 - 127 * left[:, 1:]  # what black becomes, from grey 127, before the offset
    darkest = (black + 127 + faded.offset[:, 1:, 0] - left[:, 1:] * plain.offset[:, 1:, 0]).mean(1)
    dark = np.abs(darkest) < 1e-6
    assert 10 <= dark.sum() <= 30, "black stays black in the dark"
    assert (darkest[~dark] > 20).all(), "and is grey in haze"


def test_mismatched_clips_have_no_target(bank: Bank) -> None:
    options = BatchOptions(pasted=0, still=8, real=8, mismatched=1.0, scene=SCENE)
    assert not make_batch(bank, options, (0,)).present.any()


def test_material_that_is_not_there_is_named(bank: Bank) -> None:
    empty = dataclasses.replace(bank, sources={**bank.sources, "cutout": ()})
    with pytest.raises(InputError, match="nothing for pasted_scene"):
        make_batch(empty, BatchOptions(scene=SCENE), (0,))


@pytest.mark.parametrize(
    ("kind", "name"), [(BatchOptions, "faded"), (BatchOptions, "absent"), (SceneOptions, "vanished")]
)
@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(kind: type, name: str, share: float) -> None:
    with pytest.raises(InputError, match=f"{name} must be between 0 and 1"):
        kind(**{name: share})
