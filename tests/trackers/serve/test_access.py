"""Who is let in, and what the others can do: nothing, to nobody."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from onlinetada import InputError
from onlinetada.trackers.cli import main
from onlinetada.trackers.serve.access import Access
from onlinetada.trackers.serve.logs import Masked
from onlinetada.trackers.serve.options import Limits, RecordOptions, ServeOptions, SourceOptions
from onlinetada.trackers.serve.recorder import find_recording

TOKEN = "a long random text of 32 letters"  # noqa: S105
Footage = tuple[Path, list[Any]]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "drone.local"])  # noqa: S104
def test_other_machines_need_a_token(host: str) -> None:
    options = ServeOptions((SourceOptions("0", "0"),), host=host)
    with pytest.raises(InputError, match="token"):
        Access(options)
    Access(ServeOptions(options.sources, host=host, token=TOKEN))


def test_without_the_token_there_is_nothing_but_health(run: Any, footage: Footage) -> None:
    server = run(footage[0], token=TOKEN)
    status, body = server.ask("GET", "/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"})
    assert status == 200
    for path, operations in body["paths"].items():
        for method in operations:
            asked = path.replace("{id}", "1").replace("{name}", "x.mkv")
            status, answer = server.ask(method.upper(), asked, {} if method in ("post", "put") else None)
            assert status == (200 if path == "/healthz" else 401), (method, path)
            assert path == "/healthz" or list(answer) == ["error"]
    assert server.ask("GET", "/")[0] == 401  # the page asks for it
    assert server.ask("GET", "/static/app.js")[0] == 401


def test_a_wrong_token_is_refused_and_does_not_lock_out_the_right_one(run: Any, footage: Footage) -> None:
    server = run(footage[0], token=TOKEN)
    wrong = ({"Authorization": "Bearer x"}, {"Authorization": f"Basic {TOKEN}"}, {"Cookie": f"onlinetada_80={TOKEN}"})
    for headers in wrong:
        assert {server.ask("GET", "/api/status", headers=headers)[0] for _ in range(20)} == {401}
    assert server.ask("GET", "/api/status?token=")[0] == 401
    assert server.ask("GET", "/api/status?token=" + TOKEN.replace(" ", "%20"))[0] == 200
    assert server.ask("GET", "/api/status", headers={"Authorization": f"Bearer {TOKEN}"})[0] == 200


FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "https://127.0.0.1:1"},
    {"Host": "evil.example"},  # DNS rebinding
    {"Host": "evil.example:8080", "Origin": "http://evil.example:8080"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
]


ASKED = [
    ("GET", "/api/status", None),
    ("GET", "/stream.mjpg", None),
    ("GET", "/ws", None),
    ("POST", "/api/targets", {"box": [1, 1, 9, 9]}),
    ("DELETE", "/api/targets/1", None),
]


def test_pages_of_other_sites_are_refused(run: Any, footage: Footage) -> None:
    server = run(footage[0])
    for headers in FOREIGN:
        for method, path, body in ASKED:
            assert server.ask(method, path, body, headers=headers)[0] == 403, (headers, method, path)
    assert server.ask("GET", "/api/status", headers={"Origin": server.url})[0] == 200
    secure = server.url.replace("http", "https")
    assert server.ask("GET", "/api/status", headers={"Origin": secure})[0] == 403


def test_an_origin_that_is_allowed_is_let_in(run: Any, footage: Footage) -> None:
    server = run(footage[0], origins=("https://drone.example",))
    headers = {"Host": "drone.example", "Origin": "https://drone.example"}
    assert server.ask("GET", "/api/status", headers=headers)[0] == 200


BAD_BODIES: list[tuple[bytes, int]] = [
    (b"", 400),
    (b"{", 400),
    (b"[]", 400),
    (b'"box"', 400),
    (b"{}", 400),
    (b'{"box": null}', 400),
    (b'{"box": [1, 2, 3]}', 400),
    (b'{"box": [1, 2, 3, 4, 5]}', 400),
    (b'{"box": [1, 2, NaN, 4]}', 400),
    (b'{"box": [1, 2, Infinity, 4]}', 400),
    (b'{"box": [1, 2, 1e999, 4]}', 400),
    (b'{"box": [1, 2, 99999999999999999999999999, 4]}', 400),
    (b'{"box": ["1", 2, 3, 4]}', 400),
    (b'{"box": [true, 2, 3, 4]}', 400),
    (b'{"box": [1, 2, 0, 4]}', 400),
    (b'{"box": [1, 2, -3, 4]}', 400),
    (b'{"box": [9000, 2, 30, 4]}', 400),
    (b'{"box": [1, 2, 30, 40], "frame_index": -1}', 400),
    (b'{"box": [1, 2, 30, 40], "frame_index": 1.5}', 400),
    (b'{"box": [1, 2, 30, 40], "sauce": "0"}', 400),
    (b'{"box": [1, 2, 30, 40], "source": "nowhere"}', 404),
    (b'{"box": [1, 2, 30, 40], "source": {"a": 1}}', 404),
    (b"[" * 5000, 400),
    (b"\xff\xfe", 400),
    (b'{"box": [' + b"1," * 8000 + b"1]}", 400),
    (b" " * 20_000, 413),
]


def test_bad_requests_are_refused_in_one_line_and_change_nothing(run: Any, footage: Footage, until: Any) -> None:
    server = run(footage[0])
    until(lambda: server.feed().report is not None)
    for raw, expected in BAD_BODIES:
        status, answer = server.ask("POST", "/api/targets", raw=raw)
        assert status == expected, (raw[:60], status, answer)
        assert list(answer) == ["error"] and "\n" not in answer["error"] and len(answer["error"]) < 200
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert server.ask("POST", "/api/targets", raw=b"box=1", headers=form)[0] == 415
    for path, method, expected in (
        ("/api/targets/x", "DELETE", 404),
        ("/api/targets/-1", "DELETE", 404),
        ("/api/targets/99999999999999999999", "DELETE", 404),
        ("/api/targets/%F0%9F%92%A9", "DELETE", 404),
        ("/api/targets?source=%00", "GET", 404),
        ("/api/targets", "PATCH", 405),
        ("/nothing", "GET", 404),
        ("/ws", "GET", 400),
        ("/stream.mjpg?source=../../etc", "GET", 404),
    ):
        assert server.ask(method, path)[0] == expected, (method, path)
    assert server.get("/api/targets") == {"targets": []} and server.feed().stats.restarts == 0
    refused = server.metrics()
    assert (
        refused['onlinetada_refused_total{status="400"}'] >= 20
        and 'onlinetada_refused_total{status="500"}' not in refused
    )


OUTSIDE = [
    "../secret.mkv",
    "..%2Fsecret.mkv",
    "%2e%2e/secret.mkv",
    "link.mkv",
    ".hidden.mkv",
    "a%00.mkv",
    "x.txt",
    "sub",
]


def test_nothing_outside_the_record_folder_is_served(run: Any, footage: Footage, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.mkv").write_bytes(b"secret")
    (folder / ".hidden.mkv").write_bytes(b"secret")
    (folder / "x.txt").write_bytes(b"secret")
    (folder / "link.mkv").symlink_to(tmp_path / "secret.mkv")
    server = run(footage[0], record=RecordOptions(folder))
    for name in OUTSIDE:
        status, body = server.ask("GET", f"/api/recordings/{name}")
        assert status == 404 and b"secret" not in json.dumps(body).encode(), name
    assert server.get("/api/recordings")["recordings"] == []
    assert find_recording(RecordOptions(folder), "../secret.mkv") is None
    assert server.ask("POST", "/api/recordings", {"name": "../../x"})[0] == 400  # clients name no files at all


def test_recording_is_off_without_a_folder(run: Any, footage: Footage) -> None:
    server = run(footage[0])
    status, answer = server.ask("POST", "/api/recordings", {})
    assert status == 400 and "--record-dir" in answer["error"]


def test_every_answer_has_the_security_headers(run: Any, footage: Footage) -> None:
    import urllib.request

    server = run(footage[0])
    for path in ("/", "/static/app.js", "/api/status", "/healthz"):
        with urllib.request.urlopen(server.url + path, timeout=60) as answer:  # noqa: S310
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_the_page_takes_nothing_from_elsewhere() -> None:
    import onlinetada.trackers.serve as package

    for path in (Path(package.__file__).parent / "page").iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text, path


def small(**changes: Any) -> Limits:
    return Limits(**{"connections": 12, "streams": 3, "patience_s": 1.0, "messages_per_s": 20.0, **changes})


def opened(server: Any, data: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.server.port), timeout=60)
    connection.sendall(data)
    return connection


def test_connections_that_say_nothing_or_half_a_request_are_closed(run: Any, footage: Footage, until: Any) -> None:
    server = run(footage[0], limits=small())
    silent = opened(server)
    half = opened(server, b"GET /api/status HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    body = opened(
        server,
        b"POST /api/targets HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    )
    for connection in (silent, half, body):
        answer = b""
        try:
            while data := connection.recv(4096):
                answer += data
                if b"408" in answer:
                    break
        except ConnectionError:
            pass
        connection.close()
        assert answer == b"" or b"408" in answer.split(b"\r\n")[0]
    until(lambda: server.metrics()['onlinetada_closed_total{reason="late"}'] >= 2)


def test_a_crowd_of_idle_connections_keeps_nobody_out(run: Any, footage: Footage) -> None:
    server = run(footage[0], limits=small(patience_s=30.0))
    crowd = [opened(server) for _ in range(60)]
    for _ in range(5):
        assert server.ask("GET", "/api/status")[0] == 200
    assert server.metrics()['onlinetada_closed_total{reason="evicted"}'] >= 48
    for connection in crowd:
        connection.close()


def test_streams_are_so_many_and_no_more_and_one_that_is_not_read_is_closed(
    run: Any, footage: Footage, until: Any
) -> None:
    server = run(footage[0], limits=small(), stream_width=1280)
    watching = [opened(server, b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n") for _ in range(3)]
    until(lambda: server.metrics()['onlinetada_clients{kind="pictures"}'] == 3)
    assert server.ask("GET", "/stream.mjpg")[0] == 503
    # nobody reads: the buffers fill, and they are put out; the tracker has gone on
    until(lambda: server.metrics()['onlinetada_clients{kind="pictures"}'] == 0)
    assert server.metrics()['onlinetada_closed_total{reason="slow"}'] == 3
    before = server.feed().stats.tracked
    until(lambda: server.feed().stats.tracked > before + 5)
    for connection in watching:
        connection.close()


def test_a_download_that_is_not_read_is_closed(run: Any, footage: Footage, tmp_path: Path, until: Any) -> None:
    (tmp_path / "eye-1.mkv").write_bytes(b"x" * (32 << 20))
    server = run(footage[0], limits=small(), record=RecordOptions(tmp_path))
    assert len(server.get("/api/recordings/eye-1.mkv")) == 32 << 20
    with opened(server, b"GET /api/recordings/eye-1.mkv HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        until(lambda: server.metrics()["onlinetada_connections"] >= 2)
        until(lambda: server.metrics()["onlinetada_connections"] == 1)  # ours alone


def test_a_websocket_client_that_floods_or_sends_too_much_is_put_out_and_the_others_stay(
    run: Any, footage: Footage, until: Any
) -> None:
    import aiohttp

    server = run(footage[0], limits=small())

    async def attack() -> list[Any]:
        ended = []
        async with aiohttp.ClientSession() as session:
            good = await session.ws_connect(server.url + "/ws")
            for payload, count in (("x", 400), ("y" * 10_000, 1)):
                bad = await session.ws_connect(server.url + "/ws")
                try:
                    for _ in range(count):
                        await bad.send_str(payload)
                except (ConnectionError, aiohttp.ClientError):
                    pass
                while not bad.closed:
                    await bad.receive(timeout=60)
                ended.append(bad.close_code)
            await good.send_str("hello")  # a word is no flood
            for _ in range(30):
                assert (await good.receive(timeout=60)).type == aiohttp.WSMsgType.TEXT
            await good.close()
        return ended

    assert asyncio.run(attack()) == [1008, 1009]
    assert server.metrics()['onlinetada_closed_total{reason="flood"}'] == 1


def test_a_connection_that_floods_waits_and_another_does_not(run: Any, footage: Footage) -> None:
    server = run(footage[0], limits=small(patience_s=30.0))
    with opened(server) as flood:
        flood.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
        began_s = time.monotonic()
        assert server.ask("GET", "/healthz")[0] == 200
        answered_s = time.monotonic() - began_s
        answers, held = 0, b""
        while answers < 45:  # 20 at once, 20 a second after that
            held += flood.recv(65536)
            answers = held.count(b"HTTP/1.1 200")
        assert time.monotonic() - began_s > 1.0 and answered_s < time.monotonic() - began_s


def test_targets_and_commands_are_bounded(run: Any, footage: Footage, until: Any) -> None:
    server = run(footage[0], limits=small(targets=3, messages_per_s=500.0))
    until(lambda: server.feed().report is not None)
    answers = [server.ask("POST", "/api/targets", {"box": [10 * i, 10, 30, 30]}) for i in range(5)]
    assert [status for status, _ in answers] == [201, 201, 201, 400, 400] and "delete one" in answers[-1][1]["error"]


def test_no_secret_is_logged() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 1, "rtsp://me:hunter2@cam/?token=%s and %s", (TOKEN, TOKEN), None)
    line = Masked((TOKEN,)).format(record)
    assert "hunter2" not in line and TOKEN not in line and "me:***@cam" in line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["0", "--host", "0.0.0.0"], "token"),  # noqa: S104
        (["nofile.mp4"], "does not exist"),
        (["0", "--port", "70000"], "--port"),
        (["0", "--token", ""], "--token"),
        (["0", "--udp", "nowhere"], "--udp"),
        (["a=0", "a=1"], "called a"),
        (["0", "--model", "nonesuch"], "nonesuch"),
        (["0", "--threads", "0"], "--threads"),
        (["0", "--stream-width", "1"], "--stream-width"),
        (["0", "--host", "no.such.host.invalid", "--token", TOKEN], "cannot listen"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *arguments]) == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("onlinetada serve:")]
    assert len(lines) == 1 and text in lines[0]
