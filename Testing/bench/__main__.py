"""Entry of ``python3 run.py bench``."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Started as a folder: the folder itself must not be searched, its modules belong to the package "bench".
if sys.path and Path(sys.path[0]).resolve() == HERE:
    sys.path[0] = str(HERE.parent)

from bench.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
