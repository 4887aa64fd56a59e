"""A batch in a process of its own, for Slicer: the window stays live, and a crash takes nothing along.

As a program it reads one JSON order from standard input and writes a JSON line for each progress and one
at the end. It cancels the batch when its standard input closes, so that nothing goes on when the caller dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..core.errors import Cancelled, MedPrepError
from ..core.i18n import _
from ..core.job import Job
from ..core.recipe import Recipe, load
from .running import Plan


class Running:
    """A batch under way in another process; :meth:`poll` never waits."""

    def __init__(
        self,
        recipe: Recipe,
        cases: str | os.PathLike[str],
        out: str | os.PathLike[str],
        plan: Plan,
        columns: Mapping[str, str] | None = None,
        patterns: Sequence[str] = (),
        pseudonyms: str | os.PathLike[str] = "",
    ) -> None:
        order = {
            "recipe": recipe.to_json(),
            "cases": str(Path(cases).expanduser().resolve()),
            "out": str(Path(out).expanduser().resolve()),
            "plan": asdict(plan),
            "columns": dict(columns or {}),
            "patterns": list(patterns),
            "pseudonyms": str(Path(pseudonyms).expanduser().resolve()) if pseudonyms else "",
        }
        #: Share that is done, and what was said last.
        self.fraction, self.message = 0.0, ""
        self._end: dict[str, Any] | None = None
        self._said: list[str] = []
        self._child = _start()
        self._listeners = [
            threading.Thread(target=self._listen, daemon=True),
            threading.Thread(target=self._overhear, daemon=True),
        ]
        for listener in self._listeners:
            listener.start()
        with contextlib.suppress(OSError):
            self._child.stdin.write(json.dumps(order) + "\n")
            self._child.stdin.flush()

    def poll(self) -> bool:
        """Whether it is still at work."""
        if self._child.poll() is None:
            return True
        for listener in self._listeners:
            listener.join()
        return False

    def cancel(self) -> None:
        """Ask it to stop; finished cases are safe."""
        with contextlib.suppress(OSError):
            self._child.stdin.close()

    def kill(self) -> None:
        """End it at once; what it was writing is cleared away when the batch is resumed."""
        self._child.kill()
        self._child.wait()

    def summary(self) -> dict[str, Any]:
        """What came of it: ``folder``, names as ``done``, ``failed`` (with errors), ``pending``; ``notes``.

        Raises
        ------
        MedPrepError
            that stopped the batch; Cancelled after :meth:`cancel`.
        """
        end = self._end or {}
        if "summary" in end:
            return end["summary"]
        if "cancelled" in end:
            raise Cancelled
        if "error" in end:
            raise MedPrepError(*end["error"])
        raise MedPrepError(
            _("The batch's process ended without a word ({text}).").format(text=" ".join(self._said[-3:])),
            _("Expected it to run until the batch is done."),
            _("Go on with resume; finished cases are safe."),
        )

    def _listen(self) -> None:
        for line in self._child.stdout:
            try:
                record = json.loads(line)
            except ValueError:
                continue  # what a library prints
            if "progress" in record:
                self.fraction, self.message = record["progress"], record["message"]
            else:
                self._end = record

    def _overhear(self) -> None:
        for line in self._child.stderr:
            self._said = [*self._said[-20:], line.strip()]


def runBatch(
    recipe: str | Recipe,
    cases: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    patterns: Sequence[str] = (),
    pseudonyms: str | os.PathLike[str] = "",
    job: Job | None = None,
    **plan: Any,
) -> dict[str, Any]:
    """Run a recipe on many cases in a process of its own, and wait for it.

    Parameters
    ----------
    recipe : its name, the path of a .json file, or a Recipe.
    cases : CSV file with one case a row, or a folder of images.
    out : folder for the results.
    settings : parameters to change, as ``{"ct.window.level": -650}``.
    columns : the column that holds an input of the recipe, where names differ.
    patterns : ``INPUT={case}/scan.nii.gz``, which files of a folder are the cases.
    pseudonyms : file with a salt; cases are called by pseudonyms made with it.
    job : for progress and cancel.
    plan : fields of :class:`MedPrepCommonLib.batch.running.Plan`, such as ``workers=4, resume=True``.

    Returns
    -------
    dict : ``folder``, names under ``done``, ``failed`` (with their errors) and ``pending``, and ``notes``.

    Raises
    ------
    MedPrepError
        when the batch cannot begin or go on; Cancelled when the job was cancelled.
    """
    job = job or Job.quiet()
    chosen = (recipe if isinstance(recipe, Recipe) else load(recipe)).with_settings(settings or {})
    running = Running(chosen, cases, out, Plan(**plan), columns, patterns, pseudonyms)
    try:
        while running.poll():
            job.report(running.fraction, running.message)
            time.sleep(0.1)
    except BaseException:
        running.cancel()
        end = time.monotonic() + 30
        while running.poll() and time.monotonic() < end:
            time.sleep(0.1)
        if running.poll():
            running.kill()
        raise
    return running.summary()


def _start() -> subprocess.Popen:
    # Slicer's own program is no Python; PythonSlicer beside it is.
    python = shutil.which("PythonSlicer") or sys.executable
    folders = [path for path in sys.path if path and Path(path).is_dir() and any(Path(path).glob("MedPrep*"))]
    paths = [str(Path(__file__).resolve().parents[2]), *folders, os.environ.get("PYTHONPATH", "")]
    try:
        return subprocess.Popen(
            [python, "-u", "-m", f"{__package__}.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUTF8": "1"},
        )
    except OSError as error:
        raise MedPrepError(
            _("Python could not be started for the batch ({reason}).").format(reason=error.strerror),
            _("Expected {program} to run.").format(program=Path(python or "PythonSlicer").name),
        ) from error


def main() -> None:
    """The program."""
    from ..core import recipe as recipes
    from . import case_list
    from . import running as batch

    order = json.loads(sys.stdin.readline())
    stop = threading.Event()

    def listen() -> None:
        # Not sys.stdin.read(): a thread inside it makes Python abort when the program ends.
        while os.read(0, 1024):
            pass
        stop.set()

    threading.Thread(target=listen, daemon=True).start()

    def tell(fraction: float, message: str) -> None:
        _say({"progress": fraction, "message": message})

    try:
        recipe = recipes.parse(order["recipe"])
        cases = case_list.read(
            recipe, Path(order["cases"]), *(order[k] for k in ("columns", "patterns", "pseudonyms", "out"))
        )
        done = batch.run(recipe, cases, order["out"], _plan(order["plan"]), Job(tell, stop.is_set))
        _say({"summary": {**asdict(done), "folder": str(done.folder), "verdicts": dict(done.verdicts)}})
    except (Cancelled, KeyboardInterrupt):
        _say({"cancelled": True})
    except MedPrepError as error:
        _say({"error": [error.wrong, error.expected, error.advice]})


def _plan(order: Mapping[str, Any]) -> Plan:
    """A plan out of JSON, which knows lists alone."""
    return Plan(**{**order, "accept": tuple(order["accept"])})


def _say(record: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
