"""Search regions of real video to calibrate int8 on: places near labelled targets, as a tracker would look at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from onlinetada.errors import InputError
from onlinetada.trackers.crop import Region
from onlinetada.trackers.look import Looker
from onlinetada.trackers.models.network import TrackNetwork
from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.pose import Pose, first_pose, search_region, template_region
from onlinetada.trackers.result import Box, Image
from onlinetada.trackers.runtime.graph import SEARCH, STATE
from onlinetada.trackers.runtime.quantise import Feed
from onlinetada.trackers.training.clips import Clip
from onlinetada.trackers.training.readers import read_sequences, read_videos

_LATER_FRAMES = 3
_SHIFT, _GROWTH = 0.5, 0.15  # of the place in box sizes, and of the log of its size


def labelled_clips(folder: Path) -> list[Clip]:
    """The clips of a folder: ``SEQUENCE/groundtruth.txt`` with pictures, or ``NAME.mp4`` with ``NAME.txt``.

    Raises:
        InputError: there are none with boxes.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    read = read_sequences if next(folder.rglob("groundtruth.txt"), None) is not None else read_videos
    clips = [clip for clip in read(folder) if any(len(boxes) > 1 for boxes in clip.tracks.values())]
    if not clips:
        raise InputError(f"{folder} holds no clips with boxes: NAME.mp4 with NAME.txt, or SEQUENCE/groundtruth.txt")
    return clips


@torch.no_grad()
def feeds_of(
    network: TrackNetwork, clips: Sequence[Clip], buffers: Sequence[str], *, limit: int = 60, seed: int = 0
) -> Iterator[Feed]:
    """Inputs of a step, a few from each of at most ``limit`` clips, chosen by chance.

    Args:
        network: in evaluation mode, on the CPU.
        clips: with boxes.
        buffers: names of the state's buffers that the step reads.
        limit: number of clips.
        seed: of all choices.
    """
    rng = np.random.default_rng(seed)
    looker = Looker(network, InferenceConfig(), torch.device("cpu"))
    for index in rng.permutation(len(clips))[:limit]:
        clip = clips[index]
        tracks = sorted(name for name, boxes in clip.tracks.items() if len(boxes) > 1)
        boxes = clip.tracks[tracks[rng.integers(len(tracks))]]
        chosen = sorted(rng.choice(sorted(boxes), min(1 + _LATER_FRAMES, len(boxes)), replace=False).tolist())
        pictures = list(clip.read(chosen))
        if len(pictures) < 2:
            continue
        (number, picture), *later = pictures
        pose = first_pose(boxes[number], network.geometry)
        cut = template_region(pose, network.geometry)
        template = looker.tensor([_crop(looker, picture, cut, network.geometry.template_size)])
        middle = network.geometry.template_size / 2
        box = torch.tensor([[middle, middle, *(pose.size * cut.scale).tolist()]], dtype=torch.float32)
        state = network.start(template.float(), _search(looker, picture, pose).float(), box)
        for number, picture in later:
            search = _search(looker, picture, _jittered(boxes[number], looker, rng))
            crop = search.permute(0, 2, 3, 1).to(torch.uint8).contiguous()
            yield {SEARCH: crop.numpy(), **{STATE + name: state[name].numpy() for name in buffers}}


def _jittered(box: Box, looker: Looker, rng: np.random.Generator) -> Pose:
    pose = first_pose(box, looker.network.geometry)
    shift = rng.normal(size=2) * pose.size * _SHIFT
    return Pose(pose.centre + shift, pose.size * np.exp(rng.normal(size=2) * _GROWTH))


def _search(looker: Looker, picture: Image, pose: Pose) -> torch.Tensor:
    geometry = looker.network.geometry
    return looker.tensor([_crop(looker, picture, search_region(pose, geometry), geometry.search_size)])


def _crop(looker: Looker, picture: Image, region: Region, size: int) -> Image:
    return looker.crop(picture, region, size, picture.reshape(-1, 3).mean(0))[0]
