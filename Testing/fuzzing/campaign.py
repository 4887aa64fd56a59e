"""Make inputs, read each in a child process with limits of time and memory, and count what came of it.

| outcome | what it means |
|---|---|
| right | read, and the second opinion (nibabel, pynrrd, Pillow, tifffile) has the same values and place |
| read | read; nobody else can, or there is no second opinion |
| refused | one MedPrepError |
| wrong | read, and the second opinion differs |
| traceback, crash, hang, memory, changed | another exception, a signal, over 10 s or 2 GB, an input changed |

Inputs that show a defect are kept in the folder of ``--keep``, with their seed in the name.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from fuzzing import folders, images, programs

SECONDS, MEGABYTES = 10, 2048
# Children may ask for a little more than is allowed, so that what they really took is seen.
_CEILING = 6 << 30
DEFECTS = ("wrong", "traceback", "crash", "hang", "memory", "changed")
_CODES = {0: "right", 10: "read", 11: "refused", 12: "wrong", 13: "traceback"}

Case = Callable[[], str]
# Each makes an input in a folder and returns what reads it: a function that says "right", "read" or "wrong".
KINDS: dict[str, Callable[[random.Random, Path], Case]] = {
    "files": images.case,
    "recipes": folders.recipe_case,
    "folders": folders.folder_case,
    "scene": folders.scene_case,
    "cli": programs.command_case,
    "operations": programs.operation_case,
}


def run_one(kind: str, seed: str, keep: Path | None = None) -> str:
    """The outcome of the input that `seed` gives."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        made = KINDS[kind](random.Random(seed), folder)
        before = _digest(folder)
        outcome = _in_child(made, folder)
        if outcome not in DEFECTS and _digest(folder) != before:
            outcome = "changed"
        if keep is not None and outcome in DEFECTS:
            shutil.copytree(folder, keep / f"{outcome}-{kind}-{seed}", dirs_exist_ok=True, symlinks=True)
        return outcome
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _in_child(made: Case, folder: Path) -> str:
    child = os.fork()
    if child == 0:
        _child(made, folder)
    started, state = time.monotonic(), 0
    while True:
        found, state, used = os.wait4(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() - started > 6 * SECONDS:
            os.kill(child, 9)
            os.wait4(child, 0)
            return "hang"
        time.sleep(0.002)
    if used.ru_maxrss > MEGABYTES << 10:
        return "memory"
    # The processor's time counts: a busy machine is no hang.
    if used.ru_utime + used.ru_stime > SECONDS:
        return "hang"
    return "crash" if os.WIFSIGNALED(state) else _CODES.get(os.WEXITSTATUS(state), "crash")


def _child(made: Case, folder: Path) -> None:
    from MedPrepCommonLib.core.errors import MedPrepError

    code = 13
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS + 5, SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_AS, (_CEILING, _CEILING))
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        code = {"right": 0, "read": 10, "refused": 11, "wrong": 12}[made()]
    except MedPrepError:
        code = 11
    except BaseException:
        (folder / "traceback.txt").write_text(traceback.format_exc(), errors="replace")
    os._exit(code)


def _digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if (
            path.is_file()
            and not path.is_symlink()
            and path.name != "traceback.txt"
            and "out" not in path.parts
        ):
            found.update(os.fsencode(path.name) + path.read_bytes())
    return found.hexdigest()


def _preload() -> None:
    """What children read with: imported once, not by each of them."""
    for name in (
        "MedPrepCommonLib.files.reading",
        "MedPrepCommonLib.files.reassembly",
        "MedPrepCommonLib.report.page",
        "MedPrepCommonLib.cli.app",
        "nibabel",
        "nrrd",
        "PIL.Image",
        "tifffile",
    ):
        importlib.import_module(name)
    from MedPrepCommonLib.core.operation import known

    known()


def main(arguments: list[str] | None = None) -> int:
    """Run the campaign; 0 where there is no defect."""
    parser = argparse.ArgumentParser(
        prog="fuzz", description="Broken and hostile inputs, each in a process of its own."
    )
    parser.add_argument("--inputs", type=int, default=300, help="how many (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="another number gives other inputs")
    parser.add_argument("--kind", choices=sorted(KINDS), help="one kind only; all in turn when left out")
    parser.add_argument("--keep", type=Path, help="folder for inputs that show a defect")
    wanted = parser.parse_args(arguments)
    kinds = [wanted.kind] if wanted.kind else sorted(KINDS)
    _preload()
    counts: Counter[tuple[str, str]] = Counter()
    for n in range(wanted.inputs):
        kind, seed = kinds[n % len(kinds)], f"{wanted.seed}-{n}"
        outcome = run_one(kind, seed, wanted.keep)
        counts[kind, outcome] += 1
        if outcome in DEFECTS:
            print(f"{outcome}: --kind {kind}, input {seed}", flush=True)
    print(f"seed {wanted.seed}, {wanted.inputs} inputs")
    for kind in kinds:
        print(f"{kind}: " + ", ".join(f"{n} {o}" for (k, o), n in sorted(counts.items()) if k == kind))
    bad = sum(n for (_kind, outcome), n in counts.items() if outcome in DEFECTS)
    print(f"{bad} defects")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
