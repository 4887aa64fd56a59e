"""ITK's N4 filter in a child process: it ignores Abort(), so that only ending its process can cancel it.

Where no Python can be started, it runs in a thread of this process, and a cancel waits for its iteration.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from MedPrepCommonLib.core.errors import MedPrepError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepMRILib.bias import interpreters, n4itk_process
from MedPrepMRILib.bias.n4 import N4Iteration

_PROGRAM = Path(__file__).with_name("n4itk_process.py")
_POLL = 0.05
# Seconds for a Python to start and load SimpleITK, which takes long from a cold disk.
_PATIENCE = 60.0


@dataclass(frozen=True)
class Task:
    """What the filter gets, all axes in (k, j, i) order.

    Parameters
    ----------
    image : the sampled image, float32. mask : bool of the same shape.
    shape : of the full grid, on which the field is wanted.
    mesh : spans of the first level.
    """

    image: np.ndarray
    mask: np.ndarray
    shape: tuple[int, int, int]
    iterations: tuple[int, ...]
    convergence: float
    mesh: tuple[int, int, int]
    noise: float
    fwhm: float
    bins: int


@dataclass(frozen=True)
class Found:
    """ITK's field: `log_slice(k)` gives a slice (j, i) of its logarithm; valid while the task is open.

    `apart` says whether it was made in a process of its own.
    """

    log_slice: Callable[[int], np.ndarray]
    iterations: tuple[N4Iteration, ...]
    apart: bool = True


class _CannotStart(Exception):
    """A Python that does not start, or lacks a package."""


class _Stopped(Exception):
    """Ends ITK's filter from inside."""


class _Watch:
    """Hands the filter's iterations on to the job, from the job's own thread."""

    def __init__(self, task: Task, job: Job) -> None:
        self.most, self.job = task.iterations, job
        self.steps: list[N4Iteration] = []
        self._seen = 0

    def look(self) -> None:
        """Report what is new; raises Cancelled."""
        self.job.check()
        if len(self.steps) > self._seen:
            self._seen, last = len(self.steps), self.steps[-1]
            done = sum(self.most[: last.level - 1]) + last.iteration
            text = _("ITK's N4, level {l}, iteration {n}").format(l=last.level, n=last.iteration)
            self.job.report(0.9 * done / sum(self.most), text)


@contextlib.contextmanager
def estimate(task: Task, job: Job) -> Iterator[Found]:
    """Run the filter; Cancel ends its process within a tenth of a second.

    Without a Python to start, the filter runs in this process, and Cancel ends it with its iteration.

    Raises
    ------
    MedPrepError
        when the filter fails.
    """
    with tempfile.TemporaryDirectory(prefix="medprep-") as name:
        folder = Path(name)
        np.savez(folder / "task.npz", **{**asdict(task), "mask": task.mask.astype(np.uint8)})
        for python in interpreters.candidates():
            try:
                steps = _in_process(python, folder, _Watch(task, job))
            except _CannotStart:
                continue
            field = np.load(folder / "field.npy", mmap_mode="r")
            try:
                yield Found(field.__getitem__, steps)
            finally:
                # Windows removes no file that is still mapped.
                field._mmap.close()
            return
    field, steps = _in_thread(task, _Watch(task, job))
    yield Found(field.__getitem__, steps, apart=False)


def _in_process(python: str, folder: Path, watch: _Watch) -> tuple[N4Iteration, ...]:
    try:
        child = subprocess.Popen(
            [python, "-u", str(_PROGRAM), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            env=interpreters.environment(),
        )
    except OSError as error:
        raise _CannotStart from error
    ready, said = threading.Event(), []

    def listen() -> None:
        for line in child.stdout:
            words = line.split()
            if words == ["ready"]:
                ready.set()
            elif len(words) == 4 and words[0] == "iteration":
                watch.steps.append(N4Iteration(int(words[1]), int(words[2]), float(words[3])))
            elif words:
                said.append(line.strip())

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    latest = time.monotonic() + _PATIENCE
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_POLL)
                break
            watch.look()
            if not ready.is_set() and time.monotonic() > latest:
                break
        if child.poll() is not None:
            listener.join()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        listener.join(1.0)
        child.stdin.close()
        child.stdout.close()
    if not ready.is_set():
        raise _CannotStart
    if child.returncode != 0 or not (folder / "field.npy").is_file():
        told = [line for line in said if "error" in line.lower()] or said
        raise _failed(told[-1] if told else str(child.returncode))
    return tuple(watch.steps)


def _in_thread(task: Task, watch: _Watch) -> tuple[np.ndarray, tuple[N4Iteration, ...]]:
    stop, found, wrong = threading.Event(), [], []

    def tell(level: int, iteration: int, convergence: float) -> None:
        if stop.is_set():
            raise _Stopped
        watch.steps.append(N4Iteration(level, iteration, convergence))

    def work() -> None:
        try:
            found.append(n4itk_process.log_field(asdict(task), tell))
        except Exception as error:
            wrong.append(error)

    thread = threading.Thread(target=work, daemon=True)
    with _quiet(_Stopped):
        thread.start()
        try:
            while thread.is_alive():
                thread.join(_POLL)
                watch.look()
        finally:
            stop.set()
            thread.join()
    if wrong:
        raise _failed(str(wrong[0]).strip().rpartition("\n")[2]) from wrong[0]
    return found[0], tuple(watch.steps)


@contextlib.contextmanager
def _quiet(kind: type[Exception]) -> Iterator[None]:
    """SimpleITK prints what its callbacks raise, through sys.excepthook: `kind` is no news."""
    before = sys.excepthook
    sys.excepthook = lambda type, *rest: None if issubclass(type, kind) else before(type, *rest)
    try:
        yield
    finally:
        sys.excepthook = before


def _failed(reason: str) -> MedPrepError:
    return MedPrepError(
        _("ITK's N4 filter failed: {reason}.").format(reason=reason.rstrip(".")),
        _("Expected a bias field."),
        _("Use the engine medprep, or a larger mask."),
    )
