"""``onlinetada eval`` as a script."""

import sys

from onlinetada.trackers.cli import main

sys.exit(main(["eval", *sys.argv[1:]]))
