"""ITK's N4 filter in a child process: it ignores Abort(), so that only ending its process can cancel it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MedPrepCommonLib.errors import MedPrepError
from MedPrepCommonLib.i18n import _
from MedPrepCommonLib.job import Job
from MedPrepMRILib.n4 import N4Iteration

_PROGRAM = Path(__file__).with_name("n4itk_process.py")
_POLL = 0.05


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
    """ITK's field: `log_slice(k)` gives a slice (j, i) of its logarithm; valid while the task is open."""

    log_slice: Callable[[int], np.ndarray]
    iterations: tuple[N4Iteration, ...]


@contextlib.contextmanager
def estimate(task: Task, job: Job) -> Iterator[Found]:
    """Run the filter; Cancel ends its process within a tenth of a second.

    Raises
    ------
    MedPrepError
        when the process cannot be started or fails.
    """
    with tempfile.TemporaryDirectory(prefix="medprep-") as name:
        folder = Path(name)
        np.savez(
            folder / "task.npz",
            image=task.image,
            mask=task.mask.astype(np.uint8),
            shape=task.shape,
            iterations=task.iterations,
            convergence=task.convergence,
            mesh=task.mesh,
            noise=task.noise,
            fwhm=task.fwhm,
            bins=task.bins,
        )
        steps = _run(folder, task, job)
        field = np.load(folder / "field.npy", mmap_mode="r")
        try:
            yield Found(field.__getitem__, steps)
        finally:
            # Windows removes no file that is still mapped.
            field._mmap.close()


def _run(folder: Path, task: Task, job: Job) -> tuple[N4Iteration, ...]:
    try:
        child = subprocess.Popen(
            [sys.executable, "-u", str(_PROGRAM), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
    except OSError as error:
        raise MedPrepError(
            _("Python could not be started for ITK's filter ({reason}).").format(reason=error.strerror),
            _("Expected {program} to run.").format(program=Path(sys.executable or "python").name),
            _("Use the engine medprep."),
        ) from error
    steps: list[N4Iteration] = []
    said: list[str] = []

    def listen() -> None:
        for line in child.stdout:
            words = line.split()
            if len(words) == 4 and words[0] == "iteration":
                steps.append(N4Iteration(int(words[1]), int(words[2]), float(words[3])))
            elif line.strip():
                said.append(line.strip())

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    total, seen = sum(task.iterations), 0
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_POLL)
                break
            job.check()
            if len(steps) > seen:
                seen, last = len(steps), steps[-1]
                done = sum(task.iterations[: last.level - 1]) + last.iteration
                text = _("ITK's N4, level {l}, iteration {n}").format(l=last.level, n=last.iteration)
                job.report(0.9 * done / total, text)
        listener.join()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        listener.join(1.0)
        child.stdin.close()
        child.stdout.close()
    if child.returncode != 0 or not (folder / "field.npy").is_file():
        told = [line for line in said if "error" in line.lower()] or said
        raise MedPrepError(
            _("ITK's N4 filter failed: {reason}.").format(
                reason=told[-1].rstrip(".") if told else child.returncode
            ),
            _("Expected a bias field."),
            _("Use the engine medprep, or a larger mask."),
        )
    return tuple(steps)
