"""Progress and cancel, passed into everything that can take over a second."""

from __future__ import annotations

from collections.abc import Callable

from .errors import Cancelled


class Job:
    """What a running operation knows of its caller: whom to tell how far it is, and whether to stop.

    Parameters
    ----------
    progress : called as ``progress(fraction, message)`` with a fraction in [0, 1].
    cancelled : returns True once the user wants to stop.
    """

    def __init__(
        self,
        progress: Callable[[float, str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self._progress = progress
        self._cancelled = cancelled
        self._start, self._length, self._message = 0.0, 1.0, ""

    @staticmethod
    def quiet() -> Job:
        """A job nobody watches and nobody cancels."""
        return Job()

    def check(self) -> None:
        """Raise :class:`Cancelled` if the caller wants to stop."""
        if self._cancelled is not None and self._cancelled():
            raise Cancelled

    def report(self, fraction: float, message: str = "") -> None:
        """Tell how much of this job is done (0..1); raises :class:`Cancelled` if the caller wants to stop."""
        self.check()
        if self._progress is not None:
            self._message = message or self._message
            whole = self._start + self._length * min(max(fraction, 0.0), 1.0)
            # Rounded, so that the end of one part is not a hair above the start of the next.
            self._progress(round(whole, 9), self._message)

    def part(self, start: float, stop: float, message: str = "") -> Job:
        """A job for the share [start, stop] of this one; its 0..1 maps onto that share."""
        child = Job(self._progress, self._cancelled)
        child._start = self._start + self._length * start
        child._length = self._length * (stop - start)
        child._message = message or self._message
        return child
