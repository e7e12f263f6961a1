"""Streaming segmentation: which of two discs moves, while the light changes?

The discs are made alike, so one frame does not tell which of them moves. An encoder-decoder with calibrated
convolutions and causal temporal pooling is trained for some seconds, next to the same network without memory.
Writes a picture: frames, truth, masks with memory, masks without.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import footage
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import onlinetada
from onlinetada import OnlineTAdaConv2d, TemporalAggregation

FRAMES, SIZE = 6, 64


def stage(c_in: int, c_out: int, memory: bool) -> nn.Sequential:
    """3x3 convolution, norm, ReLU; with memory the convolution is calibrated and the past is pooled."""
    if not memory:
        return nn.Sequential(nn.Conv2d(c_in, c_out, 3, 2, 1), nn.BatchNorm2d(c_out), nn.ReLU())
    pooling = TemporalAggregation(c_out, causal=True)
    nn.init.constant_(pooling.pool_norm.weight[::2], -1)  # every other channel begins as the change over time
    return nn.Sequential(OnlineTAdaConv2d(c_in, c_out, 3, 2, 1), pooling)


class Segmenter(nn.Module):
    """(N, 3, H, W) -> logits (N, H, W)."""

    def __init__(self, memory: bool) -> None:
        super().__init__()
        self.fine, self.coarse = stage(3, 16, memory), stage(16, 32, memory)
        self.wide = nn.Sequential(nn.Conv2d(32, 32, 3, 1, 2, dilation=2), nn.ReLU())
        self.mask = nn.Sequential(nn.Conv2d(48, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        wide = F.interpolate(self.wide(self.coarse(fine)), scale_factor=2.0, mode="bilinear")
        return F.interpolate(self.mask(torch.cat([fine, wide], 1)), scale_factor=2.0, mode="bilinear")[:, 0]


def scene(ground: Tensor) -> tuple[Tensor, Tensor]:
    """A clip (3, T, S, S) of two discs on ground (3, 2S, 2S), and the mask (T, S, S) of the one that moves."""
    grid = torch.stack(torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij"), 2)
    place, heading = SIZE * (0.25 + 0.5 * torch.rand(2, 2)), 2 * torch.pi * torch.rand(1)
    speed = (2.5 + torch.rand(1)) * torch.cat([heading.sin(), heading.cos()])
    video = ground[:, None, :SIZE, :SIZE].expand(-1, FRAMES, -1, -1)
    for moves, start, coat in zip((0, 1), place, ground[:, SIZE:].split(SIZE, 2), strict=True):
        centres = start + moves * speed * (torch.arange(FRAMES)[:, None] - FRAMES / 2)
        y, x = (grid - centres.round().long()[:, None, None]).unbind(3)
        disc = y**2 + x**2 < 100
        coat = 0.5 + 0.5 * coat[:, (y + SIZE // 2) % SIZE, (x + SIZE // 2) % SIZE]
        video = torch.where(disc, coat, video)
    light = 0.7 + 0.3 * torch.sin(torch.arange(FRAMES) * (0.3 + 0.6 * torch.rand(3, 1)) + 6.28 * torch.rand(3, 1))
    return video * light[..., None, None], disc


def scenes(grounds: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Clips (B, 3, T, S, S) and masks (B, T, S, S)."""
    videos, masks = zip(*(scene(grounds[i]) for i in torch.randint(len(grounds), (count,))), strict=True)
    return torch.stack(videos), torch.stack(masks)


def on_clips(model: nn.Module, video: Tensor) -> Tensor:
    """Logits (B, T, H, W) of clips (B, 3, T, H, W), all frames at once."""
    with onlinetada.clips(model, num_frames=video.shape[2]):
        logits = model(video.transpose(1, 2).flatten(0, 1))
    by_clip: Tensor = logits.unflatten(0, (-1, video.shape[2]))
    return by_clip


def train(model: nn.Module, grounds: Tensor, steps: int) -> None:
    """On clips, 6 a step; ends in eval mode."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    for _ in range(steps):
        video, mask = scenes(grounds, 6)
        loss = F.binary_cross_entropy_with_logits(on_clips(model, video), mask.float(), pos_weight=torch.tensor(4.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()


def overlap(logits: Tensor, mask: Tensor) -> float:
    """Intersection over union of all masks together, without the first frame, before which nothing has moved."""
    found, mask = logits[:, 1:] > 0, mask[:, 1:]
    return ((found & mask).sum() / (found | mask).sum()).item()


@torch.no_grad()
def live(model: nn.Module, video: Tensor, *, restart_at: int) -> tuple[Tensor, int]:
    """Two cameras, frame by frame; the second begins anew in the middle. Logits and the bytes of one stream's state."""
    logits = []
    with onlinetada.streaming(model, batch_size=2) as state:
        for t, frame in enumerate(video.unbind(2)):
            if t == restart_at:
                state.reset([1])
            logits.append(model(frame))
    return torch.stack(logits, 1), state.nbytes // 2


def strip(video: Tensor, rows: list[Tensor], path: Path) -> None:
    """One clip as a picture: its frames (3, T, S, S), below them rows of masks (T, S, S)."""
    pictures = [video.permute(2, 1, 3, 0).flatten(1, 2)]
    pictures += [row.float().transpose(0, 1).flatten(1)[..., None].expand(-1, -1, 3) for row in rows]
    image = (255 * torch.cat(pictures)).byte().numpy()[..., ::-1]
    cv2.imwrite(str(path), cv2.resize(np.ascontiguousarray(image), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST))


def main() -> None:
    options = footage.arguments(__doc__)
    torch.manual_seed(0)
    grounds = footage.clips(options.data, 32, 1, 2 * SIZE)[:, :, 0]  # the last 8 are kept for testing
    with_memory, without = Segmenter(memory=True), Segmenter(memory=False)
    for model in (with_memory, without):
        train(model, grounds[:24], 5 if options.quick else 120)
    video, mask = scenes(grounds[24:], 48)
    with torch.no_grad():
        clip, still = on_clips(with_memory, video), on_clips(without, video)

    middle = FRAMES // 2
    stream, state_bytes = live(with_memory, video[:2], restart_at=middle)
    with torch.no_grad():
        again = on_clips(with_memory, video[1:2, :, middle:])
    expected = torch.stack([clip[0], torch.cat([clip[1, :middle], again[0]])])
    picture = Path("out", "segment_stream.png")
    picture.parent.mkdir(exist_ok=True)
    strip(video[0], [mask[0], clip[0] > 0, still[0] > 0], picture)
    print(f"overlap with the moving disc, without memory    {overlap(still, mask):.3f}")
    print(f"overlap with the moving disc, with memory       {overlap(clip, mask):.3f}")
    print(f"clip against stream, restart included           {(stream - expected).abs().max().item():.1e}")
    print(f"what the restart changed                        {(stream[1] - clip[1]).abs().max().item():.1e}")
    print(f"state of one stream                             {state_bytes} bytes")
    print(f"picture                                         {picture.resolve()}")
    torch.testing.assert_close(stream, expected, atol=1e-5 * clip.abs().max().item(), rtol=0)
    assert not torch.allclose(stream[1], clip[1], atol=1e-3), "the second stream went on as if nothing had happened"
    assert options.quick or overlap(clip, mask) > overlap(still, mask) + 0.1, "memory did not help"


if __name__ == "__main__":
    main()
