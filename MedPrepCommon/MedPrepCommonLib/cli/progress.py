"""What the command line shows while it works, and how Ctrl-C reaches the work."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from ..core.i18n import _
from ..core.job import Job


@contextmanager
def watched(title: str, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Job]:
    """A job with a progress bar on stderr (plain lines when that is no terminal) that Ctrl-C cancels.

    The first Ctrl-C (or SIGTERM) lets the work stop at its next check, with nothing written; a second one
    interrupts at once.
    """
    stream = stream or sys.stderr
    with _interruptible(stream, quiet) as stop:
        if quiet:
            yield Job(cancelled=stop.is_set)
        elif stream.isatty():
            with _bar(title) as progress:
                yield Job(progress, stop.is_set)
        else:
            yield Job(_Lines(stream), stop.is_set)


class _Lines:
    """Progress for logs: a line whenever the work says something new."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._last = stream, ""

    def __call__(self, fraction: float, message: str) -> None:
        if message and message != self._last:
            self._last = message
            print(f"[{100 * fraction:3.0f} %] {message}", file=self._stream, flush=True)


@contextmanager
def _bar(title: str) -> Iterator:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}", style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=1.0, message="")

        def show(fraction: float, message: str) -> None:
            progress.update(task, completed=fraction, message=message)

        yield show


@contextmanager
def _interruptible(stream: TextIO, quiet: bool) -> Iterator[threading.Event]:
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        if not quiet:
            print(_("Stopping ..."), file=stream, flush=True)

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
