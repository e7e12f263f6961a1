"""What TCTrack is shown, and what it makes of it, as a picture."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch

from onlinetada.trackers.models.tctrack import TCTrack
from onlinetada.trackers.result import Image
from onlinetada.trackers.training.sheets import ABSENT_COLOUR, ANSWER_COLOUR, TRUTH_COLOUR, corner_box, draw_box, tile
from onlinetada.trackers.training.tctrack.sampling import Samples

_TILE_SIDE = 160


@torch.no_grad()
def samples_sheet(network: TCTrack, samples: Samples, *, most: int = 12) -> Image:
    """A row for each sample: the template, the search regions, and on the last of these the truth (green, or red where
    the template shows something else) and the network's best box (yellow).

    Args:
        network: is asked in evaluation mode.
        samples: as they are trained on.
        most: further ones are left out.
    """
    shown = Samples(**{f.name: getattr(samples, f.name)[:most] for f in fields(samples)})
    training = network.training
    network.eval()
    candidates = network.decode(network(shown.template, shown.clip, shown.boxes))
    network.train(training)
    best = candidates.scores.argmax(1)
    answers = candidates.boxes[torch.arange(len(best), device=best.device), best].cpu().numpy()
    truth, present = shown.boxes.cpu().numpy(), shown.present.cpu().numpy()
    templates = _pictures(shown.template.permute(0, 2, 3, 1))
    regions = _pictures(shown.clip.permute(0, 2, 3, 4, 1))
    tiles = []
    for b in range(len(best)):
        judged = np.ascontiguousarray(regions[b, -1])
        draw_box(judged, corner_box(truth[b], judged), TRUTH_COLOUR if present[b] else ABSENT_COLOUR)
        draw_box(judged, corner_box(answers[b], judged), ANSWER_COLOUR)
        tiles += [templates[b], *regions[b, :-1], judged]
    return tile(tiles, regions.shape[1] + 1, _TILE_SIDE)


def _pictures(images: torch.Tensor) -> Image:
    pictures: Image = images.round().to(torch.uint8).cpu().numpy()
    return pictures
