"""TCTrack (CVPR 2022, arXiv 2203.01885) and TCTrack++ (TPAMI 2023, arXiv 2308.10330), for clips and for streams.

A search region is correlated with the template's features; a transformer refines the similarity map with a memory of
the maps before it; two towers say for each of 11 x 11 cells how likely the target is there and where its sides lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from onlinetada.errors import InputError
from onlinetada.state import StreamState
from onlinetada.streaming import fold_frames, unfold_frames
from onlinetada.trackers.models.alexnet import Buffers, TemporalAlexNet, depthwise_correlation
from onlinetada.trackers.models.network import Candidates, Geometry
from onlinetada.trackers.models.precision import backbone_dtype
from onlinetada.trackers.models.transformer import TemporalTransformer, reread_as_memory, to_map, to_tokens

Quirks = Literal["none", "published", "trained"]
"""What of the published code's re-reading of memory is done.

"none": nothing. "published": modulation and memory, as its tests do. "trained": the modulation alone, as its training.
"""

GRID_SIZE = 11
STRIDE = 16
REACH = 143.0  # half of the search region in pixels: offsets are in units of it before they are coded


class TCTrackMaps(NamedTuple):
    """The head's raw answer to T frames.

    Attributes:
        cls: (B, T, 2, 11, 11) logits of background and target.
        score: (B, T, 1, 11, 11) logit of how central the cell is in the target.
        loc: (B, T, 4, 11, 11) distances to the box's sides (left, right, top, bottom), coded by tanh.
    """

    cls: Tensor
    score: Tensor
    loc: Tensor


class TCTrackHead(nn.Module):
    """From features to maps. Names are those of the published checkpoints (``grader``).

    Args:
        tower: output channels of the four 3x3 layers of each tower.
        reread: the modulation reads tokens as the published networks do.
    """

    channels = 192

    def __init__(self, tower: Sequence[int], *, reread: bool) -> None:
        super().__init__()
        width = tower[-1]
        self.conv1 = _similarity_conv(TemporalAlexNet.channels, self.channels)  # of a stream's first frame alone
        self.conv2 = _similarity_conv(TemporalAlexNet.channels, self.channels)
        self.transformer = TemporalTransformer(self.channels, reread=reread)
        self.convloc = nn.Sequential(*_tower(self.channels, tower), nn.Conv2d(width, 4, 3, padding=1))
        self.convcls = nn.Sequential(*_tower(self.channels, tower))
        self.cls1 = nn.Conv2d(width, 2, 3, padding=1)
        self.cls2 = nn.Conv2d(width, 1, 3, padding=1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as the published training does: small normal convolutions, Xavier inside the transformer."""
        for part in (self.conv1, self.conv2, self.convloc, self.convcls, self.cls1, self.cls2):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.normal_(module.weight, std=0.01)
        for parameter in self.transformer.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)


def _similarity_conv(channels_in: int, channels: int, stride: int = 2) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def _tower(channels: int, widths: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in zip([channels, *widths], widths, strict=False):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return layers


class TCTrack(nn.Module):
    """The network of TCTrack, and with ``attention`` that of TCTrack++.

    A stream's state is one row of: ``template`` (256, 6, 6) features, ``memory`` (121, 192) tokens as the next frame
    will read them, and the buffers of the two calibrated convolutions.

    Args:
        plus_plus: the attention calibration and narrowing towers of TCTrack++.
        quirks: see ``Quirks``.
    """

    geometry = Geometry(
        template_size=127, search_size=287, context=0.5, color="bgr", crop="integer", grid_size=GRID_SIZE
    )

    def __init__(self, *, plus_plus: bool = False, quirks: Quirks = "none") -> None:
        super().__init__()
        if quirks not in ("none", "published", "trained"):
            raise InputError(f"quirks must be none, published or trained; it is {quirks!r}")
        self.reread_memory = quirks == "published"
        self.backbone = TemporalAlexNet("attention" if plus_plus else "online")
        tower = (192, 96, 48, 24) if plus_plus else (192, 192, 192, 192)
        self.grader = TCTrackHead(tower, reread=quirks != "none")
        if plus_plus:  # unused, in published files
            self.grader.conv = _unused_conv()
            self.grader.conv3 = _unused_conv()
        columns = torch.arange(GRID_SIZE) * STRIDE - (GRID_SIZE // 2) * STRIDE
        rows, cols = torch.meshgrid(columns, columns, indexing="ij")
        cells = torch.stack([cols.flatten(), rows.flatten()], 1).float()
        self.register_buffer("cells", cells, persistent=False)  # (N, 2) x, y from the search region's centre
        self.cells: Tensor

    def init_buffers(self, batch_size: int, **factory: Any) -> Buffers:
        """Zeroed rows of streams that have not begun. Such rows go through ``start`` before they can step."""
        side = 6  # 127 pixels
        head = self.grader.channels
        return {
            "template": torch.zeros(batch_size, self.backbone.channels, side, side, **factory),
            "memory": torch.zeros(batch_size, GRID_SIZE**2, head, **factory),
            **{f"backbone.{k}": v for k, v in self.backbone.init_buffers(batch_size, **factory).items()},
        }

    def begin(self, template: Tensor, search: Tensor) -> Buffers:
        """Rows of new streams: template (B, 3, 127, 127), first search region (B, 3, 287, 287)."""
        batch_size = template.shape[0]
        dtype = backbone_dtype(self)
        fresh = self.backbone.init_buffers(batch_size, device=template.device, dtype=dtype)
        kernels = self.backbone.advance(template.unsqueeze(2).to(dtype), fresh)[0].to(template.dtype)
        features, backbone = self.backbone.advance(search.unsqueeze(2).to(dtype), fresh)
        features = features.to(template.dtype)
        correlation = depthwise_correlation(features, kernels[:, :, 0])
        memory = to_tokens(self.grader.conv1(unfold_frames(correlation)))
        rows = {f"backbone.{k}": v for k, v in backbone.items()}
        return {"template": kernels[:, :, 0].contiguous(), "memory": memory.contiguous(), **rows}

    def advance(self, clip: Tensor, buffers: Mapping[str, Tensor]) -> tuple[TCTrackMaps, Buffers]:
        """Maps of the next T frames (B, 3, T, 287, 287) and what changes in the rows; writes nothing."""
        frames = clip.shape[2]
        own = {k.removeprefix("backbone."): v for k, v in buffers.items() if k.startswith("backbone.")}
        features, backbone = self.backbone.advance(clip.to(backbone_dtype(self)), own)
        features = features.to(clip.dtype)
        correlation = depthwise_correlation(features, buffers["template"])
        similarity = fold_frames(self.grader.conv2(unfold_frames(correlation)), frames)
        memory, refined = buffers["memory"], []
        for t in range(frames):
            tokens, memory = self.grader.transformer(to_tokens(similarity[:, :, t]), memory)
            memory = reread_as_memory(memory) if self.reread_memory else memory
            refined.append(to_map(tokens))
        maps = torch.stack(refined, 2)
        return self._towers(maps), {"memory": memory, **{f"backbone.{k}": v for k, v in backbone.items()}}

    def _towers(self, maps: Tensor) -> TCTrackMaps:
        x = unfold_frames(maps)
        classes = self.grader.convcls(x)
        outs = (self.grader.cls1(classes), self.grader.cls2(classes), self.grader.convloc(x))
        return TCTrackMaps(*(out.unflatten(0, (-1, maps.shape[2])) for out in outs))

    def start(self, template: Tensor, search: Tensor, box: Tensor) -> StreamState:
        """Begin B streams, see ``TrackNetwork.start``. The box is not looked at: the template shows it."""
        return StreamState.of(self.begin(template, search), template.shape[0], template.device)

    def step(self, search: Tensor, state: StreamState, *, commit: bool = True) -> tuple[Candidates, StreamState]:
        """One frame of B streams (B, 3, 287, 287), see ``TrackNetwork.step``."""
        if search.shape[0] != state.batch_size:
            raise InputError(f"{search.shape[0]} search regions, but the state has {state.batch_size} streams")
        maps, new = self.advance(search.unsqueeze(2), state.buffers)
        if commit:
            state.commit(new)
        return self.decode(maps), state

    def forward(self, template: Tensor, clip: Tensor, box: Tensor, *, first: Tensor | None = None) -> TCTrackMaps:
        """T frames at once, see ``TrackNetwork.forward``; published training starts on the clip's first frame too.

        In training mode the batch norms see the clip's frames together; in evaluation mode it equals the stream.
        """
        rows = self.begin(template, clip[:, :, 0] if first is None else first)
        return self.advance(clip, rows)[0]

    def decode(self, maps: TCTrackMaps) -> Candidates:
        """Boxes and scores of the newest frame."""
        logits, score = maps.cls[:, -1].flatten(2), maps.score[:, -1].flatten(1)
        boxes = decode_boxes(maps.loc[:, -1].flatten(2).transpose(1, 2), self.cells)
        return Candidates(boxes, (logits.softmax(1)[:, 1] + score) / 2)


def decode_boxes(loc: Tensor, cells: Tensor) -> Tensor:
    """Boxes of coded distances.

    Args:
        loc: (B, N, 4) left, right, top, bottom, each tanh(distance / 143); what lies beyond +-1 is read as +-0.99.
        cells: (N, 2) x, y of the cells, in pixels from the search region's centre.

    Returns:
        (B, N, 4) cx, cy, w, h in pixels; the centre follows from the raw sides, which then become at least 1.
    """
    sides = decode_sides(loc)
    left_top, right_bottom = sides[..., 0::2], sides[..., 1::2]
    size = left_top + right_bottom
    return torch.cat([cells - left_top + size / 2, size.clamp(min=1)], -1)


def decode_sides(loc: Tensor) -> Tensor:
    """Distances in pixels of coded ones, of any shape."""
    loc = torch.where(loc <= -1, -0.99, torch.where(loc >= 1, 0.99, loc))
    return REACH * torch.atanh(loc)


def encode_sides(distance: Tensor) -> Tensor:
    """What ``decode_sides`` decodes."""
    return torch.tanh(distance / REACH)


def _unused_conv() -> nn.Sequential:
    return _similarity_conv(2 * TCTrackHead.channels, TCTrackHead.channels).requires_grad_(False)
