"""The page docs/video.md: its blocks run in order, as one program, and its tables are those of the result files."""

import re
from pathlib import Path

import torch

PAGE = Path(__file__).parents[2] / "docs" / "video.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_blocks_run():
    torch.manual_seed(0)
    text = PAGE.read_text()
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```python") > 5
    namespace = {"__name__": "page"}
    for block in blocks:
        code = "\n" * text[: block.start(1)].count("\n") + block[1]
        exec(compile(code, str(PAGE), "exec"), namespace)  # noqa: S102 - our own page


def test_networks_are_all_named():
    from onlinetada.video import NETWORKS

    text = PAGE.read_text()
    for name in NETWORKS:
        stem, _, size = name.rpartition("_")
        assert f"`{name}`" in text or (f"`{stem}_t`" in text and size in "tsb"), name
