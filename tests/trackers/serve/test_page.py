"""The page in a real browser: what a person does with the mouse or a finger is what the tracker does."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onlinetada.trackers.evaluation.geometry import overlap
from onlinetada.trackers.io.camera_server import CameraServer
from onlinetada.trackers.serve.options import RecordOptions

Point = tuple[float, float]


def place(browser: Any, size: tuple[int, int]) -> Callable[[float, float], Point]:
    """From pixels of the picture to those of the window: the picture is as large as fits, in the middle."""
    left, top, width, height = browser.value(
        "(() => { const r = document.getElementById('overlay').getBoundingClientRect();"
        " return [r.x, r.y, r.width, r.height]; })()"
    )
    scale = min(width / size[0], height / size[1])
    left, top = left + (width - size[0] * scale) / 2, top + (height - size[1] * scale) / 2
    return lambda x, y: (left + x * scale, top + y * scale)


def draw(browser: Any, server: Any, boxes: Sequence[Any], *, touch: bool = False) -> None:
    """Draw the box of the frame that the page shows, which stands still once the mouse or a finger is down."""
    browser.until("document.getElementById('stage')?.dataset.frame")
    browser.settle()
    source = server.source()
    at = place(browser, (source["width"], source["height"]))
    while True:
        x, y, w, h = boxes[shown_frame(browser)]
        browser.down(at(x, y), touch=touch)
        held = shown_frame(browser)
        if np.hypot(*np.subtract(boxes[held][:2], (x, y))) < 4:
            break
        browser.up(at(x, y), touch=touch)  # it was too late for that frame: a tap, which does nothing
    x, y, w, h = boxes[held]
    for share in (0.3, 0.7, 1.0):
        browser.move(at(x + w * share, y + h * share), touch=touch)
    browser.up(at(x + w, y + h), touch=touch)


def shown_frame(browser: Any) -> int:
    """The number of the frame that the page shows."""
    return int(browser.value("document.getElementById('stage').dataset.frame"))


def overlaps(server: Any, boxes: Sequence[Any], number: int, count: int = 10) -> list[float]:
    """Of a target with the truth, on the next frames."""
    frames = server.frames(count)
    found = [next((t["box"] for t in f["targets"] if t["id"] == number), None) or [-9, -9, 1, 1] for f in frames]
    truth = [boxes[f["frame_index"]] for f in frames]
    return list(overlap(np.array(found, float), np.array(truth, float)))


def newest_box(server: Any) -> Any:
    """Of the first target, on a frame in which it has one."""
    while True:
        (frame,) = server.frames(1)
        if frame["targets"][0]["box"]:
            return frame["targets"][0]["box"]


def target(server: Any) -> Any:
    """The targets, once there are any."""
    return server.get("/api/targets")["targets"]


def test_a_box_drawn_with_the_mouse_is_followed_moved_recorded_and_deleted(
    browser: Any, run: Any, footage: tuple[Path, list[Any]], tmp_path: Path, until: Any
) -> None:
    path, boxes = footage
    server = run(path, fps=5, every_frame=True, record=RecordOptions(tmp_path))
    browser.open(server.url)
    draw(browser, server, boxes)
    until(lambda: target(server))
    assert np.mean(overlaps(server, boxes, 1)) > 0.6
    # the page says so
    assert browser.until("document.querySelector('#targets .state').textContent") == "tracking"
    browser.until("document.getElementById('fps').textContent > '0'")
    # recording on and off
    browser.click("#record")
    name = until(lambda: server.source()["recording"])
    until(lambda: server.metrics()['onlinetada_recording{source="0"}'] == 1)
    browser.until("document.getElementById('record').getAttribute('aria-pressed') === 'true'")
    until(lambda: server.server.station.channels["0"].recorder.frames > 1)
    browser.click("#record")
    until(lambda: server.source()["recording"] is None)
    assert (tmp_path / name).stat().st_size > 1000
    # a tap selects it, a drag inside moves it, a key deletes it
    box = newest_box(server)
    at = place(browser, (320, 240))
    middle = at(box[0] + box[2] / 2, box[1] + box[3] / 2)
    browser.drag(middle, middle)
    browser.until("document.querySelector('#targets li.selected')")
    browser.press("Delete")
    until(lambda: not target(server))
    browser.until("!document.querySelector('#targets li')")


def test_targets_are_drawn_with_a_finger_and_moved_on_a_small_screen(
    browser: Any, run: Any, footage: tuple[Path, list[Any]], until: Any
) -> None:
    path, boxes = footage
    server = run(path, fps=5, every_frame=True)
    browser.open(server.url, width=390, height=844, touch=True)
    draw(browser, server, boxes, touch=True)
    until(lambda: target(server))
    assert np.mean(overlaps(server, boxes, 1)) > 0.6
    assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")
    # a second one where there is only ground, then the first dragged away from its target
    at = place(browser, (320, 240))
    browser.drag(at(4, 4), at(40, 36), touch=True)
    until(lambda: len(target(server)) == 2)
    browser.value("document.querySelector('#targets li').click()")
    browser.until("document.querySelector('#targets li.selected')")
    box = newest_box(server)
    start = (box[0] + box[2] / 2, box[1] + box[3] / 2)
    browser.drag(at(*start), at(start[0], start[1] + 90 * (1 if start[1] < 120 else -1)), touch=True)
    until(lambda: overlaps(server, boxes, 1, 1)[0] < 0.3)
    assert [t["id"] for t in target(server)] == [1, 2]


def test_a_browser_shows_the_token_once(browser: Any, run: Any, footage: tuple[Path, list[Any]]) -> None:
    server = run(footage[0], token="correct horse battery")  # noqa: S106
    browser.open(server.url)
    browser.until("document.querySelector('input[type=password]')")
    browser.value("document.getElementById('token').value = 'wrong'; document.querySelector('form').submit()")
    browser.until("document.readyState === 'complete' && document.getElementById('token')?.value === ''")
    browser.value(
        "document.getElementById('token').value = 'correct horse battery'; document.querySelector('form').submit()"
    )
    browser.until("document.getElementById('stage')?.dataset.frame")
    assert browser.value("location.search") == "" and browser.value("document.cookie") == ""
    assert server.ask("GET", "/api/status")[0] == 401


def test_the_page_says_what_is_wrong_and_shows_no_other_sources_picture(browser: Any, run: Any, until: Any) -> None:
    camera = CameraServer(lambda index: np.full((48, 64, 3), index % 200, np.uint8))
    try:
        server = run(camera.url, "http://127.0.0.1:9/nobody")
        browser.open(server.url)
        browser.until("document.getElementById('stage')?.dataset.frame")
        camera.stalled = True
        browser.until("document.getElementById('banner').textContent.startsWith('No new pictures')")
        assert browser.value("document.getElementById('stage').classList.contains('stale')")
        browser.open("about:blank")
        browser.open(server.url)  # whoever comes now sees what there was last
        browser.until("document.getElementById('stage')?.dataset.frame")
        assert server.frames(1)[0]["frame_index"] == server.source()["frame_index"]
        browser.value("document.querySelectorAll('nav button')[1].click()")
        browser.until("document.getElementById('banner').textContent.includes('cannot be opened')")
        assert browser.value("document.getElementById('stage').dataset.frame") is None
        assert browser.value("document.getElementById('picture').width === 0")
    finally:
        camera.close()


@pytest.mark.data
@pytest.mark.skipif("ONLINETADA_DATA" not in os.environ, reason="ONLINETADA_DATA names no folder with real video")
@pytest.mark.parametrize("name", ["DTB70/MountainBike6", "UAV123_10fps/wakeboard10"])
def test_a_box_drawn_on_real_footage_is_followed(browser: Any, run: Any, until: Any, name: str) -> None:
    folder = Path(os.environ["ONLINETADA_DATA"]) / "dev" / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    boxes = np.loadtxt(folder / "groundtruth.txt", delimiter=",").tolist()
    server = run(folder, fps=5, every_frame=True)
    browser.open(server.url)
    draw(browser, server, boxes)
    until(lambda: target(server))
    assert np.mean(overlaps(server, boxes, 1)) > 0.5
