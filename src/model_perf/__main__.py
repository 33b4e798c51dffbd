"""``python -m model_perf``: the same as the command ``model-perf``."""

import sys

from model_perf.cli import main

if __name__ == "__main__":
    sys.exit(main())
