"""The step that runs on the device as a whole gives the host's looks: crop, choice, signals, state, any batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from onlinetada.trackers.assemble import build_engine, prepared
from onlinetada.trackers.crop import Region, crop_square
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.models.checkpoint import read_state_dict
from onlinetada.trackers.models.compact import CompactNetwork, CompactOptions
from onlinetada.trackers.models.registry import WEIGHTS_FOLDER
from onlinetada.trackers.models.tctrack import TCTrack
from onlinetada.trackers.options import InferenceConfig
from onlinetada.trackers.runtime.device_crop import pack, room_px, sample, source_for
from onlinetada.trackers.runtime.device_looker import DeviceLooker
from onlinetada.trackers.runtime.graphs import batch_size_for

SIZE = 128
BOXES = ((100, 80, 32, 32), (96.5, 78, 40, 36), (104, 84.2, 24, 26))
CPU = torch.device("cpu")


def picture(width: int = 640, height: int = 480) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8)) // 2 + rng.integers(0, 60, (height, width, 3), dtype=np.uint8)


def on_device(image: np.ndarray, regions: list[Region], kind: Any) -> np.ndarray:
    fill = np.array([100.0, 120, 140])
    packed = pack([source_for(image, r, SIZE, fill, kind) for r in regions], [fill] * len(regions))
    pixels = np.concatenate(packed.parts)
    tensors = [torch.from_numpy(a) for a in (pixels, packed.where, packed.warp, packed.fill)]
    crops = sample(tensors[0], tensors[1], tensors[2], tensors[3], SIZE)
    return crops.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("kind", ["subpixel", "integer"])
@pytest.mark.parametrize("side", [50.3, 128.0, 200.7, 300.2, 430.0])
def test_the_devices_crop_is_the_hosts(kind: Any, side: float) -> None:
    image, fill = picture(), np.array([100.0, 120, 140])
    centres = [(320.2, 240.7), (20.0, 30.0), (636.0, 470.5), (-20.0, 200.0), (320.0, 900.0)]
    regions = [Region(np.array(c), side, SIZE / side) for c in centres]
    for region, got in zip(regions, on_device(image, regions, kind), strict=True):
        wanted, _ = crop_square(image, region, SIZE, fill, kind)
        difference = np.abs(got - wanted)
        assert difference.max() <= 6  # OpenCV rounds the place to 1/32 pixel
        assert difference.mean() <= 0.6


def test_what_is_sent_is_bounded_whatever_the_frame() -> None:
    image = np.zeros((2160, 3840, 3), np.uint8)
    for side in (100.0, 700.0, 2000.0, 9000.0):
        for kind in ("subpixel", "integer"):
            region = Region(np.array([1900.0, 1000.0]), side, SIZE / side)
            source = source_for(image, region, SIZE, np.zeros(3), kind)  # type: ignore[arg-type]
            assert source.pixels.shape[0] * source.pixels.shape[1] <= room_px(SIZE)


def compact(calibration: str = "none") -> Any:
    torch.manual_seed(0)
    options: Any = {"calibration": calibration, "calibrated_blocks": (6, 7), "search_size": SIZE, "depth": 8}
    return prepared(CompactNetwork(CompactOptions(**options)), CPU)


def with_memory(network: Any) -> Any:
    """The same network, calibrated by what it saw."""
    torch.manual_seed(0)
    options = replace(network.options, calibration="online", calibrated_blocks=(1, 2))
    calibrated = CompactNetwork(options)
    calibrated.load_state_dict(read_state_dict(WEIGHTS_FOLDER / "compact.safetensors"), strict=False)
    for name, parameter in calibrated.named_parameters():
        if "taps" in name:
            parameter.data.normal_(0, 0.02)
    return prepared(calibrated, CPU)


def pair(network: Any, config: InferenceConfig) -> tuple[Engine, Engine]:
    looker = DeviceLooker(network, config, CPU)
    return Engine(network, config), Engine(network, config, looker=looker)


@pytest.mark.parametrize("calibration", ["none", "online"])
def test_looks_and_memory_are_the_hosts(scene: Any, calibration: str) -> None:
    shipped = build_engine("compact", device="cpu", runtime="torch")  # weights by chance have ties, broken either way
    network = shipped.network if calibration == "none" else with_memory(shipped.network)
    host, device = pair(network, shipped.config)
    keys: list[int] = []
    for engine in (host, device):
        keys = [engine.add(scene.frame(100, 80), box) for box in BOXES]
    for x in (103, 106, 110):
        wanted, given = (engine.update({key: scene.frame(x, 80) for key in keys}) for engine in (host, device))
        for key in keys:
            # from equal state, then on their own: a region that is rounded the other way moves boxes a little
            assert np.allclose(wanted[key].box_xywh, given[key].box_xywh, atol=0.3 if x == 103 else 1)
            assert wanted[key].score == pytest.approx(given[key].score, abs=0.02)
    assert host.state is not None and device.state is not None
    for name, buffer in host.state.buffers.items():
        apart = (device.state[name] - buffer).abs() / (1 + buffer.abs())
        assert apart.max() < 0.2 and apart.mean() < 0.01, name  # regions are up to a pixel apart by now
    assert isinstance(device.looker, DeviceLooker)
    assert list(device.looker.steps.sizes) == [4]


def test_rows_join_and_leave_at_few_batch_sizes(scene: Any) -> None:
    host, device = pair(compact(), InferenceConfig())
    assert isinstance(device.looker, DeviceLooker)
    keys: list[int] = []
    for count in range(6):
        for engine in (host, device):
            key = engine.add(scene.frame(100, 80), (90 + 4.0 * count, 80, 32, 32))
        keys.append(key)
        answers = [engine.update({k: scene.frame(102, 80) for k in keys}) for engine in (host, device)]
        assert np.allclose(*([r.box_xywh for r in a.values()] for a in answers), atol=0.3)
    for engine in (host, device):
        engine.remove(keys[1])
    del keys[1]
    answers = [engine.update({k: scene.frame(104, 80) for k in keys[:3]}) for engine in (host, device)]
    assert np.allclose(*([r.box_xywh for r in a.values()] for a in answers), atol=0.3)
    assert set(device.looker.steps.sizes) == {1, 2, 4, 8}


def test_covered_frames_are_not_remembered(scene: Any) -> None:
    host, device = pair(compact("online"), InferenceConfig(recover=False))
    for engine in (host, device):
        key = engine.add(scene.frame(100, 80), (100, 80, 32, 32))
        before = engine.state.clone()  # type: ignore[union-attr]
        engine.update({key: np.zeros_like(scene.frame(0, 0))})
        for name, buffer in before.buffers.items():
            assert torch.equal(engine.state[name], buffer)  # type: ignore[index]


def test_the_device_learns_what_the_host_believes(scene: Any) -> None:
    by_chance = InferenceConfig(learn_confidence=0.0, recover=False)  # such weights are never sure
    host, device = pair(compact(), by_chance)
    for boxes in ([(100, 80, 32, 32)], [(300, 228, 30, 24), (2, 3, 40, 30)]):
        for engine in (host, device):
            engine.clear()
            keys = [engine.add(scene.frame(100, 80), box) for box in boxes]
            before = engine.state.clone()  # type: ignore[union-attr]
            engine.update({key: scene.frame(103, 80) for key in keys})
            assert not torch.equal(engine.state["filter"], before["filter"])  # type: ignore[index]
        for name in ("filter", "recent"):
            torch.testing.assert_close(device.state[name], host.state[name], atol=2e-3, rtol=1e-2)  # type: ignore[index]
    host, device = pair(compact(), replace(by_chance, learn_confidence=1.0))
    for engine in (host, device):
        key = engine.add(scene.frame(100, 80), (100, 80, 32, 32))
        before = engine.state.clone()  # type: ignore[union-attr]
        engine.update({key: scene.frame(103, 80)})
        assert torch.equal(engine.state["filter"], before["filter"])  # type: ignore[index]


@pytest.mark.slow
def test_tctracks_look_is_the_hosts(scene: Any) -> None:
    torch.manual_seed(0)
    host, device = pair(prepared(TCTrack(), CPU), InferenceConfig(window="hann", recover=False))
    for engine in (host, device):
        key = engine.add(scene.frame(100, 80), (100, 80, 32, 32))
    wanted, given = (engine.update({key: scene.frame(103, 80)})[key] for engine in (host, device))
    assert np.allclose(wanted.box_xywh, given.box_xywh, atol=0.3)


def test_where_nothing_can_be_captured_steps_run_one_by_one(scene: Any) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here: graphs can be captured")
    network = compact()
    engine = Engine(network, looker=DeviceLooker(network, InferenceConfig(), CPU, graphs=True))
    key = engine.add(scene.frame(100, 80), (100, 80, 32, 32))
    with pytest.warns(RuntimeWarning, match="no CUDA graph"):
        engine.update({key: scene.frame(103, 80)})


def test_batch_sizes_are_powers_of_two() -> None:
    assert [batch_size_for(n) for n in (1, 2, 3, 4, 5, 64, 65)] == [1, 2, 4, 4, 8, 64, 128]


@pytest.mark.gpu
@pytest.mark.parametrize("calibration", ["none", "online"])
def test_the_graph_gives_the_plain_paths_boxes(scene: Any, calibration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    # a batch of another size has other algorithms, whose TF32 differs by more than this network's cells do
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    cuda = torch.device("cuda")
    network, config = compact(calibration).to(cuda), InferenceConfig()
    graphed = DeviceLooker(network, config, cuda)
    engines = Engine(network, config, device=cuda), Engine(network, config, device=cuda, looker=graphed)
    keys: list[int] = []
    for count in range(5):
        for engine in engines:
            key = engine.add(scene.frame(100, 80), (90 + 4.0 * count, 80, 32, 32))
        keys.append(key)
        for x in (102, 104):
            wanted, given = (engine.update({k: scene.frame(x, 80) for k in keys}) for engine in engines)
            for k in keys:
                assert np.allclose(wanted[k].box_xywh, given[k].box_xywh, atol=0.5)
    for fixed in graphed.steps.sizes.values():
        assert fixed.graphed
