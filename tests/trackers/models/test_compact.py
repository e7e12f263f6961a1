"""The compact network: clips equal streams, it localises before training, and the backbone is the published one."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from onlinetada.errors import InputError
from onlinetada.trackers.models.appearance import adapted_filter, part_features, target_filter
from onlinetada.trackers.models.backbone import LITE0_BLOCKS, Lite0, load_imagenet
from onlinetada.trackers.models.compact import CompactNetwork, CompactOptions

SIZE = 128
INNER = [6, 7, 8, 11, 12, 13, 16, 17, 18]  # of 5 x 5 parts, those inside the box


@pytest.fixture(params=["none", "online", "target"])
def network(request: pytest.FixtureRequest) -> CompactNetwork:
    """With weights that are not at their starting point, calibration included."""
    torch.manual_seed(0)
    network = CompactNetwork(CompactOptions(calibration=request.param, search_size=SIZE)).eval()
    for name, parameter in network.named_parameters():
        if "taps" in name or name.startswith(("head.box.2", "head.score.1")):
            nn.init.normal_(parameter, 0, 0.02)
    return network.requires_grad_(False)


def clip_and_box(batch: int = 2, frames: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    template = torch.zeros(batch, 3, 128, 128)
    box = torch.tensor([[64.0, 64, 60, 50], [60, 66, 30, 70.0]])[:batch]
    return template, torch.rand(batch, 3, frames + 1, SIZE, SIZE) * 255, box


def test_clip_and_stream_agree(network: CompactNetwork) -> None:
    template, clip, box = clip_and_box()
    whole = network(template, clip[:, :, 1:], box, first=clip[:, :, 0])
    state = network.start(template, clip[:, :, 0], box)
    for t in range(4):
        peeked, _ = network.step(clip[:, :, t + 1], state, commit=False)
        candidates, _ = network.step(clip[:, :, t + 1], state)
        assert torch.equal(peeked.boxes, candidates.boxes)
        assert torch.allclose(candidates.boxes, whole.boxes[:, t], atol=1e-3)
        assert torch.allclose(candidates.scores, whole.logits[:, t].sigmoid(), atol=1e-4)


def test_rows_are_streams_of_their_own(network: CompactNetwork) -> None:
    template, clip, box = clip_and_box()
    together = network.start(template, clip[:, :, 0], box)
    alone = network.start(template[1:], clip[1:, :, 0], box[1:])
    for t in (1, 2, 3):
        both, _ = network.step(clip[:, :, t], together)
        one, _ = network.step(clip[1:, :, t], alone)
        assert torch.allclose(both.boxes[1], one.boxes[0], atol=1e-3)
    assert all(buffer.shape[0] == 2 for buffer in together.buffers.values())


def test_size_is_within_the_budget() -> None:
    for calibration in ("none", "online", "target"):
        network = CompactNetwork(CompactOptions(calibration=calibration))
        assert sum(p.numel() for p in network.parameters()) <= 1.2e6
        state = network.start(
            torch.zeros(1, 3, 128, 128), torch.rand(1, 3, 256, 256), torch.tensor([[64.0, 64, 50, 50]])
        )
        assert state.nbytes < 17_000


def test_calibration_starts_as_none() -> None:
    torch.manual_seed(0)
    plain = CompactNetwork(CompactOptions(search_size=SIZE)).eval()
    online = CompactNetwork(CompactOptions(calibration="online", search_size=SIZE)).eval()
    missing, unexpected = online.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all(".calibration." in name for name in missing)
    template, clip, box = clip_and_box()
    with torch.no_grad():
        a, b = (n(template, clip, box) for n in (plain, online))
    assert torch.allclose(a.logits, b.logits, atol=1e-4) and torch.allclose(a.boxes, b.boxes, atol=1e-3)


def test_untrained_head_finds_features_that_moved() -> None:
    """The target filter alone, and boxes of the first frame's size; a look-alike in part stands beside."""
    torch.manual_seed(0)
    head = CompactNetwork(CompactOptions(search_size=256)).eval().head
    ground, target = torch.randn(96, 16, 16) * 0.3, torch.randn(96, 4, 4)
    other = target + torch.randn(96, 4, 4) * 1.5

    def features(column: int, row: int) -> torch.Tensor:
        x = ground.clone()
        x[:, 1:5, 1:5] = other
        x[:, row : row + 4, column : column + 4] = target
        return x[None] + torch.randn(1, 96, 16, 16) * 0.1

    with torch.no_grad():
        remembered = head.describe(features(6, 6), torch.tensor([[0.0, 0.0, 64.0, 48.0]]))
        for column, row in ((6, 6), (9, 4), (11, 12)):
            prediction = head(features(column, row), remembered)
            best = prediction.boxes[0, prediction.logits[0].argmax()]
            assert best[2:].tolist() == [64, 48]
            assert best[:2].tolist() == pytest.approx([(column - 6) * 16, (row - 6) * 16], abs=16)


def test_filter_answers_the_prior_it_was_made_for() -> None:
    torch.manual_seed(0)
    features = F.normalize(torch.randn(2, 96, 8, 8), dim=1)
    prior = torch.zeros(2, 8, 8)
    prior[:, 3:5, 3:5] = 1
    weights = target_filter(features, prior, torch.tensor(1e-4))
    answer = (weights[:, :-1, None, None] * features).sum(1) + weights[:, -1, None, None]
    assert answer[:, 3:5, 3:5].min() > 0.8 > 0.3 > answer[:, 0].max()
    strong = target_filter(features, prior, torch.tensor(10.0))
    assert strong.norm() < 0.1 * weights.norm()


@pytest.mark.parametrize("keep", [0.06, 0.2, 5.0])
def test_adapted_filter_is_the_proximal_solution(keep: float) -> None:
    torch.manual_seed(0)
    base = torch.randn(2, 96, 1, 1)
    features = F.normalize(base + 0.7 * torch.randn(2, 96, 12, 12), dim=1)
    prior, before = torch.rand(2, 12, 12) ** 8, 0.1 * torch.randn(2, 97)
    given = adapted_filter(features, prior, before, keep)
    design = F.pad(features.flatten(2), (0, 0, 0, 1), value=1.0).double()
    weight = 1 + 8 * prior.flatten(1).double()
    weighted = design * (weight / weight.sum(1, keepdim=True))[:, None]
    left = weighted @ design.transpose(1, 2) + keep * torch.eye(97)
    right = weighted @ prior.flatten(1).double()[..., None] + keep * before.double()[..., None]
    wanted = torch.linalg.solve(left, right)[..., 0].float()
    assert (given - wanted).abs().max() < 0.02 * (wanted - before).abs().max()
    settled = adapted_filter(torch.zeros_like(features), torch.zeros_like(prior), torch.zeros(2, 97), keep)
    assert settled.abs().max() == 0  # nothing to learn is no division by nothing


def test_parts_are_read_where_the_box_is() -> None:
    """Features that say their own place in pixels."""
    cells = (torch.arange(8) + 0.5 - 4) * 16
    features = torch.stack([cells.expand(8, 8), cells[:, None].expand(8, 8)])[None]
    parts = part_features(features, torch.tensor([[8.0, -4.0, 40.0, 20.0]]), 16)[0].view(5, 5, 2)
    assert parts[2, 2].tolist() == pytest.approx([8, -4])
    assert parts[0, 4].tolist() == pytest.approx([8 + 24, -4 - 12])


class PublishedBlock(nn.Module):
    """A block as published, batch norms and all; strides pad as ours do."""

    def __init__(self, index: int) -> None:
        super().__init__()
        spec = LITE0_BLOCKS[index]
        width = spec.in_channels * spec.expansion
        self.pad = 0 if index == 5 else spec.kernel_size // 2
        self.spec = spec
        if spec.expansion > 1:
            self._expand_conv = nn.Conv2d(spec.in_channels, width, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(width, eps=1e-3)
        self._depthwise_conv = nn.Conv2d(
            width, width, spec.kernel_size, spec.stride, self.pad, groups=width, bias=False
        )
        self._bn1 = nn.BatchNorm2d(width, eps=1e-3)
        self._project_conv = nn.Conv2d(width, spec.out_channels, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(spec.out_channels, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.spec.expansion > 1 else x
        y = F.pad(y, (0, 1, 0, 1)) if not self.pad else y
        y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.spec.stride == 1 and self.spec.in_channels == self.spec.out_channels else y


class Published(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        self._blocks = nn.ModuleList(PublishedBlock(i) for i in range(len(LITE0_BLOCKS)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self._bn0(self._conv_stem((x - 127) / 128)))
        for block in self._blocks:
            x = block(x)
        return x


def test_folded_backbone_is_the_published_one() -> None:
    torch.manual_seed(0)
    published = Published().eval()
    for module in published.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    backbone = Lite0().eval()
    load_imagenet(backbone, published.state_dict())
    image = torch.rand(1, 3, 96, 96) * 255
    with torch.no_grad():
        wanted, got = published(image), backbone(image)
        halves = backbone.late(backbone.early(image, 5), 5)
    assert torch.allclose(wanted, got, atol=1e-3 * wanted.abs().max().item())
    assert torch.equal(got, halves)


def test_blocks_are_narrower_where_widths_say_so() -> None:
    narrow = CompactNetwork(CompactOptions(widths=(16, 3))).backbone
    assert narrow.stem.weight.shape[0] == 16
    assert narrow.blocks[1].get_parameter("expand.weight").shape[0] == 48
    assert narrow.blocks[2].get_parameter("expand.weight").shape[0] == 24 * 6
    for widths in ((16,) * 12, (16, 0)):
        with pytest.raises(InputError, match="widths"):
            CompactNetwork(CompactOptions(widths=widths))


def test_bad_input_is_one_line() -> None:
    with pytest.raises(InputError, match="multiple of 32"):
        CompactOptions(search_size=250)
    with pytest.raises(InputError, match="none, online or target"):
        CompactOptions(calibration="much")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="6 to 11 blocks"):
        CompactNetwork(CompactOptions(depth=3))
    with pytest.raises(InputError, match=r"_conv_stem\.weight' is missing"):
        load_imagenet(Lite0(), {})


def test_memory_learns_what_is_believed(network: CompactNetwork) -> None:
    """Clip and stream agree when both are told the same boxes, and a row that is told nothing stays as it is."""
    template, clip, box = clip_and_box()
    believed = torch.tensor([[4.0, -6, 60, 50], [8, 2, 30, 70]])[:, None].repeat(1, 5, 1)
    believed[1, 2] = torch.nan
    with torch.no_grad():
        features = network.features(clip)
        first = torch.cat([box[:, :2] - 64, box[:, 2:]], 1)
        told = network.compare(features, first, believed=believed)
        untold = network.compare(features, first)
    assert not torch.allclose(told.logits, untold.logits, atol=1e-3)
    state = network.start(template, clip[:, :, 0], box)
    buffers = list(state.buffers.values())
    assert len({b.untyped_storage().data_ptr() for b in buffers}) == len(buffers), "each is written on its own"
    begun, logits = state.clone(), []
    for t in range(1, 5):
        candidates, _ = network.step(clip[:, :, t], state)
        logits.append(candidates.scores.logit())
        before = state["filter"].clone()
        assert candidates.features is not None
        state.commit(network.head.learn(candidates.features, state.buffers, believed[:, t], keep=0.06))
        assert torch.equal(before[1], state["filter"][1]) == (t == 2)
    stream = torch.stack(logits, 1).flatten(0, 1)
    assert torch.allclose(stream, told.logits, atol=2e-3)
    for name in network.head.describe(network.head.neck(features[:, 0]), first):
        assert torch.equal(begun[name], state[name]) == (name not in ("filter", "recent")), name


def test_evidence_is_of_the_box_and_of_the_first_frame(network: CompactNetwork) -> None:
    template, clip, box = clip_and_box()
    state = network.start(template, clip[:, :, 0], box)
    candidates, _ = network.step(clip[:, :, 0], state, commit=False)
    assert candidates.features is not None and candidates.parts is not None and candidates.answers is not None
    grid = network.geometry.grid_size
    assert candidates.parts.shape == candidates.answers.shape == (2, grid**2)
    centred = torch.cat([box[:, :2] - 64, box[:, 2:]], 1)
    boxes = torch.stack([centred, centred + torch.tensor([25.0, -20, 0, 0])], 1)
    parts, answers = network.head.evidence(candidates.features, boxes, state.buffers)
    if network.options.calibration != "online":  # which answers a second frame in another way
        unit = state["parts"].square().sum(2)[:, INNER].mean(1)
        assert torch.allclose(parts[:, 0], unit, atol=1e-4)
    assert (parts[:, 1] < parts[:, 0] - 0.1).all()
    assert torch.equal(answers, candidates.answers)
    column, row = (centred[1, :2] / 16 + grid / 2).int().tolist()
    assert answers[1].argmax() == row * grid + column
