"""Weights files: what is read, what is refused, and that nothing in them is executed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from onlinetada.errors import InputError
from onlinetada.trackers.models.checkpoint import load_strictly, read_state_dict

WEIGHTS = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}


@pytest.mark.parametrize(
    "wrap", [lambda w: w, lambda w: {"state_dict": w, "epoch": 3}, lambda w: {f"module.{k}": v for k, v in w.items()}]
)
def test_reads_every_layout(tmp_path: Path, wrap: Any) -> None:
    path = tmp_path / "weights.pth"
    torch.save(wrap(WEIGHTS), path)
    read = read_state_dict(path)
    assert read.keys() == WEIGHTS.keys()
    assert torch.equal(read["weight"], WEIGHTS["weight"])


def test_reads_safetensors(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "weights.safetensors")
    assert torch.equal(read_state_dict(tmp_path / "weights.safetensors")["weight"], WEIGHTS["weight"])


class Payload:
    """Would write a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("save", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))])
def test_never_executes_a_pickle(tmp_path: Path, save: Any) -> None:
    path, target = tmp_path / "weights.pth", tmp_path / "executed"
    save({"weight": Payload(target)}, path)
    with pytest.raises(InputError, match="refused") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_refuses_what_is_no_weights_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(InputError, match="there is no weights file"):
        read_state_dict(path)
    for content in (b"", b"junk" * 100, b"PK\x03\x04 broken"):
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_state_dict(path)
        assert "\n" not in str(caught.value)


def test_refuses_a_file_without_tensors(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match="holds no state dict"):
        read_state_dict(tmp_path / "weights.pth")


def test_says_what_does_not_fit() -> None:
    linear = nn.Linear(3, 2)
    with pytest.raises(InputError, match="1 tensors missing, first 'bias'; 1 tensors unexpected, first 'extra'"):
        load_strictly(linear, {"weight": WEIGHTS["weight"], "extra": torch.zeros(1)})
    with pytest.raises(InputError, match=r"first 'weight' \(3, 3\) instead of \(2, 3\)"):
        load_strictly(linear, {"weight": torch.ones(3, 3), "bias": torch.zeros(2)})
    load_strictly(linear, {name: tensor.half() for name, tensor in WEIGHTS.items()})
    assert linear.weight.dtype == torch.float32
