"""What `onlinetada serve` holds: delay, recovery, bad requests refused, and a soak of accelerated days.

    python tools/bench_serve.py delay recover refuse soak --minutes 6 --out docs/bench

Each writes OUT/serve_NAME.csv, and all that are there make OUT/serve.md. The server runs as users start it, in a
process of its own; cameras are made up, in another; all is measured from outside, over the documented interface.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import platform
import random
import re
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from bad_requests import KINDS
from serve_client import TOKEN, Camera, Row, client, follow, metrics, pictures, read_stamp, reports, serving

from onlinetada.trackers.serve.stats import quantile

_AT_ONCE = 20


# --- the measurements


async def measure_delay(session: aiohttp.ClientSession, camera: Camera, seconds: float) -> tuple[list[float], Row]:
    """Milliseconds from the taking of each picture to its boxes at a client, and the last report."""
    await follow(session, camera)
    came: dict[int, float] = {}
    taken: dict[int, float] = {}
    last: Row = {}

    async def hear() -> None:
        async for at_s, report in reports(session):
            came[report["frame_index"]] = at_s
            last.update(report)

    async def look() -> None:
        async for _, index, image in pictures(session):
            taken[index] = read_stamp(image)

    tasks = [asyncio.ensure_future(hear()), asyncio.ensure_future(look())]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    both = sorted(set(came) & set(taken))[30:]  # the first second is the tracker's warming up
    return [(came[index] - taken[index]) * 1000 for index in both], last


def delay(args: argparse.Namespace) -> list[Row]:
    """From the camera's picture to the box at a client, with one target, for some picture sizes."""
    rows = []
    for width, height in ((640, 480), (1280, 720)):
        camera = Camera(width, height, 30.0)
        with serving(camera.url) as address:

            async def work(address: str = address, camera: Camera = camera) -> tuple[list[float], Row]:
                async with client(address) as session:
                    return await measure_delay(session, camera, args.seconds)

            values, last = asyncio.run(work())
        camera.close()
        row: Row = {"size": f"{width}x{height}", "camera_fps": 30, "frames": len(values), "fps": last["fps"]}
        for share in (0.5, 0.9, 0.99):
            row[f"p{share * 100:.0f}_ms"] = round(quantile(values, share) or 0, 1)
        rows.append({**row, "dropped": last["dropped"]})
    return rows


def recover(args: argparse.Namespace) -> list[Row]:
    """From the moment when a camera is there again to the first box on its pictures."""
    rows = []
    camera = Camera(640, 480, 30.0)

    async def once(session: aiohttp.ClientSession, away: str, back: str, gone_s: float) -> float:
        camera.tell(away)
        await asyncio.sleep(gone_s)
        before = (await metrics(session))['onlinetada_frames_total{source="0"}']
        began_s = camera.tell(back)
        while (await metrics(session))['onlinetada_frames_total{source="0"}'] <= before:
            await asyncio.sleep(0.01)
        return time.monotonic() - began_s

    async def work() -> None:
        async with client(address) as session:
            await follow(session, camera)
            for fault, away, back, gone_s in (
                ("stalls, connection kept", "stall", "go", 3.0),
                ("vanishes", "stop", "start", 3.0),
                ("vanishes", "stop", "start", 15.0),
            ):
                took = [await once(session, away, back, gone_s) for _ in range(args.repeats)]
                times = {"median_s": round(quantile(took, 0.5) or 0, 2), "longest_s": round(max(took), 2)}
                rows.append({"fault": fault, "away_s": gone_s, "times": len(took), **times})

    with serving(camera.url) as address:
        asyncio.run(work())
    camera.close()
    return rows


def refuse(args: argparse.Namespace) -> list[Row]:
    """Bad requests of several kinds: all must be refused or closed, none may change anything or fail the server."""
    draw = random.Random(args.seed)  # noqa: S311
    camera = Camera(320, 240, 30.0)
    with serving(camera.url, "--record-dir", tempfile.mkdtemp()) as address:
        rows = asyncio.run(_refuse(address, draw, args.requests))
    camera.close()
    return rows


async def _refuse(address: str, draw: random.Random, count: int) -> list[Row]:
    host, port = address.removeprefix("http://").split(":")
    rows = []
    async with client(address) as session:
        async for _ in reports(session):
            break
        for kind, make in KINDS.items():
            outcomes = {"refused": 0, "closed": 0, "let_in": 0, "failed": 0}
            for _ in range(0, count, _AT_ONCE):
                some = [_outcome(host, int(port), make(draw, TOKEN)) for _ in range(_AT_ONCE)]
                for outcome in await asyncio.gather(*some):
                    outcomes[outcome] += 1
            rows.append({"kind": kind, "tried": sum(outcomes.values()), **outcomes})
        async with session.get("/api/targets") as answer:
            if answer.status != 200 or (await answer.json())["targets"]:
                raise SystemExit("a bad request changed something")
    return rows


async def _outcome(host: str, port: int, request: bytes) -> str:
    """What became of a request; one that was not whole is closed after the server's patience."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        await writer.drain()
        line = await asyncio.wait_for(reader.readline(), 30)
    except (ConnectionError, OSError):
        return "closed"
    finally:
        writer.close()
    match = re.match(rb"HTTP/1\.[01] (\d{3})", line)
    if match is None:
        return "closed" if not line else "failed"
    status = int(match[1])
    return "refused" if 400 <= status < 500 else "failed" if status >= 500 else "let_in"


def soak(args: argparse.Namespace) -> list[Row]:
    """A life in fast motion: clients, targets, recordings, dying cameras; memory, handles and threads over time."""
    camera = Camera(320, 240, 60.0)
    with tempfile.TemporaryDirectory() as folder, serving(camera.url, "--record-dir", folder) as address:
        rows = asyncio.run(_soak(address, camera, args.minutes * 60, random.Random(args.seed), Path(folder)))  # noqa: S311
    camera.close()
    return rows


async def _soak(address: str, camera: Camera, seconds: float, draw: random.Random, folder: Path) -> list[Row]:
    counts = dict.fromkeys(("clients", "targets", "recordings", "camera_losses", "bad_requests"), 0)
    rows: list[Row] = []
    host, port = address.removeprefix("http://").split(":")
    async with client(address) as session:
        async for _ in reports(session):
            break
        began_s = time.monotonic()
        sampled_s = -1e9
        while (now_s := time.monotonic() - began_s) < seconds:
            if now_s - sampled_s >= seconds / 60:
                sampled_s = now_s
                rows.append(_sample(now_s, await metrics(session), counts))
            await _live(session, camera, draw, counts, folder)
            await _outcome(host, int(port), draw.choice(list(KINDS.values()))(draw, TOKEN))
            counts["bad_requests"] += 1
        rows.append(_sample(seconds, await metrics(session), counts))
    return rows


async def _live(
    session: aiohttp.ClientSession, camera: Camera, draw: random.Random, counts: dict[str, int], folder: Path
) -> None:
    """About an hour of a server's life in a second or two."""
    async with session.get("/api/targets") as answer:
        targets = (await answer.json())["targets"]
    for target in targets[1:]:
        await session.delete(f"/api/targets/{target['id']}")
    async with session.post("/api/targets", json={"box": camera.where()}) as answer:
        counts["targets"] += answer.status == 201
    watching = [asyncio.ensure_future(_take(pictures(session), 8)), asyncio.ensure_future(_take(reports(session), 8))]
    counts["clients"] += 2
    if draw.random() < 0.3:
        async with session.post("/api/recordings", json={}) as answer:
            counts["recordings"] += answer.status == 201
    await asyncio.wait(watching, timeout=20)
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    await session.delete("/api/recordings/current")
    for path in folder.iterdir():
        path.unlink(missing_ok=True)
    if draw.random() < 0.15:
        camera.tell("stop")
        await asyncio.sleep(draw.uniform(0, 1.5))
        camera.tell("start")
        counts["camera_losses"] += 1


async def _take(items: AsyncIterator[Any], count: int) -> None:
    async for _ in items:
        count -= 1
        if count == 0:
            return


def _sample(at_s: float, values: dict[str, float], counts: dict[str, int]) -> Row:
    buckets = [
        (float(re.search(r'le="([^"]+)"', k)[1]), v)
        for k, v in values.items()
        if k.startswith("onlinetada_delay_seconds_bucket")
    ]  # type: ignore[index]
    total = buckets[-1][1]
    return {
        "minutes": round(at_s / 60, 2),
        "resident_mb": round(values["onlinetada_resident_bytes"] / 1e6, 1),
        "open_files": int(values["onlinetada_open_files"]),
        "threads": int(values["onlinetada_threads"]),
        "connections": int(values["onlinetada_connections"]),
        "frames": int(values['onlinetada_frames_total{source="0"}']),
        "delay_p50_below_ms": next(round(b * 1000) for b, v in buckets if v >= 0.5 * total),
        "restarts": int(values['onlinetada_restarts_total{source="0"}']),
        **counts,
    }


def write_page(out: Path) -> None:
    """Tables of all results in the folder; of long ones a few rows."""
    lines = ["# What `onlinetada serve` holds", "", "Written by `python tools/bench_serve.py`.", ""]
    for name in MEASUREMENTS:
        path = out / f"serve_{name}.csv"
        if not path.exists():
            continue
        head, *rows = list(csv.reader(path.read_text().splitlines()))
        step = max(1, len(rows) // 10)
        shown = rows if len(rows) <= 12 else [*rows[:-1:step], rows[-1]]
        lines += [f"## {name}", "", MEASUREMENTS[name].__doc__ or "", ""]
        lines += [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *shown)] + [""]
    (out / "serve.md").write_text("\n".join(lines))


MEASUREMENTS = {"delay": delay, "recover": recover, "refuse": refuse, "soak": soak}


def main() -> None:
    """Run the measurements that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", choices=[*MEASUREMENTS, []])
    parser.add_argument("--out", type=Path, default=Path("docs/bench"), help="folder for the CSV files")
    parser.add_argument("--seconds", type=float, default=30.0, help="of measuring a delay")
    parser.add_argument("--repeats", type=int, default=5, help="of each loss of a camera")
    parser.add_argument("--requests", type=int, default=300, help="of each bad kind")
    parser.add_argument("--minutes", type=float, default=6.0, help="of the soak")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in args.what:
        machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before"
        rows = MEASUREMENTS[name](args)
        args.out.mkdir(parents=True, exist_ok=True)
        with open(args.out / f"serve_{name}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0], "machine"])
            writer.writeheader()
            writer.writerows({**row, "machine": machine} for row in rows)
        for row in rows[-8:]:
            print(name, row)
    write_page(args.out)


if __name__ == "__main__":
    main()
