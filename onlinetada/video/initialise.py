"""How new networks begin; what starts at zero on purpose (calibrations, second norms) is left alone."""

from __future__ import annotations

from torch import nn

from onlinetada.layers import OnlineConv3d, TAdaConv2d, TAdaConv3d


def init_convnet(network: nn.Module) -> None:
    """He initialisation of the convolutions, small classifiers."""
    for module in _own(network):
        if isinstance(module, nn.Conv2d | nn.Conv3d | OnlineConv3d | TAdaConv2d | TAdaConv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if getattr(module, "bias", None) is not None and isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]


def init_transformer(network: nn.Module) -> None:
    """Truncated normal weights of 0.02 and no biases, as ConvNeXt and ViT begin."""
    for module in _own(network):
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear | OnlineConv3d | TAdaConv2d):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _own(network: nn.Module) -> list[nn.Module]:
    """The modules outside of calibrations."""
    return [m for n, m in network.named_modules() if "calibration." not in f"{n}."]
