"""An exported step gives the network's numbers, in every batch, and the same tracker class runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from onlinetada.errors import InputError
from onlinetada.state import StreamState
from onlinetada.trackers import build_multi_tracker, build_tracker
from onlinetada.trackers.assemble import prepared
from onlinetada.trackers.cli import main
from onlinetada.trackers.engine import Engine
from onlinetada.trackers.models.alexnet import _correlation_by_taps, depthwise_correlation
from onlinetada.trackers.models.compact import CompactNetwork, CompactOptions
from onlinetada.trackers.models.registry import WEIGHTS_FOLDER
from onlinetada.trackers.runtime import choose
from onlinetada.trackers.runtime.export import file_sha256, write_learning, write_onnx, write_program
from onlinetada.trackers.runtime.graph import TrackStep
from onlinetada.trackers.runtime.session import OnnxNetwork, learning_beside

pytest.importorskip("onnxruntime")
SIDE = 96


def small(calibration: str = "none") -> CompactNetwork:
    """With weights that are not at their starting point."""
    torch.manual_seed(0)
    options: Any = {"calibration": calibration, "calibrated_blocks": (6, 7), "search_size": SIDE, "depth": 8}
    network = CompactNetwork(CompactOptions(**options))
    for parameter in network.parameters():
        parameter.data.add_(0.01 * torch.randn_like(parameter))
    return prepared(network, torch.device("cpu"))


def begun(network: Any, rows: int) -> StreamState:
    side = network.geometry.template_size
    box = torch.tensor([[side / 2, side / 2, 40.0, 30 + 5 * row] for row in range(rows)])
    pictures = [torch.rand(rows, 3, s, s) * 255 for s in (side, network.geometry.search_size)]
    with torch.no_grad():
        return network.start(*pictures, box)


def crops(network: Any, rows: int) -> torch.Tensor:
    side = network.geometry.search_size
    return torch.randint(0, 256, (rows, side, side, 3), dtype=torch.uint8).permute(0, 3, 1, 2)


@pytest.mark.parametrize("calibration", ["none", "online"])
def test_onnx_runtime_gives_the_networks_numbers(tmp_path: Path, calibration: str) -> None:
    pytest.importorskip("onnxscript")
    network = small(calibration)
    exported = OnnxNetwork(network, write_onnx(network, tmp_path / "step.onnx", facts={"model": "small"}))
    assert exported.facts == {"model": "small"}
    assert any(name.startswith("next.") for name in exported.gives) == (calibration == "online")
    for rows in (1, 3):
        torch.manual_seed(rows)
        state = begun(network, rows)
        other = state.clone()
        for t in range(3):
            state.freeze([0] if t == 1 else [])
            other.freeze([0] if t == 1 else [])
            search = crops(network, rows)
            with torch.no_grad():
                wanted, _ = network.step(search.float(), state)
                given, _ = exported.step(search, other)
                peeked, _ = exported.step(search.float() + 0.2, other, commit=False)
            torch.testing.assert_close(given.boxes, wanted.boxes, atol=2e-3, rtol=1e-4)
            torch.testing.assert_close(given.scores, wanted.scores, atol=1e-4, rtol=1e-4)
            assert peeked.similarity is not None
            for name in state.buffers:
                torch.testing.assert_close(other[name], state[name], atol=1e-4, rtol=1e-4)


def test_onnx_runtime_learns_as_the_network_does(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    network, path = small(), tmp_path / "step.onnx"
    facts = {"weights_sha256": "mine"}
    write_onnx(network, path, facts=facts)
    write_learning(network, path, facts=facts)
    exported = OnnxNetwork(network, path)
    for rows in (1, 4):
        torch.manual_seed(rows)
        state = begun(network, rows)
        features = network.step(crops(network, rows).float(), state)[0].features
        boxes = torch.tensor([[3.0, -4.0, 40.0, 30.0]] * rows)
        boxes[2:3] = torch.nan
        state.freeze([3] if rows > 3 else [])
        before, given, wanted = state.clone(), state.clone(), state.clone()
        with torch.no_grad():
            network.learn(features, boxes, wanted)
            network.learned = None  # type: ignore[assignment, method-assign]  # torch is not asked
            exported.learn(features, boxes, given)
            del network.learned
        assert not torch.equal(wanted["filter"][0], before["filter"][0])
        for name in before.buffers:
            torch.testing.assert_close(given[name], wanted[name], atol=1e-5, rtol=1e-4)
            for row in range(2, rows):  # nothing was believed; frozen
                assert torch.equal(given[name][row], before[name][row])


def test_what_other_weights_learn_is_not_used(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    network, path = small(), tmp_path / "step.onnx"
    write_onnx(network, path, facts={"weights_sha256": "mine"})
    write_learning(network, path, facts={"weights_sha256": "another's"})
    state = begun(network, 1)
    features = network.step(crops(network, 1).float(), state)[0].features
    network.learned = None  # type: ignore[assignment, method-assign]
    with pytest.raises(TypeError):  # torch is asked
        OnnxNetwork(network, path).learn(features, torch.zeros(1, 4), state)
    del network.learned
    fixed = prepared(CompactNetwork(CompactOptions(search_size=SIDE, depth=8, memory="fixed")), torch.device("cpu"))
    assert write_learning(fixed, path, facts={}) is None
    assert not learning_beside(path).exists()


def test_torch_export_takes_other_batches(tmp_path: Path) -> None:
    network = small("online")
    path = write_program(network, tmp_path / "step.pt2", facts={})
    module = torch.export.load(str(path)).module()
    graph = TrackStep(network)
    state, search = begun(network, 3), crops(network, 3)
    with torch.no_grad():
        out = module(search.permute(0, 2, 3, 1), *(state[name] for name in graph.example))
        wanted, _ = network.step(search.float(), state)
    torch.testing.assert_close(out[0], wanted.boxes, atol=2e-3, rtol=1e-4)


def test_the_correlation_that_is_exported_is_the_correlation() -> None:
    torch.manual_seed(0)
    search, template = torch.randn(3, 8, 2, 12, 13), torch.randn(3, 8, 5, 6)
    wanted = depthwise_correlation(search, template)
    torch.testing.assert_close(_correlation_by_taps(search, template), wanted, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``onlinetada export`` writes for a small network of the user's."""
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    network = CompactNetwork(CompactOptions(search_size=SIDE, depth=8))
    save_file(network.state_dict(), folder / "mine.safetensors")
    (folder / "mine.json").write_text(f'{{"network": {{"search_size": {SIDE}, "depth": 8}}}}')
    words = ["export", "compact", "--format", "onnx", "--weights", str(folder / "mine.safetensors")]
    assert main([*words, "--out", str(folder / "step" / "fast.onnx")]) == 0
    return folder


def test_the_file_holds_nothing_of_the_machine_that_wrote_it(files: Path) -> None:
    data = (files / "step" / "fast.onnx").read_bytes()
    assert b".py" not in data
    assert str(Path(__file__).parents[3]).encode() not in data


def test_the_exported_file_is_a_models_weights(files: Path, scene: Any) -> None:
    fast = build_tracker("compact", weights=files / "step" / "fast.onnx", device="cpu")
    plain = build_tracker("compact", weights=files / "mine.safetensors", device="cpu", runtime="torch")
    assert isinstance(fast.engine.network, OnnxNetwork)  # type: ignore[attr-defined]
    for tracker in (fast, plain):
        tracker.init(scene.frame(100, 80), (100, 80, 32, 32))
    for x in (103, 107, 110):
        a, b = fast.update(scene.frame(x, 80)), plain.update(scene.frame(x, 80))
        assert np.allclose(a.box_xywh, b.box_xywh, atol=0.05)
        assert a.score == pytest.approx(b.score, abs=1e-3)


def test_a_step_beside_the_weights_is_used_by_itself(files: Path) -> None:
    weights = files / "step" / "fast.safetensors"
    engine = build_multi_tracker("compact", weights=weights, device="cpu").engine
    assert isinstance(engine.network, OnnxNetwork)
    plain = build_multi_tracker("compact", weights=weights, device="cpu", runtime="torch").engine
    assert isinstance(plain.network, CompactNetwork)
    half = build_multi_tracker("compact", weights=weights, device="cpu", dtype="bf16").engine
    assert isinstance(half.network, CompactNetwork)


def test_without_onnx_runtime_torch_computes(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "onnxruntime_problem", lambda: "onnxruntime is not installed")
    weights = files / "step" / "fast.safetensors"
    assert isinstance(build_multi_tracker("compact", weights=weights, device="cpu").engine.network, CompactNetwork)
    with pytest.raises(InputError, match="not installed"):
        build_tracker("compact", weights=weights, device="cpu", runtime="onnxruntime")


def test_a_step_of_other_weights_is_not_used(files: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = CompactNetwork(CompactOptions(search_size=SIDE, depth=8))
    save_file(network.state_dict(), tmp_path / "fast.safetensors")
    (tmp_path / "fast.json").write_text((files / "mine.json").read_text())
    (tmp_path / "fast.onnx").write_bytes((files / "step" / "fast.onnx").read_bytes())
    with pytest.warns(RuntimeWarning, match="exported from other weights"):
        engine = build_multi_tracker("compact", weights=tmp_path / "fast.safetensors", device="cpu").engine
    assert isinstance(engine.network, CompactNetwork)
    with pytest.raises(InputError, match="other weights"):
        build_tracker("compact", weights=tmp_path / "fast.onnx", device="cpu")
    with pytest.raises(InputError, match="other weights"):
        build_tracker("compact", weights=tmp_path / "fast.safetensors", device="cpu", runtime="onnxruntime")


def test_a_step_without_what_the_confidence_needs_is_not_used(files: Path, tmp_path: Path) -> None:
    import onnx

    for name in ("fast.safetensors", "fast.json"):
        (tmp_path / name).write_bytes((files / "step" / name).read_bytes())
    model = onnx.load(files / "step" / "fast.onnx")
    kept = [output for output in model.graph.output if output.name not in ("parts", "answers")]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    onnx.save(model, tmp_path / "fast.onnx")
    with pytest.warns(RuntimeWarning, match="by an earlier version"):
        engine = build_multi_tracker("compact", weights=tmp_path / "fast.safetensors", device="cpu").engine
    assert isinstance(engine.network, CompactNetwork)
    with pytest.raises(InputError, match="export it again"):
        build_tracker("compact", weights=tmp_path / "fast.onnx", device="cpu")


def test_bad_requests_are_refused_in_one_line(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"needs lonely\.safetensors"):
        (tmp_path / "lonely.onnx").write_bytes(b"x")
        build_tracker("compact", weights=tmp_path / "lonely.onnx")
    with pytest.raises(InputError, match="no weights file"):
        build_tracker("compact", weights=tmp_path / "none.onnx")
    with pytest.raises(InputError, match="runtime must be one of"):
        build_tracker("compact", runtime="tensorrt")
    with pytest.raises(InputError, match="dtype must be one of"):
        build_tracker("compact", dtype="int4")
    with pytest.raises(InputError, match="leave it out"):
        build_tracker("compact", weights=files / "step" / "fast.onnx", dtype="bf16", device="cpu")
    with pytest.raises(InputError, match="exported with quirks none"):
        build_tracker("compact", weights=files / "step" / "fast.onnx", quirks="trained", device="cpu")
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    (tmp_path / "broken.safetensors").write_bytes((files / "mine.safetensors").read_bytes())
    (tmp_path / "broken.json").write_text((files / "mine.json").read_text())
    with pytest.raises(InputError, match="refuses the file"):
        build_tracker("compact", weights=tmp_path / "broken.onnx", device="cpu")
    out = str(tmp_path / "x.onnx")
    for words in (
        ["compact", "--format", "pt2", "--out", out],
        ["compact", "--format", "onnx", "--dtype", "int8", "--out", out],
        ["opencv-mil", "--format", "onnx", "--out", out],
        ["tctrack", "--format", "onnx", "--out", out],
    ):
        assert main(["export", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_a_row_alone_and_among_others(files: Path, scene: Any) -> None:
    engine = build_multi_tracker("compact", weights=files / "step" / "fast.onnx", device="cpu").engine
    boxes = [(100, 80, 32, 32), (40, 40, 60, 50)]
    together = [engine.add(scene.frame(100, 80), box) for box in boxes]
    both = engine.update({key: scene.frame(103, 82) for key in together})
    for key, box in zip(together, boxes, strict=True):
        alone = Engine(engine.network, engine.config)
        only = alone.add(scene.frame(100, 80), box)
        assert np.allclose(alone.update({only: scene.frame(103, 82)})[only].box_xywh, both[key].box_xywh, atol=1e-3)


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_side_by_side_are_the_rows(files: Path, threads: int) -> None:
    engine = build_multi_tracker("compact", weights=files / "step" / "fast.onnx", device="cpu").engine
    network, before = engine.network, torch.get_num_threads()
    assert isinstance(network, OnnxNetwork)
    state, search = begun(network, 5), crops(network, 5)
    torch.set_num_threads(threads)
    try:
        together, _ = network.step(search, state)
        for row in range(5):
            alone, _ = network.step(search[row : row + 1], state.select([row]))
            torch.testing.assert_close(together.boxes[row], alone.boxes[0], atol=1e-4, rtol=1e-5)
    finally:
        torch.set_num_threads(before)


def test_the_shipped_step_is_of_the_shipped_weights() -> None:
    weights, step = WEIGHTS_FOLDER / "compact.safetensors", WEIGHTS_FOLDER / "compact.onnx"
    if not step.is_file():
        pytest.skip("no exported step ships")
    network = build_tracker("compact", device="cpu").engine.network  # type: ignore[attr-defined]
    assert isinstance(network, OnnxNetwork)
    assert network.facts["weights_sha256"] == file_sha256(weights)
