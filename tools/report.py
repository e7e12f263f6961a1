"""``onlinetada report`` as a script."""

import sys

from onlinetada.trackers.cli import main

sys.exit(main(["report", *sys.argv[1:]]))
