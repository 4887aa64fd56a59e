"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from . import report
from .data import QUICK_SHAPE, QUICK_SPACING, SHAPE, SPACING, chest
from .harness import Options, measure
from .rows import ROWS

RESULTS = Path(__file__).resolve().parents[2] / "bench-results"


def parser() -> argparse.ArgumentParser:
    """Options of ``bench``."""
    made = argparse.ArgumentParser(
        prog="run.py bench",
        description="Speed, memory and quality of MedPrep's operations beside their peers. Every row runs "
        "its ways in turn in one process; compare by the shortest call, and by the processor time where the "
        "machine is busy. The chest phantom is drawn on first use and kept in bench-results/.",
        epilog="Rows: " + ", ".join(ROWS),
    )
    made.add_argument("rows", nargs="*", metavar="ROW", help="rows to run (default: all)")
    made.add_argument("--quick", action="store_true", help="a phantom of an eighth of the voxels")
    made.add_argument("--slow", action="store_true", help="also peers that take minutes")
    made.add_argument(
        "--peers", action="store_true", help="also MONAI and TorchIO, in an environment of their own"
    )
    made.add_argument("--repeats", type=int, default=7, metavar="N", help="calls of each way (default 7)")
    made.add_argument(
        "--json", type=Path, default=RESULTS / "bench.json", metavar="PATH", help="where to write the figures"
    )
    made.add_argument("--list", action="store_true", help="only say which rows there are")
    return made


def main(arguments: list[str]) -> int:
    """Run the benchmark; returns an exit status."""
    asked = parser().parse_args(arguments)
    unknown = [name for name in asked.rows if name not in ROWS]
    if unknown:
        print(f"bench: no row called {', '.join(unknown)}; there are {', '.join(ROWS)}", file=sys.stderr)
        return 2
    if asked.repeats < 1:
        print("bench: --repeats must be at least 1", file=sys.stderr)
        return 2
    if asked.list:
        for row in ROWS.values():
            print(f"{row.name:<22}{row.title}")
        return 0
    shape, spacing = (QUICK_SHAPE, QUICK_SPACING) if asked.quick else (SHAPE, SPACING)
    say("the chest phantom")
    data = chest(shape, spacing, RESULTS)
    options = Options(asked.repeats, slow=asked.slow, extra_peers=asked.peers)
    begin, measured = time.monotonic(), []
    print(
        f"Chest CT of {' x '.join(map(str, shape[::-1]))} voxels, "
        f"{' x '.join(map(str, spacing[::-1]))} mm; {machine_line()}"
    )
    for name in asked.rows or ROWS:
        measured.append(measure(ROWS[name], data, options, say))
        say("")
        print(report.row_text(measured[-1]), flush=True)
        report.write(asked.json, report.record(measured, shape, spacing))
    print(report.summary_text(measured))
    print(f"\n{time.monotonic() - begin:.0f} s. Figures: {asked.json}")
    return 0


def machine_line() -> str:
    """The machine in a few words."""
    facts = report.machine()
    return (
        f"{facts['processor']}, {facts['cores']} cores; {facts['threads']} threads, "
        f"SimpleITK {facts['threadsSimpleITK']}"
    )


def say(text: str) -> None:
    """What is being done, on one line that the next one replaces; only where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text[:78]}", end="", file=sys.stderr, flush=True)
