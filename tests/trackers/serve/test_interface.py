"""The documented interface: every answer has the form that /openapi.json promises."""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from onlinetada.trackers.io.sources import open_source
from onlinetada.trackers.io.synthetic import write_video
from onlinetada.trackers.serve.options import RecordOptions

jsonschema = pytest.importorskip("jsonschema")
Footage = tuple[Path, list[Any]]


def conforms(server: Any, name: str, value: Any) -> None:
    """Check a value against a schema of the document."""
    document = server.get("/openapi.json")
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


def swallow(connection: socket.socket) -> None:
    """Read on until there is no more."""
    with suppress(OSError):
        while connection.recv(1 << 16):
            pass


def test_targets_come_change_and_go(run: Any, footage: Footage, until: Any) -> None:
    path, boxes = footage
    server = run(path, fps=10, every_frame=True)
    until(lambda: server.feed().report is not None)
    assert server.get("/api/targets") == {"targets": []}
    (frame,) = server.frames(1)
    status, first = server.ask("POST", "/api/targets", {"box": list(boxes[frame["frame_index"]])})
    assert status == 201
    conforms(server, "Target", first)
    status, second = server.ask("POST", "/api/targets", {"box": [5, 5, 30, 30], "source": "0"})
    assert status == 201 and second["id"] != first["id"]
    frames = server.frames(4)
    for frame in frames:
        conforms(server, "Frame", frame)
    assert [t["id"] for t in frames[-1]["targets"]] == [first["id"], second["id"]]
    indices = [f["frame_index"] for f in frames]
    assert indices == list(range(indices[0], indices[0] + 4))  # one object a frame
    assert [f["timestamp_s"] for f in frames] == pytest.approx([i / 10 for i in indices])
    listed = server.get("/api/targets?source=0")
    conforms(server, "Targets", listed)
    assert len(listed["targets"]) == 2
    status, moved = server.ask("PUT", f"/api/targets/{second['id']}", {"box": [60, 60, 40, 40]})
    assert status == 200 and moved["id"] == second["id"]
    conforms(server, "Target", moved)
    assert server.ask("DELETE", f"/api/targets/{second['id']}") == (204, b"")
    assert server.ask("DELETE", f"/api/targets/{second['id']}")[0] == 404
    until(lambda: [t["id"] for t in server.get("/api/targets")["targets"]] == [first["id"]])


def test_a_box_drawn_on_an_older_picture_is_caught_up(run: Any, footage: Footage, until: Any) -> None:
    path, boxes = footage
    server = run(path, fps=20, every_frame=True)
    with socket.create_connection(("127.0.0.1", server.server.port)) as watcher:  # pictures are kept while watched
        watcher.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        threading.Thread(target=swallow, args=(watcher,), daemon=True).start()
        until(lambda: len(server.server.station.channels["0"].pictures.album.since(0)) > 25)
        drawn_on = server.feed().report.frame_index - 20
        status, target = server.ask("POST", "/api/targets", {"box": list(boxes[drawn_on]), "frame_index": drawn_on})
    assert status == 201
    now = target["frame_index"]
    assert now >= drawn_on + 20
    x, y, w, _ = target["box"]
    truth, old = np.array(boxes[now]), np.array(boxes[drawn_on])
    assert np.hypot(*(truth - old)[:2]) > 15  # it has moved away meanwhile
    assert np.hypot(x - truth[0], y - truth[1]) < 8 and abs(w - truth[2]) < 12


def test_pictures_say_which_frame_they_are(run: Any, footage: Footage, until: Any) -> None:
    server = run(footage[0], fps=20)
    for query, drawn in (("", False), ("?boxes=1", True)):
        with socket.create_connection(("127.0.0.1", server.server.port), timeout=60) as connection:
            connection.sendall(f"GET /stream.mjpg{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            held = b""
            while held.count(b"X-Frame-Index") < 4:
                held += connection.recv(1 << 16)
        assert b"multipart/x-mixed-replace" in held
        heads = re.findall(rb"Content-Length: (\d+)\r\nX-Frame-Index: (\d+)\r\nX-Timestamp: ([\d.]+)", held)
        indices = [int(index) for _, index, _ in heads]
        assert indices == sorted(set(indices))
        start = held.index(b"\xff\xd8")
        picture = cv2.imdecode(np.frombuffer(held[start : start + int(heads[0][0])], np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (240, 320, 3), drawn


def test_snapshot_status_health_and_metrics(run: Any, footage: Footage, until: Any) -> None:
    server = run(footage[0], fps=20, stream_width=160)
    assert server.ask("GET", "/api/snapshot.jpg")[0] in (200, 503)
    until(lambda: server.feed().stats.tracked > 5)
    server.ask("POST", "/api/targets", {"box": [10, 10, 40, 40]})
    until(lambda: server.feed().stats.update.quantile_ms(0.5))
    image = cv2.imdecode(np.frombuffer(server.get("/api/snapshot.jpg?boxes=1"), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (240, 320, 3)  # full size, whatever the page gets
    conforms(server, "Status", server.get("/api/status"))
    conforms(server, "Health", server.get("/healthz"))
    metrics = server.metrics()
    assert metrics['onlinetada_up{source="0"}'] == 1 and metrics['onlinetada_frames_total{source="0"}'] > 5
    assert sum(v for k, v in metrics.items() if k.startswith('onlinetada_targets{source="0"')) == 1
    buckets = [v for k, v in metrics.items() if k.startswith("onlinetada_delay_seconds_bucket")]
    assert buckets == sorted(buckets) and buckets[-1] == metrics['onlinetada_delay_seconds_count{source="0"}']
    text = server.get("/metrics").decode()
    for line in text.splitlines():
        assert re.fullmatch(
            r'# (HELP|TYPE) onlinetada_\w+ .+|onlinetada_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? \S+', line
        )


def test_every_documented_path_is_there_and_every_other_is_documented(run: Any, footage: Footage) -> None:
    server = run(footage[0])
    documented = set()
    for path, operations in server.get("/openapi.json")["paths"].items():
        documented |= {(method.upper(), path) for method in operations}
    routes = {(r.method, r.resource.canonical) for r in server.server._runner.app.router.routes() if r.resource}
    own = {("GET", "/"), ("POST", "/login"), ("GET", "/static/{name}")}
    assert {r for r in routes if r[0] != "HEAD"} - own == documented


def test_a_recording_begins_ends_and_can_be_fetched(run: Any, footage: Footage, tmp_path: Path, until: Any) -> None:
    server = run(footage[0], fps=20, every_frame=True, record=RecordOptions(tmp_path / "out"))
    until(lambda: server.feed().report is not None)
    server.ask("POST", "/api/targets", {"box": [10, 10, 40, 40]})
    status, begun = server.ask("POST", "/api/recordings", {})
    assert status == 201
    conforms(server, "Recording", begun)
    assert server.ask("POST", "/api/recordings", {})[0] == 400
    tape = server.server.station.channels["0"].recorder
    until(lambda: tape.frames >= 20)
    listed = server.get("/api/recordings")
    conforms(server, "Recordings", listed)
    assert listed["current"] == {"0": begun["name"]}
    status, ended = server.ask("DELETE", "/api/recordings/current")
    assert (status, ended) == (200, begun) and server.ask("DELETE", "/api/recordings/current")[0] == 400
    (tmp_path / "got.mkv").write_bytes(server.get(f"/api/recordings/{begun['name']}"))
    with open_source(tmp_path / "got.mkv") as video:
        frames = list(video)
    lines = server.get(f"/api/recordings/{begun['name'].replace('.mkv', '.jsonl')}").splitlines()
    assert len(frames) == len(lines) >= 20 and json.loads(lines[0])["target_id"] == 1


def test_json_lines_over_udp(run: Any, footage: Footage) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(60)
        server = run(footage[0], fps=20, udp=(("127.0.0.1", listener.getsockname()[1]), ("127.0.0.1", 9)))
        lines = [listener.recv(65536) for _ in range(5)]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    for line in lines:
        conforms(server, "Frame", json.loads(line))


def test_a_file_is_played_again_and_one_that_is_not_ends(
    footage: Footage, run: Any, until: Any, tmp_path: Path
) -> None:

    write_video(tmp_path / "short.mkv", frames=6, width=64, height=48)
    server = run(tmp_path / "short.mkv", fps=60, every_frame=True)
    frames = server.frames(20)
    assert {f["frame_index"] for f in frames} == set(range(6)) and frames[-1]["loop"] >= 2
    stamps = [f["timestamp_s"] for f in frames]
    assert np.diff(stamps) == pytest.approx(1 / 60, abs=1e-5)
    feed = server.feed()
    feed.reader._options = type(feed.options)("0", str(tmp_path / "short.mkv"), loop=False)
    until(lambda: server.source()["state"] == "ended")
    # the last frame can still be drawn on, and clients hear of it
    assert server.ask("POST", "/api/targets", {"box": [10, 10, 20, 20]})[0] == 201
    assert len(server.get("/api/targets")["targets"]) == 1
