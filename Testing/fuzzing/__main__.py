"""The campaign as a command."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fuzzing import campaign  # noqa: E402

if __name__ == "__main__":
    sys.exit(campaign.main())
