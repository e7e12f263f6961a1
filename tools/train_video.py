"""The same as ``onlinetada train-video``; torchrun starts it."""

from __future__ import annotations

import sys

from onlinetada.trackers.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-video", *sys.argv[1:]]))
