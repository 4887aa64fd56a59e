"""Style, format and types; what `python3 run.py lint` runs.

python3 run.py lint          the whole repository: ruff check, ruff format --check, mypy
python3 run.py lint PATHS    style and format of some files

Types are clean in the wings of CLEAN; elsewhere their number may only fall: LEFT holds it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDERS = ("MedPrepCommon", "MedPrepCT", "MedPrepMRI", "MedPrepXray")
LIBRARIES = ("MedPrepCommonLib", "MedPrepCTLib", "MedPrepMRILib", "MedPrepXrayLib")
CLEAN = ("MedPrepCommonLib/core", "MedPrepCommonLib/numeric", "MedPrepCommonLib/files")
LEFT = 390


def run(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=REPOSITORY).returncode


def types() -> int:
    """0 when the clean wings are clean and the rest has no more errors than LEFT."""
    packages = [word for library in LIBRARIES for word in ("-p", library)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", *packages],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    lines = [line for line in done.stdout.splitlines() if ": error: " in line]
    if done.returncode not in (0, 1):
        print(done.stdout + done.stderr)
        return 1
    clean = [line for line in lines if any(f"/{wing}/" in line.replace("\\", "/") for wing in CLEAN)]
    left = len(lines) - len(clean)
    print("\n".join(clean), end="\n" if clean else "")
    if left > LEFT:
        wings = Counter(re.match(r"[^/\\]+[/\\]([^/\\]+[/\\][^/\\:]+)", line)[1] for line in lines)
        print("\n".join(line for line in lines if line not in clean))
        print(f"{left} type errors outside the clean wings, at most {LEFT} are allowed: {dict(wings)}")
    elif left < LEFT:
        print(f"{left} type errors are left outside the clean wings: lower LEFT in Tools/lint.py from {LEFT}")
    return int(bool(clean) or left > LEFT)


def main(paths: list[str]) -> int:
    wrong = [
        run("ruff", "check", *(paths or ["."])),
        run("ruff", "format", "--check", "-q", *(paths or ["."])),
    ]
    if wrong[1]:
        print("Format differs: python3 run.py python -m ruff format .")
    if not paths:
        wrong.append(types())
    return int(any(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
