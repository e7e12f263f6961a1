"""Published TAda2D numbers, and networks that begin as the image networks whose weights they load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from onlinetada import InputError
from onlinetada.video import build, load_weights

DATA = np.load(Path(__file__).parents[2] / "data" / "tada2d_slim.npz")
SLIM = {"widths": (16, 32, 64, 128, 256)}


def published():
    return {k.removeprefix("state/"): torch.from_numpy(DATA[k]) for k in DATA.files if k.startswith("state/")}


@torch.no_grad()
def test_tada2d_gives_the_published_numbers():
    network = build("tada2d_r50", num_classes=0, **SLIM).eval()
    loaded = load_weights(network, published())
    assert loaded.layout == "TAda2D" and not loaded.new and not loaded.unused
    y = network.features(torch.from_numpy(DATA["x"]))
    torch.testing.assert_close(y, torch.from_numpy(DATA["y"]), atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_whole_checkpoint_with_its_classifier_loads_and_another_one_is_left_out():
    weights = {f"backbone.{k}": v for k, v in published().items()}
    weights |= {"head.out.weight": torch.randn(7, 256), "head.out.bias": torch.randn(7)}
    network = build("tada2d_r50", num_classes=7, **SLIM)
    assert not load_weights(network, {"model_state": weights}).new
    assert torch.equal(network.head.classifiers["label"].weight, weights["head.out.weight"])
    other = load_weights(build("tada2d_r50", num_classes=3, **SLIM), {"model_state": weights})
    assert set(other.unused) == {"head.classifiers.label.weight", "head.classifiers.label.bias"}


def batch_norm(x, weights, name):
    parts = (weights[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, *parts)


def random_norm(name, channels):
    norm = {"weight": torch.rand(channels) + 0.5, "bias": torch.randn(channels) * 0.1}
    norm |= {"running_mean": torch.randn(channels) * 0.1, "running_var": torch.rand(channels) + 0.5}
    return {f"{name}.{k}": v for k, v in norm.items()}


def image_resnet(bottleneck):
    """Weights of a tiny ResNet as torchvision and timm name them, and its forward, written apart from ours."""
    torch.manual_seed(1)
    convs = {"conv1": (8, 3, 7)}
    inside = 8
    for stage in range(1, 5):
        outside = 16 * stage
        for block, width in ((0, inside), (1, outside)):
            name = f"layer{stage}.{block}"
            if bottleneck:
                q = outside // 4
                sizes = {"conv1": (q, width, 1), "conv2": (q, q, 3), "conv3": (outside, q, 1)}
            else:
                sizes = {"conv1": (outside, width, 3), "conv2": (outside, outside, 3)}
            convs |= {f"{name}.{k}": v for k, v in sizes.items()}
            if width != outside:
                convs[f"{name}.downsample.0"] = (outside, width, 1)
        inside = outside
    weights = {f"{n}.weight": torch.randn(o, i, k, k) / (i * k * k) ** 0.5 for n, (o, i, k) in convs.items()}
    for name, (outside, _, _) in convs.items():
        weights |= random_norm(name.replace("downsample.0", "downsample.1").replace("conv", "bn"), outside)
    weights |= {"fc.weight": torch.randn(1000, inside), "fc.bias": torch.randn(1000)}

    def conv_bn(x, name, stride):
        kernel = weights[f"{name}.weight"]
        y = F.conv2d(x, kernel, None, stride, kernel.shape[-1] // 2)
        return batch_norm(y, weights, name.replace("downsample.0", "downsample.1").replace("conv", "bn"))

    def forward(x):
        x = F.max_pool2d(conv_bn(x, "conv1", 2).relu(), 3, 2, 1)
        for stage in range(1, 5):
            for block in (0, 1):
                name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
                strides = {"conv1": 1, "conv2": stride, "conv3": 1} if bottleneck else {"conv1": stride, "conv2": 1}
                y = x
                for part, s in strides.items():
                    y = conv_bn(y, f"{name}.{part}", s)
                    y = y.relu() if part != list(strides)[-1] else y
                short = f"{name}.downsample.0"
                x = (y + (conv_bn(x, short, stride) if f"{short}.weight" in weights else x)).relu()
        return x

    return weights, forward


@pytest.mark.parametrize("name", ["tada2d_r18", "tada2d_r50"])
@pytest.mark.parametrize("online", [False, True])
@torch.no_grad()
def test_a_network_with_imagenet_weights_starts_as_the_image_network(name, online):
    weights, image_network = image_resnet(name.endswith("50"))
    shape = {"depths": (2, 2, 2, 2), "widths": (8, 16, 32, 48, 64), "stem_pool": True}
    network = build(name, num_classes=5, online=online, **shape).eval()
    loaded = load_weights(network, weights)
    assert all(".calibration." in k or ".pool_norm." in k or k.startswith("head.") for k in loaded.new)
    assert set(loaded.unused) == {"head.classifiers.label.weight", "head.classifiers.label.bias"}
    x = torch.rand(2, 3, 4, 64, 64)
    frames = image_network(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, 4)).transpose(1, 2)
    torch.testing.assert_close(network.features(x), frames, atol=2e-5, rtol=1e-5)


def image_convnext():
    torch.manual_seed(2)
    widths, w = (8, 16, 24, 32), {}

    def norm(name, channels):
        w[f"{name}.weight"], w[f"{name}.bias"] = torch.rand(channels) + 0.5, torch.randn(channels) * 0.1

    def dense(name, *shape):
        fan = int(np.prod(shape[1:]))
        w[f"{name}.weight"], w[f"{name}.bias"] = torch.randn(shape) / fan**0.5, torch.randn(shape[0]) * 0.1

    dense("features.0.0", 8, 3, 4, 4)
    norm("features.0.1", 8)
    for stage, c in enumerate(widths):
        if stage:
            norm(f"features.{2 * stage}.0", widths[stage - 1])
            dense(f"features.{2 * stage}.1", c, widths[stage - 1], 2, 2)
        block = f"features.{2 * stage + 1}.0"
        dense(f"{block}.block.0", c, 1, 7, 7)
        norm(f"{block}.block.2", c)
        dense(f"{block}.block.3", 4 * c, c)
        dense(f"{block}.block.5", c, 4 * c)
        w[f"{block}.layer_scale"] = torch.rand(c, 1, 1)
    norm("classifier.0", 32)
    dense("classifier.2", 9, 32)

    def layer_norm(x, name):
        y = F.layer_norm(x.movedim(1, -1), x.shape[1:2], w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)
        return y.movedim(-1, 1)

    def conv(x, name, **options):
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **options)

    def forward(x):
        x = layer_norm(conv(x, "features.0.0", stride=4), "features.0.1")
        for stage, c in enumerate(widths):
            if stage:
                x = conv(layer_norm(x, f"features.{2 * stage}.0"), f"features.{2 * stage}.1", stride=2)
            block = f"features.{2 * stage + 1}.0"
            y = layer_norm(conv(x, f"{block}.block.0", padding=3, groups=c), f"{block}.block.2").movedim(1, -1)
            y = F.gelu(F.linear(y, w[f"{block}.block.3.weight"], w[f"{block}.block.3.bias"]))
            y = F.linear(y, w[f"{block}.block.5.weight"], w[f"{block}.block.5.bias"]).movedim(-1, 1)
            x = x + w[f"{block}.layer_scale"] * y
        return x

    return w, forward


def as_timm(weights):
    """The same weights under timm's names."""
    out = {}
    for key, value in weights.items():
        place = key.split(".")
        number = int(place[1]) if place[0] == "features" else -1
        tail = ".".join(place[2:])
        if number == 0:
            new = f"stem.{tail}"
        elif place[0] == "classifier":
            new = {"0": "head.norm", "2": "head.fc"}[place[1]] + f".{place[2]}"
        elif number % 2 == 0:
            new = f"stages.{number // 2}.downsample.{tail}"
        else:
            parts = {"block.0": "conv_dw", "block.2": "norm", "block.3": "mlp.fc1", "block.5": "mlp.fc2"}
            for old, name in {**parts, "layer_scale": "gamma"}.items():
                tail = tail.replace(old, name)
            new = f"stages.{number // 2}.blocks.{tail}"
        out[new] = value.flatten() if new.endswith("gamma") else value
    return out


@pytest.mark.parametrize("layout", ["torchvision", "timm"])
@pytest.mark.parametrize("name", ["tadaconvnext_t", "tadaconvnextv2_t"])
@torch.no_grad()
def test_convnext_weights_begin_as_the_image_network_on_each_tokens_middle_frame(layout, name):
    weights, image_network = image_convnext()
    network = build(name, num_classes=9, depths=(1, 1, 1, 1), widths=(8, 16, 24, 32)).eval()
    loaded = load_weights(network, as_timm(weights) if layout == "timm" else weights)
    assert loaded.layout.endswith(layout) and not loaded.unused
    if "v2" in name:  # its activation is another one; with the image network's the numbers are too
        for module in network.modules():
            if hasattr(module, "activation"):
                module.activation = torch.nn.GELU()
    x = torch.rand(2, 3, 4, 64, 64)
    frames = image_network(x[:, :, ::2].transpose(1, 2).flatten(0, 1)).unflatten(0, (2, 2)).transpose(1, 2)
    torch.testing.assert_close(network.features(x), frames, atol=2e-5, rtol=1e-5)
    assert torch.equal(network.head.classifiers["label"].weight, weights["classifier.2.weight"])


@pytest.mark.parametrize("name", ["r3d_18", "r2plus1d_18"])
@torch.no_grad()
def test_torchvisions_names_of_3d_networks_load(name):
    shape = {"widths": (8, 8, 16, 16), "depths": (1, 1, 1, 1)}
    plain = build(name, num_classes=4, **shape).eval()
    theirs = {}
    for key, value in plain.state_dict().items():
        stage = key.split(".")[1] if key.startswith("stages.") else ""
        key = key.replace(f"stages.{stage}.", f"layer{int(stage) + 1}.") if stage else key
        theirs[key.replace("head.classifiers.label", "fc")] = (
            value[:, :, None] if value.dim() == 4 else value  # 1 x k x k kernels are 3-d there
        )
    network = build(name, num_classes=4, tada=True, **shape).eval()
    loaded = load_weights(network, theirs)
    assert all(".calibration." in k for k in loaded.new) and not loaded.unused
    x = torch.rand(1, 3, 8, 32, 32)
    torch.testing.assert_close(network(x), plain(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_our_own_weights_load_with_and_without_calibration():
    shape = {"num_classes": 4, "depths": (1, 1, 1, 1), "widths": (8, 8, 8, 16, 16)}
    plain, tada = (build("tada2d_r18", tada=tada, **shape).eval() for tada in (False, True))
    loaded = load_weights(tada, plain.state_dict())
    assert loaded.layout == "own" and not loaded.unused
    assert all(".calibration." in k or ".pool_norm." in k for k in loaded.new)
    x = torch.rand(1, 3, 4, 32, 32)
    torch.testing.assert_close(tada(x), plain(x))
    assert not load_weights(tada, tada.state_dict()).new


def test_wrong_weights_are_refused_in_one_line():
    network = build("tada2d_r50", num_classes=5, **SLIM)
    with pytest.raises(InputError, match="no layout that is known"):
        load_weights(network, {"a.weight": torch.zeros(1)})
    weights, _ = image_resnet(bottleneck=True)
    with pytest.raises(InputError, match=r"has shape|is missing"):
        load_weights(network, weights)
