"""Our compact tracking network: EfficientNet-Lite0 to stride 16, a closed-form target filter, a small head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onlinetada.calibrations.base import FactorHead
from onlinetada.errors import InputError
from onlinetada.layers import OnlineTAdaConv2d
from onlinetada.state import StreamState
from onlinetada.streaming import clips, init_state, step
from onlinetada.trackers.models.appearance import (
    PARTS_A_SIDE,
    adapted_filter,
    cell_centres,
    centre_prior,
    part_features,
    read_parts,
    target_filter,
)
from onlinetada.trackers.models.backbone import STRIDE, Lite0
from onlinetada.trackers.models.network import Candidates, Geometry

PARTS = PARTS_A_SIDE**2
RECENT_PARTS = (PARTS_A_SIDE - 2) ** 2
KEEP = 0.2
_TRAINING_KEEP = 0.06  # clips are short: a few frames must bring the filter as far as many do in a video


@dataclass(frozen=True)
class CompactOptions:
    """The shape of a compact network.

    Attributes:
        depth: blocks of the backbone, 9 to 11 end at stride 16 with 112 channels.
        widths: channels of the stem and expansions of the blocks after the first, where they are narrower than
            EfficientNet-Lite0's 32 and 6.
        channels: width of neck and head.
        template_size: side of a box with its context, in pixels of the crop.
        search_size: side of the search region in pixels, a multiple of 16.
        calibration: "online" puts Online-TAdaConv on the expansions of ``calibrated_blocks``; "target" calibrates the
            convolution that fuses all comparisons, by descriptors of the target on the first and on the last frame
            that was believed, and of the present region.
        calibrated_blocks: their indices.
        memory: "learned" adapts the target filter and keeps parts of the last frame that was believed, beside those of
            the first; "fixed" knows the first frame only.
    """

    depth: int = 11
    widths: tuple[int, ...] = ()
    channels: int = 96
    template_size: int = 128
    search_size: int = 256
    calibration: Literal["none", "online", "target"] = "none"
    calibrated_blocks: tuple[int, ...] = (9, 10)
    memory: Literal["fixed", "learned"] = "learned"

    def __post_init__(self) -> None:
        if self.search_size % (2 * STRIDE):
            raise InputError(f"search_size must be a multiple of {2 * STRIDE}, not {self.search_size}")
        if self.memory not in ("fixed", "learned"):
            raise InputError(f"memory must be fixed or learned, not {self.memory!r}")
        if self.calibration not in ("none", "online", "target"):
            raise InputError(f"calibration must be none, online or target, not {self.calibration!r}")
        if self.calibration == "target" and self.memory == "fixed":
            raise InputError("calibration: target needs memory: learned")


class Prediction(NamedTuple):
    """What the head says of search regions; N = grid_size ** 2.

    Attributes:
        logits: (..., N) of the target's centre being in the cell.
        boxes: (..., N, 4) cx, cy, w, h in pixels from the middle of the region.
        similarity: (..., N) cosine of the cell's features with the target's on the first frame.
    """

    logits: Tensor
    boxes: Tensor
    similarity: Tensor


class CompactNetwork(nn.Module):
    """Follows a target that is described by the first frame's search region alone.

    ``forward`` takes whole clips, ``start`` and ``step`` take streams; both run the same layers and agree.
    """

    def __init__(self, options: CompactOptions | None = None) -> None:
        super().__init__()
        self.options = options or CompactOptions()
        online = self.options.calibration == "online"
        expand = dict.fromkeys(self.options.calibrated_blocks, _calibrated) if online else {}
        self.backbone = Lite0(depth=self.options.depth, widths=self.options.widths, expand=expand)
        self.head = CompactHead(
            self.backbone.out_channels,
            self.options.channels,
            learns=self.options.memory == "learned",
            calibrated=self.options.calibration == "target",
        )
        size = self.options.search_size
        self.geometry = Geometry(
            template_size=self.options.template_size,
            search_size=size,
            context=0.5,
            color="rgb",
            crop="subpixel",
            grid_size=size // STRIDE,
        )

    def forward(self, template: Tensor, clip: Tensor, box: Tensor, *, first: Tensor | None = None) -> Prediction:
        """Predictions (B, T, ...) for the T frames of a clip (B, 3, T, R, R); see ``TrackNetwork.forward``."""
        begin = clip[:, :, :1] if first is None else first[:, :, None]
        prediction = self.compare(self.features(torch.cat([begin, clip], 2)), _centred(box, template))
        return Prediction(*(part.unflatten(0, (clip.shape[0], clip.shape[2])) for part in prediction))

    def features(self, clip: Tensor, *, blocks_done: int | None = None) -> Tensor:
        """The backbone's answer to B clips: (B, 3, T, R, R) -> (B, T, C, G, G).

        Args:
            clip: pictures, 0..255 RGB; or what ``blocks_done`` blocks of the backbone made of them, (B, C', T, R', R').
            blocks_done: blocks that need not run any more.
        """
        batch, frames = clip.shape[0], clip.shape[2]
        x = clip.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        with clips(self.backbone, num_frames=frames):
            x = self.backbone(x) if blocks_done is None else self.backbone.late(x, blocks_done)
        return x.unflatten(0, (batch, frames))

    def compare(
        self,
        features: Tensor,
        box: Tensor,
        *,
        believed: Tensor | None = None,
        learn: Callable[..., dict[str, Tensor]] | None = None,
    ) -> Prediction:
        """Predictions for all frames but the first, on which the target is given.

        Args:
            features: (B, T, C, G, G) of the backbone.
            box: (B, 4) cx, cy, w, h of the target on the first frame, in pixels from the middle.
            believed: (B, T, 4) boxes that the memory learns from, each after its frame has been seen; NaN where it
                learns nothing. Without it, the first frame alone is remembered.
            learn: ``CompactHead.learn``, compiled.

        Returns:
            (B * (T - 1), ...), frame after frame within a clip.
        """
        batch, frames = features.shape[:2]
        x = self.head.neck(features.flatten(0, 1)).unflatten(0, (batch, frames))
        memory = self.head.describe(x[:, 0], box)
        moments, learn = [memory], learn or CompactHead.learn
        for t in range(1, frames - 1):
            if believed is not None and self.head.learns:
                memory = memory | learn(self.head, x[:, t], memory, believed[:, t], keep=_TRAINING_KEEP)
            moments.append(memory)
        target = {name: torch.stack([m[name] for m in moments], 1).flatten(0, 1) for name in memory}
        return self.head(x[:, 1:].flatten(0, 1), target)

    def start(self, template: Tensor, search: Tensor, box: Tensor) -> StreamState:
        """Begin B streams. The template lies within the search region of the same frame and is not needed."""
        state = init_state(self.backbone, search.shape[0], device=search.device)
        features = self._next_features(search, state, commit=True)
        state.buffers.update(self.head.describe(features, _centred(box, template)))
        return state

    def step(self, search: Tensor, state: StreamState, *, commit: bool = True) -> tuple[Candidates, StreamState]:
        """One frame of B streams, (B, 3, R, R). Scores are between 0 and 1."""
        features = self._next_features(search, state, commit=commit)
        prediction = self.head(features, state.buffers)
        learnable = features if self.head.learns else None
        scores, evidence = prediction.logits.sigmoid(), self.head.evidence(features, prediction.boxes, state.buffers)
        return Candidates(prediction.boxes, scores, prediction.similarity, learnable, *evidence), state

    def learn(self, features: Tensor, boxes: Tensor, state: StreamState) -> None:
        """Take in what B streams believed of the frame that ``step`` has just seen, in place.

        Args:
            features: (B, C, G, G) of ``Candidates.features``.
            boxes: (B, 4) cx, cy, w, h in pixels from the middle of the search region; NaN leaves a row as it is.
            state: of the streams. Frozen rows stay as they are.
        """
        state.commit(self.learned(features, boxes, state.buffers))

    def learned(self, features: Tensor, boxes: Tensor, memory: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What ``learn`` writes, see ``LearningNetwork.learned``."""
        return self.head.learn(features, memory, boxes, keep=KEEP)

    def _next_features(self, search: Tensor, state: StreamState, *, commit: bool) -> Tensor:
        if self.options.calibration != "online":  # nothing in the backbone remembers anything
            return self.head.neck(self.backbone(search))
        features, _ = step(self.backbone, search, state, commit=commit)
        return self.head.neck(features)


def _calibrated(in_channels: int, out_channels: int) -> nn.Module:
    return OnlineTAdaConv2d(in_channels, out_channels, 1)


def _centred(box: Tensor, template: Tensor) -> Tensor:
    """A box in pixels of the template, measured from its middle."""
    return torch.cat([box[:, :2] - template.shape[-1] / 2, box[:, 2:]], 1)


class CompactHead(nn.Module):
    """Compares search features with the target's and reads off a score and a box a cell.

    Two explicit priors let it localise before any training: the answer of a closed-form filter, and boxes that are
    the first frame's size moved to the cell.

    Args:
        in_channels: of the backbone.
        channels: of everything after the neck.
        learns: whether the memory goes on after the first frame.
        calibrated: whether the fusing convolution is calibrated frame by frame.
    """

    def __init__(self, in_channels: int, channels: int, *, learns: bool = True, calibrated: bool = False) -> None:
        super().__init__()
        self.channels, self.learns = channels, learns
        self.neck = nn.Conv2d(in_channels, channels, 1)
        nn.init.orthogonal_(self.neck.weight)
        self.log_ridge = nn.Parameter(torch.tensor(-6.0))
        self.prior_gain = nn.Parameter(torch.tensor([6.0, 1.0]))  # target filter, likeness to the mean target
        comparisons = PARTS + 2 + 2 * channels + (1 + RECENT_PARTS) * learns
        self.calibration = FactorHead(3 * channels, comparisons, 1, offset=True) if calibrated else None
        self.fuse = nn.Sequential(nn.Conv2d(comparisons, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.shape = nn.Linear(2, channels)
        self.trunk = nn.Sequential(separable(channels), separable(channels))
        self.score = nn.Sequential(separable(channels), nn.Conv2d(channels, 1, 1))
        self.box = nn.Sequential(separable(channels), separable(channels), nn.Conv2d(channels, 4, 1))
        for last in (self.score[-1], self.box[-1]):
            nn.init.zeros_(last.get_parameter("weight"))
            nn.init.zeros_(last.get_parameter("bias"))
        nn.init.constant_(self.score[-1].get_parameter("bias"), -3.0)

    def describe(self, features: Tensor, box: Tensor) -> dict[str, Tensor]:
        """What is remembered of B targets.

        Args:
            features: (B, C, G, G) of the first frame, after the neck.
            box: (B, 4) cx, cy, w, h in pixels from the middle.

        Returns:
            name -> (B, ...): mean (C), parts (25, C), target (C), filter (C + 1), size (2); where the memory learns,
            first (C + 1), the filter of this frame, and recent (9, C), the inner parts of the last frame believed.
        """
        mean = features.mean((2, 3))
        unit = F.normalize(features - mean[:, :, None, None], dim=1)
        parts = part_features(unit, box, STRIDE)
        recent = _inner(parts)
        prior = centre_prior(box, features.shape[-1], STRIDE)
        weights = target_filter(unit, prior, self.log_ridge.exp())
        return {
            "mean": mean,
            "parts": parts,
            "target": F.normalize(recent.mean(1), dim=1),
            "filter": weights,
            "size": box[:, 2:],
        } | ({"first": weights.clone(), "recent": recent} if self.learns else {})

    def learn(self, features: Tensor, target: Mapping[str, Tensor], box: Tensor, *, keep: float) -> dict[str, Tensor]:
        """What of the memory is new after a frame.

        Args:
            features: (B, C, G, G) of the frame, after the neck.
            target: the memory so far.
            box: (B, 4) cx, cy, w, h that is believed, in pixels from the middle; NaN where nothing is.
            keep: how strongly the filter holds on to what it was, see `adapted_filter`.
        """
        sure = torch.isfinite(box).all(1)
        box = torch.where(sure[:, None], box, STRIDE)
        unit = F.normalize(features - target["mean"][:, :, None, None], dim=1)
        prior = centre_prior(box, features.shape[-1], STRIDE)
        weights = adapted_filter(unit, prior, target["filter"], keep)
        recent = _inner(part_features(unit, box, STRIDE))
        return {
            "filter": torch.where(sure[:, None], weights, target["filter"]),
            "recent": torch.where(sure[:, None, None], recent, target["recent"]),
        }

    def evidence(self, features: Tensor, boxes: Tensor, target: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What tells a target from what looks like it, for the confidence; see ``Candidates``.

        Args:
            features: (B, C, G, G) after the neck.
            boxes: (B, N, 4) of the candidates.
            target: what is remembered of B targets.

        Returns:
            parts and answers, (B, N) each.
        """
        grid = features.shape[-1]
        cells = F.normalize(features - target["mean"][:, :, None, None], dim=1).flatten(2)
        alike = (_inner(target["parts"]) @ cells).unflatten(2, (grid, grid))
        return read_parts(alike, boxes, STRIDE).mean(1), _answer(target["filter"], cells)[:, 0]

    def forward(self, features: Tensor, target: Mapping[str, Tensor]) -> Prediction:
        """Features (M, C, G, G) after the neck against M remembered targets."""
        grid = features.shape[-1]
        x = F.normalize(features - target["mean"][:, :, None, None], dim=1)
        cells = x.flatten(2)
        parts = (target["parts"] @ cells).unflatten(2, (grid, grid))
        weights = torch.stack([target["filter"][:, :-1], target["target"]], 1)
        priors = (weights.to(cells.dtype) @ cells).unflatten(2, (grid, grid))
        constant = target["filter"][:, -1:].to(cells.dtype)
        priors = priors + F.pad(constant, (0, 1))[:, :, None, None]
        spread = self.channels**0.5  # brings unit-length features to unit variance
        product = x * target["target"][:, :, None, None] * self.channels
        size = target["size"].clamp(min=1)
        seen = [parts, priors, product, x * spread]
        if self.learns:
            seen.append((target["recent"] @ cells).unflatten(2, (grid, grid)))
            seen.append(_answer(target["first"], cells).unflatten(2, (grid, grid)))
        joined = torch.cat(seen, 1)
        if self.calibration is not None:  # conv(x, W * alpha) = conv(alpha * x, W) for factors of the input channels
            joined = self._factors(x, target)[:, :, None, None] * joined
        y = self.fuse(joined)
        y = F.relu(y + self.shape(torch.log(size / 64))[:, :, None, None])
        y = self.trunk(y)
        logits = self.score(y)[:, 0] + (priors * self.prior_gain[:, None, None]).sum(1)
        boxes = self._boxes(self.box(y).float(), size)
        return Prediction(logits.flatten(1).float(), boxes, priors[:, 1].flatten(1))

    def _factors(self, x: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        """alpha of every comparison (M, A), 1 before training."""
        assert self.calibration is not None  # noqa: S101  the caller has looked
        recent = F.normalize(target["recent"].mean(1), dim=1)
        scale = self.channels**0.5
        v = torch.cat([target["target"] * scale, recent * scale, x.mean((2, 3)) * scale], 1)
        return self.calibration(v[:, :, None])[:, :, 0]

    def _boxes(self, raw: Tensor, size: Tensor) -> Tensor:
        cells = cell_centres(raw.shape[-1], STRIDE, raw.device)
        shift_x, shift_y, *log_growth = raw.unbind(1)
        cx = cells + STRIDE * shift_x
        cy = cells[:, None] + STRIDE * shift_y
        growth = torch.stack(log_growth, 1).clamp(-2, 2).exp()
        wh = size[:, :, None, None] * growth
        return torch.stack([cx, cy, wh[:, 0], wh[:, 1]], -1).flatten(1, 2)


def _inner(parts: Tensor) -> Tensor:
    """The 3 x 3 parts inside a box of the 5 x 5: (B, 25, C) -> (B, 9, C)."""
    return parts.unflatten(1, (PARTS_A_SIDE, PARTS_A_SIDE))[:, 1:-1, 1:-1].flatten(1, 2)


def _answer(weights: Tensor, cells: Tensor) -> Tensor:
    """What a filter (B, C + 1) says of cells (B, C, N): (B, 1, N)."""
    return weights[:, None, :-1].to(cells.dtype) @ cells + weights[:, -1:, None].to(cells.dtype)


def separable(channels: int, kernel_size: int = 5) -> nn.Sequential:
    """Depthwise, then 1x1 convolution, batch norm after each, ReLU at the end."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )
