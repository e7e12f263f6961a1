"""The same as ``onlinetada train``."""

from __future__ import annotations

import sys

from onlinetada.trackers.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
