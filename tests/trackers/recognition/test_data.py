"""Clips: what is rendered, sampled, listed and read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onlinetada import InputError
from onlinetada.trackers.recognition.annotations import class_counts, read_items
from onlinetada.trackers.recognition.data import (
    held_out_clips,
    load_material,
    normalised,
    read_clip,
    training_batches,
)
from onlinetada.trackers.recognition.drones import cut_tracks
from onlinetada.trackers.recognition.motion import CLASSES, MotionOptions, render_clip
from onlinetada.trackers.recognition.reading import Video, cropped, scaled
from onlinetada.trackers.recognition.recipe import DataOptions, RecognitionRecipe
from onlinetada.trackers.recognition.sampling import dense_indices, even_crop, random_crop, uniform_indices


def pictures(folder: Path, count: int, size: tuple[int, int] = (24, 32)) -> Path:
    """Frames whose grey is 10 times their number."""
    folder.mkdir(parents=True)
    for i in range(count):
        cv2.imwrite(str(folder / f"{i:03d}.png"), np.full((*size, 3), 10 * i, np.uint8))
    return folder


@pytest.mark.parametrize("group", range(4))
def test_two_classes_of_a_group_are_the_same_pictures_in_another_order(group):
    options = MotionOptions(noise=0.0)
    first, second = (render_clip(2 * group + i, options, (3, 1)) for i in (0, 1))
    as_sets = [sorted(frame.tobytes() for frame in clip) for clip in (first, second)]
    assert as_sets[0] == as_sets[1] and len(set(as_sets[0])) == options.frames
    assert not np.array_equal(first, second)


def test_colours_show_in_the_mean_of_a_frame_and_places_do_not():
    options = MotionOptions(noise=0.0, size=48)
    spread = [render_clip(c, options, (0, 5)).mean((1, 2)).std(0).max() for c in (0, 2, 4, 6)]
    assert min(spread[:2]) > 10 * max(spread[2:])


def test_the_fast_step_must_visit_every_state():
    with pytest.raises(InputError, match="fast"):
        MotionOptions(frames=9, fast=3)


@given(st.integers(1, 200), st.integers(1, 16), st.integers(1, 12), st.integers(0, 2**31))
def test_sampled_frames_exist(video, frames, interval, seed):
    rng = np.random.default_rng(seed)
    for indices in (
        dense_indices(video, frames, interval, rng=rng),
        dense_indices(video, frames, interval, clip=2, of=3),
        uniform_indices(video, frames, rng=rng),
        uniform_indices(video, frames, clip=1, of=2),
    ):
        assert len(indices) == frames and indices.min() >= 0 and indices.max() < video
    assert (np.diff(uniform_indices(video, frames, rng=rng)) >= 0).all()


def test_where_clips_and_crops_of_a_test_lie():
    starts = [int(dense_indices(101, 8, 4, clip=c, of=3)[0]) for c in range(3)]
    assert starts == [0, 36, 72] and dense_indices(101, 8, 4, clip=2, of=3)[-1] == 100
    assert dense_indices(3, 4, 1).tolist() == [0, 1, 2, 0]
    assert uniform_indices(8, 4).tolist() == [1, 3, 5, 7]
    assert [even_crop(20, 40, 20, c, 3)[1] for c in range(3)] == [0, 10, 20]
    assert [even_crop(40, 20, 20, c, 3)[0] for c in range(3)] == [0, 10, 20]
    assert even_crop(30, 40, 20, 0, 1) == (5, 10, 20, 20)


@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 2**31))
def test_random_crops_lie_in_the_picture(height, width, seed):
    top, left, h, w = random_crop(height, width, (0.1, 1.0), (0.75, 1.33), np.random.default_rng(seed))
    assert 0 <= top <= top + h <= height and 0 <= left <= left + w <= width and h > 0 and w > 0


def test_frames_of_a_folder_and_of_a_file(tmp_path):
    folder = Video(pictures(tmp_path / "a", 6))
    assert folder.num_frames == 6
    assert folder.read(np.array([5, 0, 5]))[:, 0, 0, 0].tolist() == [50, 0, 50]
    path = tmp_path / "b.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 24))
    for i in range(6):
        writer.write(np.full((24, 32, 3), 40 * i, np.uint8))
    writer.release()
    values = Video(path).read(np.array([4, 1, 1]))[:, 5, 5, 0]
    assert np.abs(values.astype(int) - [160, 40, 40]).max() < 8
    assert Video(path).read(np.array([50])).shape == (1, 24, 32, 3)  # past the end: the last frame


def test_colours_are_rgb_and_sizes_as_asked(tmp_path):
    (tmp_path / "v").mkdir()
    cv2.imwrite(str(tmp_path / "v" / "0.png"), np.full((10, 30, 3), (255, 0, 0), np.uint8))  # blue, to OpenCV
    frames = Video(tmp_path / "v").read(np.array([0]))
    assert frames[0, 0, 0].tolist() == [0, 0, 255]
    assert scaled(frames, 20).shape == (1, 20, 60, 3)
    assert cropped(frames, (0, 5, 10, 10), 8).shape == (1, 8, 8, 3)


@pytest.mark.parametrize("what", ["missing", "empty", "broken"])
def test_videos_that_cannot_be_read_are_said(tmp_path, what):
    path = tmp_path / "v"
    if what == "empty":
        path.mkdir()
    if what == "broken":
        path = tmp_path / "v.mp4"
        path.write_bytes(b"no video")
    with pytest.raises(InputError, match=str(path.name)):
        Video(path)


def options(kind, **more):
    return DataOptions(kind=kind, train="t", test="t", videos="v", labels="l", frames=4, **more)


def test_kinetics_lists(tmp_path):
    videos = tmp_path / "v"
    (videos / "riding a bike").mkdir(parents=True)
    pictures(videos / "riding a bike" / "abc_000003_000013", 2)
    listing = tmp_path / "train.csv"
    listing.write_text(
        "label,youtube_id,time_start,time_end,split\nriding a bike,abc,3,13,train\nabseiling,def,0,10,train\n"
    )
    items = read_items(options("kinetics400"), listing, videos, None)
    assert [i.label for i in items] == [(1,), (0,)] and class_counts(items) == 2
    assert Video(items[0].path).num_frames == 2
    with pytest.raises(InputError, match="def_000000_000010"):
        Video(items[1].path)


def test_something_something_lists(tmp_path):
    (tmp_path / "v").mkdir()
    labels, listing = tmp_path / "labels.json", tmp_path / "train.json"
    labels.write_text(json.dumps({"Pushing something": "1", "Holding something": "0"}))
    listing.write_text(json.dumps([{"id": "7", "label": "pushing a pen", "template": "Pushing [something]"}]))
    (item,) = read_items(options("ssv2"), listing, tmp_path / "v", labels)
    assert item.label == (1,) and item.name == "7"
    listing.write_text(json.dumps([{"id": "7", "template": "Eating [something]"}]))
    with pytest.raises(InputError, match="Eating something"):
        read_items(options("ssv2"), listing, tmp_path / "v", labels)


def test_epic_kitchens_lists(tmp_path):
    pictures(tmp_path / "v" / "P01" / "rgb_frames" / "P01_01", 10)
    listing = tmp_path / "train.csv"
    head = "narration_id,participant_id,video_id,start_frame,stop_frame,verb_class,noun_class\n"
    listing.write_text(head + "P01_01_0,P01,P01_01,4,8,3,9\n")
    (item,) = read_items(options("epic100"), listing, tmp_path / "v", None)
    assert item.label == (3, 9) and class_counts([item]) == (4, 10)
    clip = read_clip(item, options("epic100", interval=1))
    assert clip[:, 0, 0, 0].min() >= 30 and clip[:, 0, 0, 0].max() <= 70  # frames 4 to 8, counted from 1
    listing.write_text(head + "P01_01_0,P01,P01_01,9,8,3,9\n")
    with pytest.raises(InputError, match="9 to 8"):
        read_items(options("epic100"), listing, tmp_path / "v", None)


@pytest.mark.parametrize(
    ("text", "said"), [("a,b\n1,2\n", "no column 'path'"), ("path,label\nx,first\n", "label must be a whole number")]
)
def test_lists_that_are_wrong_say_where(tmp_path, text, said):
    (tmp_path / "v").mkdir()
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_items(options("csv"), tmp_path / "l.csv", tmp_path / "v", None)


def recipe_of_folders(tmp_path, **data):
    for name in ("a", "b", "c"):
        pictures(tmp_path / "v" / name, 12)
    (tmp_path / "l.csv").write_text("path,label\na,0\nb,1\nc,2\n")
    given = {"kind": "csv", "train": "l.csv", "test": "l.csv", "videos": "v", "frames": 4, "interval": 2}
    sizes = {"size": 16, "test_size": 20, "short_side": 20, "clips": 2, "crops": 3}
    return RecognitionRecipe(iterations=5, batch=2, data=DataOptions(**{**given, **sizes, **data}))


@pytest.mark.parametrize("workers", [0, 2])
def test_training_goes_on_with_the_clips_it_would_have_had(tmp_path, workers):
    recipe = recipe_of_folders(tmp_path, workers=workers)
    material = load_material(recipe.data, tmp_path)
    whole = list(training_batches(recipe, material))
    rest = list(training_batches(recipe, material, begin=3))
    assert len(whole) == 5 and whole[0][0].shape == (2, 3, 4, 16, 16) and whole[0][0].dtype == torch.uint8
    for (a, x), (b, y) in zip(whole[3:], rest, strict=True):
        assert torch.equal(a, b) and torch.equal(x, y)
    labels = torch.cat([y for _, y in whole]).flatten().tolist()
    assert sorted(labels[:3]) == [0, 1, 2] and sorted(labels[3:6]) == [0, 1, 2]  # every epoch sees every video


def test_processes_see_different_clips(tmp_path):
    recipe = replace(recipe_of_folders(tmp_path), batch=1)
    material = load_material(recipe.data, tmp_path)
    both = [[int(y) for _, y in training_batches(recipe, material, rank=r, size=2)] for r in (0, 1)]
    together = [y for pair in zip(*both, strict=True) for y in pair]
    assert sorted(together[:3]) == [0, 1, 2] and sorted(together[3:6]) == [0, 1, 2]


def test_views_of_a_test(tmp_path):
    recipe = recipe_of_folders(tmp_path)
    seen = list(held_out_clips(recipe.data, load_material(recipe.data, tmp_path)))
    assert [(name, label) for name, _, label in seen] == [("a", (0,)), ("b", (1,)), ("c", (2,))]
    assert seen[0][1].shape == (6, 3, 4, 20, 20)
    starts = seen[0][1][:, 0, 0, 0, 0].tolist()
    assert starts[:3] == [0, 0, 0] and len(set(starts)) == 2


def test_rendered_tests_hold_every_class_alike_and_are_never_trained_on():
    recipe = RecognitionRecipe(iterations=1, batch=4, data=DataOptions(test_clips=16))
    material = load_material(recipe.data, Path("."))
    tests = list(held_out_clips(recipe.data, material))
    assert [label[0] for *_, label in tests] == 2 * list(range(len(CLASSES)))
    trained = next(training_batches(recipe, material))[0]
    assert not any(torch.equal(clip, views[0]) for clip in trained for _, views, _ in tests)


def test_normalising():
    x = normalised(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    torch.testing.assert_close(
        x[0, :, 0, 0], (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    )


def test_tracks_are_cut_out_of_videos(tmp_path):
    for name in ("V_BIRD_001", "IR_DRONE_002"):
        writer = cv2.VideoWriter(str(tmp_path / f"{name}.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
        for i in range(4):
            frame = np.zeros((48, 64, 3), np.uint8)
            frame[16:32, 4 + 8 * i : 20 + 8 * i] = 255
            writer.write(frame)
        writer.release()
        boxes = [f"{4 + 8 * i},16,16,16" for i in range(3)] + ["nan,nan,nan,nan"]
        (tmp_path / f"{name}.txt").write_text("\n".join(boxes) + "\n")
    counts = cut_tracks(tmp_path, tmp_path / "out", ["V_BIRD_001"], size=40)
    assert counts == {"train": 1, "test": 1}
    assert (tmp_path / "out" / "test.csv").read_text().split() == ["path,label", "V_BIRD_001,1"]
    video = Video(tmp_path / "out" / "videos" / "IR_DRONE_002")
    assert video.num_frames == 3
    for frame in video.read(np.arange(3)):
        assert frame.shape == (40, 40, 3) and frame[20, 20].min() > 200 and frame[2, 20].max() < 60
    with pytest.raises(InputError, match="no clips"):
        cut_tracks(tmp_path / "out", tmp_path / "other", [])
