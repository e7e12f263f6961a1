"""int8 steps: from labelled video to a file that still finds what the float network finds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from onlinetada.errors import InputError
from onlinetada.trackers import build_tracker
from onlinetada.trackers.cli import main
from onlinetada.trackers.io.synthetic import write_video
from onlinetada.trackers.runtime.material import labelled_clips
from onlinetada.trackers.runtime.session import OnnxNetwork

pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    for seed in (1, 2):
        boxes = write_video(folder / f"clip{seed}.mkv", frames=30, seed=seed)
        rows = [",".join(f"{value:.2f}" for value in box) for box in boxes]
        (folder / f"clip{seed}.txt").write_text("\n".join(rows))
    return folder


@pytest.mark.slow
def test_int8_follows_what_float_follows(material: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    words = ["export", "compact", "--format", "onnx", "--dtype", "int8", "--calibration", str(material)]
    assert main([*words, "--out", str(out)]) == 0
    write_video(tmp_path / "test.mkv", frames=30, seed=3)
    clip = next(iter(labelled_clips_of(tmp_path)))
    fast = build_tracker("compact", weights=out, device="cpu")
    plain = build_tracker("compact", device="cpu", runtime="torch")
    network = fast.engine.network  # type: ignore[attr-defined]
    assert isinstance(network, OnnxNetwork)
    assert network.facts["dtype"] == "int8"
    assert 0 < network.facts["calibration_regions"] <= 6
    assert quantised(out) and not any(name.startswith(("head", "/")) for name in quantised(out))
    for number, image in clip:
        if number == 0:
            box = plain_box(tmp_path)
            fast.init(image, box)
            plain.init(image, box)
            continue
        a, b = fast.update(image), plain.update(image)
        assert a.state == b.state == "tracking"
        assert torch.tensor(a.box_xywh).sub(torch.tensor(b.box_xywh)).abs().max() < 4


def quantised(path: Path) -> list[str]:
    """Names of the nodes whose answers become bytes."""
    import onnx

    nodes = onnx.load(path).graph.node
    made = {node.input[0] for node in nodes if node.op_type == "QuantizeLinear"}
    return [node.name for node in nodes if made & {*node.output}]


def labelled_clips_of(folder: Path):  # type: ignore[no-untyped-def]
    from onlinetada.trackers.training.clips import video_reader

    yield video_reader(folder / "test.mkv")(range(12))


def plain_box(folder: Path) -> tuple[float, float, float, float]:
    return write_video(folder / "again.mkv", frames=1, seed=3)[0]


def test_material_without_boxes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        labelled_clips(tmp_path / "none")
    write_video(tmp_path / "clip.mkv", frames=3)
    with pytest.raises(InputError, match="no clips with boxes"):
        labelled_clips(tmp_path)
