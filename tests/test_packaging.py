"""What is in the folders is what is installed."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

import onlinetada

ROOT = Path(__file__).parents[1]


def test_every_folder_of_modules_is_a_listed_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = set()
    for folder, package in (
        ("onlinetada", "onlinetada"),
        ("trackers", "onlinetada.trackers"),
        ("configs", "onlinetada.configs"),
    ):
        for init in (ROOT / folder).rglob("__init__.py"):
            below = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join((package, *below)))
    assert listed == found


def test_the_version_is_that_of_the_distribution():
    metadata = pytest.importorskip("importlib.metadata")
    assert metadata.version("onlinetada") == onlinetada.__version__


def test_no_path_of_a_machine_and_no_stray_cuda_calls():
    """Code names devices by argument, and no path but relative ones."""
    for path in [
        p for folder in ("onlinetada", "trackers", "tools", "examples") for p in (ROOT / folder).rglob("*.py")
    ]:
        text = path.read_text()
        assert ".cuda()" not in text, path
        assert "/home/" not in text, path
