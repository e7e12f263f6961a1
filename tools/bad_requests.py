"""Requests that a server must refuse, drawn at random: what `bench_serve.py refuse` and its soak send.

Each kind is a function of a random generator and the server's token that gives the bytes of one request.
"""

from __future__ import annotations

import random


def _request(token: str, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    sent = {"Host": "127.0.0.1", "Authorization": f"Bearer {token}", **headers}
    if body:
        sent = {"Content-Type": "application/json", "Content-Length": str(len(body)), **sent}
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin1", "replace") + body


def _wrong_token(draw: random.Random, token: str) -> bytes:
    shown = ["", "Bearer", f"Bearer {token[:-1]}", f"Bearer {token}x", f"Basic {token}", "Bearer \xff"]
    path = draw.choice(["/api/status", "/api/targets", "/ws", "/metrics", "/stream.mjpg"])
    return _request(token, draw.choice(["GET", "POST", "DELETE"]), path, {"Authorization": draw.choice(shown)})


def _foreign_page(draw: random.Random, token: str) -> bytes:
    origins = ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1.evil.example", "file://"]
    path = draw.choice(["/api/targets", "/ws", "/stream.mjpg"])
    return _request(token, draw.choice(["GET", "POST"]), path, {"Origin": draw.choice(origins)})


def _bad_body(draw: random.Random, token: str) -> bytes:
    number = draw.choice(["NaN", "-Infinity", "1e999", "null", '"1"', "true", "[1]", "{}", "9" * 400])
    numbers = [number, *(str(draw.randint(0, 99)) for _ in range(draw.randint(0, 5)))]
    draw.shuffle(numbers)
    return _request(token, "POST", "/api/targets", {}, f'{{"box": [{",".join(numbers)}]}}'.encode())


def _bad_path(draw: random.Random, token: str) -> bytes:
    steps = draw.choice(["../", "..%2f", "%2e%2e/", "....//", "%00", "\\..\\", "%c0%ae/"]) * draw.randint(1, 6)
    front = draw.choice(["/api/recordings/", "/static/", "/api/targets/", "/"])
    return _request(token, "GET", front + steps + draw.choice(["etc/passwd", "x.mkv", "serve.py"]), {})


def _too_large(draw: random.Random, token: str) -> bytes:
    if draw.random() < 0.5:
        return _request(token, "POST", "/api/targets", {}, b" " * draw.randint(17_000, 200_000))
    return _request(token, "GET", "/api/status", {"X-Long": "a" * draw.randint(9_000, 60_000)})


def _garbage(draw: random.Random, token: str) -> bytes:
    good = bytearray(_request(token, "POST", "/api/targets", {}, b'{"box": [1, 2, 3]}'))
    for _ in range(draw.randint(1, 60)):
        good[draw.randrange(len(good))] = draw.randrange(256)
    return draw.choice([bytes(good), draw.randbytes(300) + b"\r\n\r\n"])


KINDS = {
    "no token or a wrong one": _wrong_token,
    "page of another origin": _foreign_page,
    "body that is no box": _bad_body,
    "path that leads elsewhere": _bad_path,
    "too large": _too_large,
    "garbage": _garbage,
}
