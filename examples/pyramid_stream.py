"""A detector's feature pyramid: convert some stages, export one step, run the file with the same API.

The network is not trained: random factors stand for trained calibrations, so that time matters to every output.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import footage
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import onlinetada
from onlinetada.export import export_onnx, load_step

FRAMES, SIZE, CLASSES = 8, 128, 4


def stage(c_in: int, c_out: int) -> nn.Sequential:
    """Half the resolution: 3x3 of stride 2, 1x1, depthwise 3x3."""
    convs = nn.Conv2d(c_in, c_out, 3, 2, 1), nn.Conv2d(c_out, c_out, 1), nn.Conv2d(c_out, c_out, 3, 1, 1, groups=c_out)
    return nn.Sequential(*(part for conv in convs for part in (conv, nn.BatchNorm2d(c_out), nn.ReLU())))


class Detector(nn.Module):
    """(N, 3, H, W) -> class scores and boxes at strides 8, 16 and 32: three maps (N, classes + 4, H', W')."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(stage(3, 16), stage(16, 32))
        self.stages = nn.ModuleList([stage(32, 64), stage(64, 96), stage(96, 128)])
        self.laterals = nn.ModuleList([nn.Conv2d(c, 64, 1) for c in (64, 96, 128)])
        # One head a level: a layer that is used for several levels would mix them into one stream.
        self.heads = nn.ModuleList([nn.Conv2d(64, CLASSES + 4, 3, 1, 1) for _ in range(3)])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        levels = []
        for backbone, lateral in zip(self.stages, self.laterals, strict=True):
            x = backbone(x)
            levels.append(lateral(x))
        for i in (1, 0):
            levels[i] = levels[i] + F.interpolate(levels[i + 1], scale_factor=2.0, mode="nearest")
        return tuple(head(level) for head, level in zip(self.heads, levels, strict=True))


def temporal_detector() -> nn.Module:
    """The detector with every 3x3 of its two deepest stages and of its heads calibrated."""
    model = Detector().eval()
    onlinetada.convert(model, stages=["stages.1", "stages.2", "heads"], kernel_sizes={3}, calibration="online")
    for module in model.modules():
        if isinstance(module, nn.Conv2d | onlinetada.OnlineTAdaConv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, onlinetada.calibrations.FactorHead):
            nn.init.normal_(module.taps, std=0.5 / module.shape[1] ** 0.5)
    return model


def by_step(step: Callable[..., Any], state: onlinetada.StreamState, video: Tensor) -> list[Tensor]:
    """Each level's maps (B, T, C, H, W), frame by frame."""
    outputs = [step(frame, state)[0] for frame in video.unbind(2)]
    return [torch.stack(level, 1) for level in zip(*outputs, strict=True)]


def by_frame(model: nn.Module, video: Tensor) -> list[Tensor]:
    """The same with all frames in one batch: clips inside ``onlinetada.clips``, otherwise each frame on its own."""
    return [level.unflatten(0, (len(video), -1)) for level in model(video.transpose(1, 2).flatten(0, 1))]


def gaps(a: list[Tensor], b: list[Tensor]) -> str:
    """Largest difference at each level, formatted; over the streams that both have."""
    return "".join(f"{(x[: len(y)] - y).abs().max().item():11.1e}" for x, y in zip(a, b, strict=True))


@torch.no_grad()
def main() -> None:
    options = footage.arguments(__doc__)
    torch.manual_seed(0)
    num_frames = 4 if options.quick else FRAMES
    cloud = torch.linspace(1, 0.5, num_frames).view(-1, 1, 1)  # it passes before the sun
    video = footage.clips(options.data, 3, num_frames, SIZE) * cloud
    model = temporal_detector()
    print("\n".join(f"  {layer}" for layer in onlinetada.converted_layers(model)))
    frame = video[:1, :, 0]
    with tempfile.TemporaryDirectory() as folder:
        exported = load_step(export_onnx(model, frame, Path(folder) / "detector.onnx"))
    live = partial(onlinetada.step, model)

    with onlinetada.clips(model, num_frames=video.shape[2]):
        clip = by_frame(model, video)
    runs = {
        "torch, 3 streams": by_step(live, onlinetada.init_state(model, 3), video),
        "ONNX, 3 streams": by_step(exported.step, exported.init_state(3), video),
        "ONNX, 1 stream": by_step(exported.step, exported.init_state(1), video[:1]),
    }
    forgetful = by_frame(model, video)
    print("largest difference from the clip  stride 8  stride 16  stride 32")
    for name, levels in {**runs, "no memory": forgetful}.items():
        print(f"  {name:<29}{gaps(clip, levels)}")
    state, held = onlinetada.init_state(model), exported.init_state()
    print(f"state of one stream     {state.nbytes} bytes in {len(state.buffers)} buffers")
    torch_ms, onnx_ms = footage.milliseconds(lambda: live(frame, state), lambda: exported.step(frame, held))
    print(f"time a frame            {torch_ms:.2f} ms in torch, {onnx_ms:.2f} ms in ONNX Runtime")
    for levels in runs.values():
        for ours, theirs in zip(clip, levels, strict=True):
            torch.testing.assert_close(theirs, ours[: len(theirs)], atol=1e-5, rtol=1e-5)
    assert (clip[0] - forgetful[0]).abs().max() > 1e-3, "time does not matter to the network"
    assert held.nbytes == state.nbytes, "the file keeps another state than the model"


if __name__ == "__main__":
    main()
