"""``onlinetada serve``: a page and an interface over cameras, for days."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from onlinetada.errors import InputError
from onlinetada.trackers.follower import build_follower
from onlinetada.trackers.io.capture import quiet
from onlinetada.trackers.io.sources import is_live, open_source
from onlinetada.trackers.serve.logs import start_logging, stop_logging
from onlinetada.trackers.serve.options import (
    ModelOptions,
    RecordOptions,
    ServeOptions,
    SourceOptions,
    split_name,
)
from onlinetada.trackers.serve.relays import parse_udp
from onlinetada.trackers.threads import use_threads

_TOKEN = "ONLINETADA_TOKEN"  # noqa: S105 - the name of a variable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="+",
        help="camera number, /dev/videoN, rtsp:// http:// udp:// URL, gst:PIPELINE, video file, folder of images; "
        "several are served at once; NAME=SOURCE names one",
    )
    where = parser.add_argument_group("where")
    where.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    where.add_argument("--port", type=int, default=8080, metavar="N", help="0 takes one that is free (default: 8080)")
    where.add_argument("--token", metavar="T", help=f"that clients must show; better in the environment: {_TOKEN}")
    where.add_argument(
        "--allow-origin", action="append", default=[], metavar="URL", help="web origin that may use it too, for proxies"
    )
    what = parser.add_argument_group("tracker")
    what.add_argument("--model", default="default", metavar="NAME", help="see `onlinetada models`")
    what.add_argument("--weights", metavar="FILE", help="checkpoint in place of the one that ships")
    what.add_argument("--device", metavar="cpu|cuda", help="default: the GPU where there is one")
    what.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: the cores that are free)")
    played = parser.add_argument_group("files and folders")
    played.add_argument("--fps", type=float, help="frames a second to play them with")
    played.add_argument("--once", action="store_true", help="end with the file instead of playing it again")
    played.add_argument("--every-frame", action="store_true", help="let the file wait for the tracker")
    out = parser.add_argument_group("results")
    out.add_argument("--record-dir", type=Path, metavar="DIR", help="recordings go here; without it there are none")
    out.add_argument("--udp", action="append", default=[], metavar="HOST:PORT", help="a JSON line a frame, by UDP")
    out.add_argument("--jsonl", action="store_true", help="a JSON line a frame, on standard output")
    out.add_argument("--stream-width", type=int, default=1280, metavar="PX", help="widest picture that is sent")
    out.add_argument("--log-file", type=Path, metavar="FILE", help="log here too; turned over at 1 MB, five are kept")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes.

    Returns:
        0 after SIGTERM, 130 after Ctrl-C.
    """
    options = _options(args)
    try:
        from onlinetada.trackers.serve.app import Server, run_server
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is missing: pip install 'onlinetada[web]'") from None
    use_threads(args.threads)
    _check_sources(options.sources)
    build_follower(options.model.name, weights=options.model.weights, device=options.model.device)
    handlers = start_logging(file=args.log_file, secrets=(options.token,))

    def on_start(server: Server) -> None:
        logging.getLogger("onlinetada.serve").info("listening on %s", server.url)
        if server.guard.access.is_short:
            logging.getLogger("onlinetada.serve").warning("the token is short and may be guessed")

    try:
        with quiet():
            number = asyncio.run(run_server(options, on_start=on_start))
    finally:
        stop_logging(handlers)
    return 130 if number == signal.SIGINT else 0


def _options(args: argparse.Namespace) -> ServeOptions:
    if not 0 <= args.port < 65536:
        raise InputError(f"--port is {args.port}: give a number from 0 to 65535")
    if args.threads is not None and args.threads < 1:
        raise InputError(f"--threads is {args.threads}: give 1 or more")
    if args.stream_width < 64:
        raise InputError(f"--stream-width is {args.stream_width}: give 64 or more")
    token = args.token if args.token is not None else os.environ.get(_TOKEN, "")
    if args.token == "":
        raise InputError("--token is empty: leave it out, or give a long random text")
    return ServeOptions(
        sources=_sources(args),
        host=args.host,
        port=args.port,
        token=token,
        origins=tuple(args.allow_origin),
        model=ModelOptions(args.model, args.weights, args.device),
        record=RecordOptions(_record_dir(args.record_dir)),
        udp=tuple(parse_udp(text) for text in args.udp),
        stdout=args.jsonl,
        stream_width=args.stream_width,
    )


def _sources(args: argparse.Namespace) -> tuple[SourceOptions, ...]:
    sources: dict[str, SourceOptions] = {}
    for position, text in enumerate(args.source):
        name, spec = split_name(text)
        name = name or str(position)
        if name in sources:
            raise InputError(f"two sources are called {name}: give each its own NAME=")
        sources[name] = SourceOptions(name, spec, args.fps, not args.once, args.every_frame)
    return tuple(sources.values())


def _check_sources(sources: Sequence[SourceOptions]) -> None:
    """A file that is not there is a mistake; a camera that is not there may come."""
    for source in sources:
        if not is_live(source.spec):
            open_source(source.spec, fps=source.fps, on_notice=lambda text: print(text, file=sys.stderr)).close()


def _record_dir(folder: Path | None) -> Path | None:
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--record-dir {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"--record-dir {folder} cannot be written")
    return folder.resolve()
