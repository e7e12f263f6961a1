"""What is drawn lies where the boxes say, and the same seed draws the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from onlinetada.errors import InputError
from onlinetada.trackers.training.bank import Bank
from onlinetada.trackers.training.batches import BatchOptions, make_batch, outline_boxes
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


def test_mismatched_clips_have_no_target(bank: Bank) -> None:
    options = BatchOptions(pasted=0, still=8, real=8, mismatched=1.0, scene=SCENE)
    assert not make_batch(bank, options, (0,)).present.any()


def test_material_that_is_not_there_is_named(bank: Bank) -> None:
    empty = dataclasses.replace(bank, sources={**bank.sources, "cutout": ()})
    with pytest.raises(InputError, match="nothing for pasted_scene"):
        make_batch(empty, BatchOptions(scene=SCENE), (0,))
