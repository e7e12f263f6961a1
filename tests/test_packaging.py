"""What is in the folders is what is installed."""

from __future__ import annotations

import configparser
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy so that nothing is left behind here."""
    pytest.importorskip("setuptools")
    copy = tmp_path_factory.mktemp("source")
    for name in ("onlinetada", "trackers", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    build = "import setuptools.build_meta as b; print(b.build_wheel('.'))"
    built = subprocess.run([sys.executable, "-c", build], cwd=copy, capture_output=True, text=True, check=True)
    return zipfile.ZipFile(copy / built.stdout.split()[-1])


def test_the_wheel_carries_all_modules_weights_and_configs(wheel: zipfile.ZipFile) -> None:
    inside = set(wheel.namelist())
    wanted = {
        f"{package}/{path.relative_to(ROOT / folder)}"
        for folder, package in (
            ("onlinetada", "onlinetada"),
            ("trackers", "onlinetada/trackers"),
            ("configs", "onlinetada/configs"),
        )
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= inside, sorted(wanted - inside)
    assert {"onlinetada/trackers/weights/compact.safetensors", "onlinetada/configs/compact.yaml"} <= inside
    assert not [name for name in inside if name.split("/")[0] not in ("onlinetada",) and ".dist-info/" not in name]


def test_the_weights_in_the_wheel_are_those_of_their_cards(wheel: zipfile.ZipFile) -> None:
    cards = [name for name in wheel.namelist() if name.startswith("onlinetada/trackers/weights/") and ".json" in name]
    assert cards
    for name in cards:
        card = json.loads(wheel.read(name))
        weights = wheel.read(name.replace(".json", ".safetensors"))
        assert hashlib.sha256(weights).hexdigest() == card["sha256"]
        assert len(weights) == card["file_bytes"] <= 8e6
        assert card["license"] and card["data"] and card["not_for"]
