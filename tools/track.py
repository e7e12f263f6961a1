"""The same as ``onlinetada track``."""

import sys

from onlinetada.trackers.cli import main

sys.exit(main(["track", *sys.argv[1:]]))
