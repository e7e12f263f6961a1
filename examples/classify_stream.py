"""An image classifier made temporal in five lines: is the light rising or falling?

No single frame tells: the light swings, and at every brightness it rises as often as it falls. A small residual
network is trained on single frames, converted, and trained on for as long with the calibrations in it.
"""

from __future__ import annotations

import copy
import math

import footage
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import onlinetada

FRAMES, SIZE = 12, 48


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(c_out)
        self.shortcut = nn.Conv2d(c_in, c_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def classifier() -> nn.Sequential:
    """(N, 3, H, W) -> (N, 2). An ordinary image network: nothing in it knows of time."""
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU())
    return nn.Sequential(
        stem, Block(16, 32, 2), Block(32, 64, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2)
    )


def swinging_light(video: Tensor) -> tuple[Tensor, Tensor]:
    """Random light over clips (B, 3, T, H, W): the frames (B * T, 3, H, W) and whether the light rises (B * T,)."""
    batch, frames = video.shape[0], video.shape[2]
    phase, pace = 2 * math.pi * torch.rand(batch, 1), 0.4 + 0.4 * torch.rand(batch, 1)
    angle = phase + pace * torch.arange(frames)
    light = 0.65 + 0.35 * torch.sin(angle)
    rising = (torch.cos(angle - pace / 2) > 0).long()  # the light of t against that of t - 1
    return (video * light[:, None, :, None, None]).transpose(1, 2).flatten(0, 1), rising.flatten()


@torch.enable_grad()
def train(model: nn.Module, video: Tensor, steps: int) -> None:
    """On clips of the image network: every frame has its own answer."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        frames, rising = swinging_light(video[torch.randperm(len(video))[:4]])
        with onlinetada.clips(model, num_frames=FRAMES):
            loss = F.cross_entropy(model(frames), rising)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def live(model: nn.Module, video: Tensor) -> Tensor:
    """Logits (B, T, 2) of B cameras at once, frame by frame."""
    with onlinetada.streaming(model, batch_size=len(video)):
        return torch.stack([model(frame) for frame in video.unbind(2)], 1)


@torch.no_grad()
def main() -> None:
    options = footage.arguments(__doc__)
    torch.manual_seed(0)
    video = footage.clips(options.data, 24, FRAMES, SIZE)  # the last 8 are kept for testing
    steps = 10 if options.quick else 150
    model = classifier()
    train(model, video[:16], steps)
    frames, rising = swinging_light(video[16:].repeat(8, 1, 1, 1, 1))
    plain = model.eval()(frames)
    original = copy.deepcopy(model)

    # The five lines: convert, train on clips, run live.
    onlinetada.convert(model, names="*.conv*", calibration="online", window=3)
    changed = (model(frames) - plain).abs().max().item()
    train(model.train(), video[:16], steps)
    stream = live(model.eval(), frames.unflatten(0, (-1, FRAMES)).transpose(1, 2))

    with onlinetada.clips(model, num_frames=FRAMES):
        clip = model(frames).view_as(stream)
    apart = (clip - stream).abs().max().item()
    before, after = ((y.flatten(0, -2).argmax(1) == rising).float().mean().item() for y in (plain, stream))
    picture = F.interpolate(frames[:1], size=(256, 256))
    with onlinetada.streaming(model) as state:
        plain_ms, live_ms = footage.milliseconds(lambda: original(picture), lambda: model(picture))
    print("\n".join(f"  {layer}" for layer in onlinetada.converted_layers(model)))
    print(f"largest change of the output by conversion  {changed:.1e}")
    print(f"clip against stream, largest difference     {apart:.1e}")
    print(f"right about the light, frame by frame       {before:.3f}")
    print(f"right about the light, live                 {after:.3f}")
    print(f"state of one stream                         {state.nbytes} bytes")
    print(f"time a frame of 256x256, plain / live       {plain_ms:.2f} / {live_ms:.2f} ms")
    assert changed <= 1e-6, "conversion changed the network"
    torch.testing.assert_close(stream, clip, atol=1e-5, rtol=1e-5)
    assert options.quick or after > before + 0.2, "the calibrations did not learn to look back"


if __name__ == "__main__":
    main()
