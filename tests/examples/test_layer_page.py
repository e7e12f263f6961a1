"""The page docs/layer.md: its blocks run in order, as one program."""

import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "layer.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def run_page():
    text = PAGE.read_text()
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```python") > 10
    namespace = {"__name__": "page"}
    for block in blocks:
        # Line numbers of the page, so that a failure points at it.
        code = "\n" * text[: block.start(1)].count("\n") + block[1]
        exec(compile(code, str(PAGE), "exec"), namespace)  # noqa: S102 - our own page


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


def test_blocks_run(in_folder):
    # The compiler takes half a minute; here its block runs uncompiled.
    with torch.compiler.set_stance("force_eager"):
        run_page()


@pytest.mark.slow
def test_blocks_run_compiled(in_folder):
    run_page()


def test_table_names_every_calibration():
    from onlinetada.calibrations import CALIBRATIONS

    assert set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)) == set(CALIBRATIONS)
