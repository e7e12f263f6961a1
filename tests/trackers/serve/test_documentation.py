"""What docs/serve.md says is what there is."""

from __future__ import annotations

import argparse
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from onlinetada.trackers.commands.serve import add_arguments
from onlinetada.trackers.serve.allowance import Allowance
from onlinetada.trackers.serve.options import Limits, split_name
from onlinetada.trackers.serve.schema import openapi

PAGE = (Path(__file__).parents[3] / "docs" / "serve.md").read_text()


def test_every_option_is_on_the_page_and_every_one_on_the_page_exists() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    real = {o for action in parser._actions for o in action.option_strings if o.startswith("--")} - {"--help"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) == real


def test_every_path_is_on_the_page() -> None:
    for path in openapi()["paths"]:
        written = path.replace("{id}", "ID").replace("{name}", "NAME")
        assert f"{written}`" in PAGE or f"{written} " in PAGE or f"{written}?" in PAGE, path


def test_the_bounds_on_the_page_are_those_of_the_server() -> None:
    limits = Limits()
    for text in (
        f"{limits.body_bytes // 1024} KB, {limits.message_bytes // 1024} KB",
        f"goes | {limits.connections} |",
        f"listen | {limits.streams}, {limits.streams} |",
        f"| {limits.messages_per_s:g} a second",
        f"answer | {limits.patience_s:g} s |",
        f"waiting | {limits.targets}, {limits.commands} |",
    ):
        assert text in PAGE, text


def test_without_the_web_library_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "aiohttp.py").write_text("raise ModuleNotFoundError('gone', name='aiohttp')")
    done = subprocess.run(
        [str(Path(sysconfig.get_path("scripts")) / "onlinetada"), "serve", "0"],
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.strip() == "onlinetada serve: aiohttp is missing: pip install 'onlinetada[web]'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("front=rtsp://u:p=q@cam/1?x=y", ("front", "rtsp://u:p=q@cam/1?x=y")),
        ("rtsp://cam/1?x=y", (None, "rtsp://cam/1?x=y")),
        ("0", (None, "0")),
        ("down=0", ("down", "0")),
        ("gst:v4l2src device=/dev/video0 ! appsink", (None, "gst:v4l2src device=/dev/video0 ! appsink")),
        ("/data/a=b.mp4", (None, "/data/a=b.mp4")),
    ],
)
def test_names_of_sources(text: str, expected: tuple[str | None, str]) -> None:
    assert split_name(text) == expected


def test_a_file_whose_name_looks_like_a_named_source_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.mp4").write_bytes(b"")
    assert split_name("a=b.mp4") == (None, "a=b.mp4")


def test_an_allowance_lets_through_a_burst_and_then_so_many_a_second() -> None:
    allowance = Allowance(5, 2.0)
    assert [allowance.take(100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [allowance.take(101.0) for _ in range(3)] == [True, True, False]
    assert allowance.owe(101.0) == pytest.approx(0.5)
