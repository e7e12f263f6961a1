"""TAdaConv2d over clips, and OnlineTAdaConv2d over clips and streams (TAdaConv, ICLR 2022; TCTrack, CVPR 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from onlinetada.calibrations import Calibration, CalibrationFactory, build_calibration
from onlinetada.errors import InputError
from onlinetada.functional import CalDim, calibrated_conv2d, kernel_numel
from onlinetada.streaming import FrameShape, TemporalModule, fold_frames

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class TAdaConv2d(TemporalModule):
    """2-d convolution whose kernel is calibrated for every frame: W_t = alpha_t * W_b.

    Starts as the plain convolution with W_b: pretrained weights keep their behaviour. The arguments are those of
    ``torch.nn.Conv2d``, then:

    Args:
        cal_dim: what alpha scales: input channels ("cin"), output channels ("cout") or kernel positions ("kernel").
        calibration: a name of ``onlinetada.calibrations.CALIBRATIONS``, a `Calibration`, or a factory of one.

    Shape:
        (B, C_in, T, H, W) -> (B, C_out, T, H', W'), or frames (N, C_in, H, W) -> (N, C_out, H', W').
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        cal_dim: CalDim = "cin",
        calibration: str | Calibration | CalibrationFactory = "route",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        # torch's own layer checks the arguments and initialises W_b; only its tensors are kept.
        plain = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, **factory
        )
        if cal_dim not in get_args(CalDim):
            raise InputError(f"cal_dim must be one of {', '.join(get_args(CalDim))}; it is {cal_dim!r}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.padding = plain.kernel_size, plain.stride, plain.padding
        self.dilation, self.groups, self.padding_mode = plain.dilation, groups, padding_mode
        self._pad_widths = plain._reversed_padding_repeated_twice
        self.cal_dim: CalDim = cal_dim
        self.weight, self.bias = plain.weight, plain.bias
        self.num_factors = {"cin": in_channels, "cout": out_channels, "kernel": kernel_numel(self.kernel_size)}[cal_dim]
        self.calibration = build_calibration(calibration, in_channels, self.num_factors, **factory)
        self._check_calibration()

    @property
    def causal(self) -> bool:  # type: ignore[override]
        """Whether the layer can run on a stream."""
        return self.calibration.causal

    def reset_parameters(self) -> None:
        """Initialise W_b and the bias as ``torch.nn.Conv2d`` does; the calibration goes back to one."""
        nn.Conv2d.reset_parameters(self)  # type: ignore[arg-type]
        for module in self.calibration.modules():
            if module is not self.calibration and hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]

    def init_buffers(self, batch_size: int, *, frame_shape: FrameShape = None, **factory: Any) -> dict[str, Tensor]:
        """The buffers of the calibration."""
        return self.calibration.init_buffers(batch_size, **factory)

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The next T frames (B, C_in, T, H, W): factors first, then one batched convolution over B * T frames."""
        if x.shape[1] != self.in_channels:
            raise InputError(f"the layer takes {self.in_channels} channels, the input has shape {tuple(x.shape)}")
        factors, new = self.calibration.advance(x, buffers)
        alpha = _per_frame(factors.alpha).to(x.dtype)
        if alpha.shape[1] < self.num_factors:
            alpha = F.pad(alpha, (0, self.num_factors - alpha.shape[1]), value=1.0)
        if self.cal_dim == "kernel":
            alpha = alpha.view(-1, *self.kernel_size)
        bias = self.bias
        if bias is not None and factors.bias is not None:
            bias = _per_frame(factors.bias).to(bias.dtype) * bias
        frames = x.transpose(1, 2).flatten(0, 1)  # no copy where frames are already whole in memory
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            frames, padding = F.pad(frames, self._pad_widths, mode=self.padding_mode), 0
        y = calibrated_conv2d(
            frames, self.weight, alpha, bias, self.stride, padding, self.dilation, self.groups, cal_dim=self.cal_dim
        )
        return fold_frames(y, x.shape[2]), new

    def extra_repr(self) -> str:
        """As torch.nn.Conv2d prints itself, and cal_dim."""
        said = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for name, usual in (("padding", (0, 0)), ("dilation", (1, 1)), ("groups", 1), ("padding_mode", "zeros")):
            said += f", {name}={getattr(self, name)}" if getattr(self, name) != usual else ""
        return f"{said}, bias={self.bias is not None}, cal_dim={self.cal_dim!r}"

    def _check_calibration(self) -> None:
        """Subclasses refuse what they cannot run."""


class OnlineTAdaConv2d(TAdaConv2d):
    """TAdaConv2d in its causal form: a clip in one call and a stream frame by frame give the same numbers.

    Args: as `TAdaConv2d`; the calibration must be causal: "online" (the article's), "causal_route", "attention",
        "learned", or one of your own.

    Example:
        >>> layer = OnlineTAdaConv2d(8, 8, 3, padding=1)
        >>> clip = torch.randn(2, 8, 5, 16, 16)
        >>> state = layer.init_state(batch_size=2)
        >>> stream = torch.stack([layer.step(frame, state)[0] for frame in clip.unbind(2)], 2)
        >>> torch.allclose(layer(clip), stream, atol=1e-5)
        True
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        cal_dim: CalDim = "cin",
        calibration: str | Calibration | CalibrationFactory = "online",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            cal_dim=cal_dim,
            calibration=calibration,
            device=device,
            dtype=dtype,
        )

    def _check_calibration(self) -> None:
        if not self.calibration.causal:
            raise InputError(
                f"{type(self.calibration).__name__} looks at later frames and cannot run on a stream: use 'online', "
                "'causal_route' or 'attention', or TAdaConv2d for clips alone"
            )


def _per_frame(factors: Tensor) -> Tensor:
    """(B, A, T) -> (B * T, A)."""
    return factors.transpose(1, 2).flatten(0, 1)
