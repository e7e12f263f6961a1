"""The ``onlinetada`` command: finds the verb, imports only its module, turns bad input into one line."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Sequence

from onlinetada._version import __version__
from onlinetada.errors import InputError

# verb -> (module with add_arguments(parser) and run(args) -> int, help line)
_COMMANDS = "onlinetada.trackers.commands."
VERBS: dict[str, tuple[str, str]] = {
    "track": (_COMMANDS + "track", "follow targets in a video, a camera or a stream"),
    "serve": (_COMMANDS + "serve", "a web page and an interface for other programs, over live cameras"),
    "doctor": (_COMMANDS + "doctor", "show what is installed and test it on a made-up video"),
    "models": (_COMMANDS + "models", "list the models and the weights that ship"),
    "eval": (_COMMANDS + "evaluate", "run a tracker over a benchmark"),
    "report": (_COMMANDS + "report", "score result files and make a report"),
    "search": (_COMMANDS + "search", "search inference hyper-parameters on a set of sequences"),
    "bench": (_COMMANDS + "bench", "measure how fast trackers run on this machine"),
    "export": (_COMMANDS + "export", "write one step of a model as ONNX or torch.export"),
    "data": (_COMMANDS + "data", "check and pack training material"),
    "train": (_COMMANDS + "train", "train a tracker"),
    "recognize": (_COMMANDS + "recognize", "print the running prediction of a video network"),
    "train-video": (_COMMANDS + "train_video", "train and test a video network"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. Exit status: 0 done, 1 failed, 2 bad input, 128 + n ended by signal n."""
    argv = _joined(list(sys.argv[1:] if argv is None else argv))
    parser = argparse.ArgumentParser(prog="onlinetada", description="Track targets in live video.")
    parser.add_argument("--version", action="version", version=f"onlinetada {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    chosen = next((a for a in argv if not a.startswith("-")), None)
    modules = {}
    for verb, (module_name, help_line) in VERBS.items():
        sub = verbs.add_parser(verb, help=help_line, description=help_line)
        if verb == chosen:  # the others cost their import time only when they are used
            modules[verb] = importlib.import_module(module_name)
            modules[verb].add_arguments(sub)
    args = parser.parse_args(argv)
    try:
        return int(modules[args.verb].run(args))
    except (InputError, FileNotFoundError, IsADirectoryError, PermissionError) as error:
        print(f"onlinetada {args.verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"onlinetada {args.verb}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1


def _joined(argv: list[str]) -> list[str]:
    """``--init -5,20,40,40`` as ``--init=-5,20,40,40``, which argparse would take for two options."""
    out: list[str] = []
    for word in argv:
        if out and re.fullmatch(r"--[a-z-]+", out[-1]) and re.fullmatch(r"-[\d.][^ ]*,[^ ]*", word):
            out[-1] += f"={word}"
        else:
            out.append(word)
    return out
