"""One path for every run: read nodes, compute anywhere, write nodes. Used blocking and in the background.

Reading and writing touch the scene and belong to the main thread; computing is pure and may run in a worker
thread. Nothing is written after a cancel.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import Cancelled, MedPrepError
from .i18n import _
from .job import Job


@dataclass(frozen=True)
class Task:
    """Work whose inputs have been read already.

    Parameters
    ----------
    title : what the user is told.
    compute : pure; takes a :class:`Job`, returns what `write` takes. May run in any thread.
    write : puts the outcome into the scene and returns the new nodes. Main thread only.
    """

    title: str
    compute: Callable[[Job], Any]
    write: Callable[[Any], Any]

    def run(self, job: Job | None = None) -> Any:
        """Compute and write, blocking; returns what `write` returns."""
        job = job or Job.quiet()
        outcome = self.compute(job)
        job.check()
        return self.write(outcome)


class BackgroundTask:
    """Runs a :class:`Task` in a thread; the owner calls :meth:`poll` from a timer on the main thread.

    Exactly one of `done`, `failed` or `stopped` is called, from :meth:`poll`.

    Parameters
    ----------
    task : the work.
    progress : called as ``progress(fraction, message)``.
    done : called with what the task's `write` returned.
    failed : called with the :class:`MedPrepError` that ended it.
    stopped : called after a cancel.
    """

    def __init__(
        self,
        task: Task,
        progress: Callable[[float, str], None],
        done: Callable[[Any], None],
        failed: Callable[[MedPrepError], None],
        stopped: Callable[[], None],
    ) -> None:
        self.task = task
        self._progress, self._done, self._failed, self._stopped = progress, done, failed, stopped
        self._cancel = threading.Event()
        self._latest: tuple[float, str] | None = None
        #: What `compute` returned, once it has.
        self.outcome: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._compute, name=f"MedPrep {task.title}", daemon=True)
        self.finished = False

    def start(self) -> None:
        """Begin computing."""
        self._thread.start()

    def cancel(self) -> None:
        """Ask the computation to stop; whatever it still returns is dropped."""
        self._cancel.set()

    def wait(self, seconds: float | None = None) -> None:
        """Block until the computation has ended (or `seconds` have passed), then poll once."""
        self._thread.join(seconds)
        self.poll()

    def poll(self, patience: float = 0.0) -> bool:
        """Hand over progress or the end of the work; True while there is more to wait for.

        `patience` (seconds) is for which the caller lends its thread's time to the work before it looks: in
        Slicer's window Qt's event loop keeps the interpreter's lock while it waits for events, so that the
        thread only runs while Python on the main thread waits here.
        """
        if self.finished:
            return False
        if patience > 0:
            self._thread.join(patience)
        running = self._thread.is_alive()
        latest, self._latest = self._latest, None
        if latest is not None and not self._cancel.is_set():
            self._progress(*latest)
        if running:
            return True
        self.finished = True
        self._end()
        return False

    def _compute(self) -> None:
        def remember(fraction: float, message: str) -> None:
            self._latest = (fraction, message)

        try:
            self.outcome = self.task.compute(Job(remember, self._cancel.is_set))
        except BaseException as error:  # carried to the main thread, where poll() reports it
            self._error = error

    def _end(self) -> None:
        if self._cancel.is_set() or isinstance(self._error, Cancelled):
            self._stopped()
            return
        if self._error is not None:
            self._failed(as_medprep_error(self._error))
            return
        try:
            nodes = self.task.write(self.outcome)
        except Exception as error:
            self._failed(as_medprep_error(error))
            return
        self._done(nodes)


def as_medprep_error(error: BaseException) -> MedPrepError:
    """`error` itself when it is a :class:`MedPrepError`, else one that says the same without a traceback."""
    if isinstance(error, MedPrepError):
        return error
    if isinstance(error, MemoryError):
        wrong = MedPrepError(
            _("There is not enough memory for this image."),
            advice=_("Close other volumes, crop the image, or choose a coarser spacing."),
        )
    else:
        wrong = MedPrepError(
            _("An unexpected error occurred: {type}: {text}.").format(type=type(error).__name__, text=error),
            advice=_("Please report it with the steps that led to it; nothing was changed in the scene."),
        )
    wrong.__cause__ = error
    return wrong
