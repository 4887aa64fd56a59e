"""Numpy work cut into pieces and shared by a few threads; the answer never depends on how many."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .errors import InputError
from .i18n import _
from .job import Job

# Voxels in a block: its float32 copy fills a 1 MiB second-level cache. Measured best of 2^15 .. 2^19.
BLOCK = 1 << 18

# Slices, or rows of all slices, in a piece of lines.
_LINES = 8

# Memory bandwidth is spent by then; more threads only cost scratch memory.
MOST_WORKERS = 8


def default_workers() -> int:
    """Threads to use: ``MEDPREP_THREADS`` when set (1 in a batch of processes), else the cores, at most 8."""
    wanted = os.environ.get("MEDPREP_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, usable))


class Crew:
    """Threads that share numbered pieces of work; the calling thread is one of them and watches the job.

    Use as a context manager. The caller cuts the pieces, never with regard to the number of threads, so that
    results are the same bytes for any number of threads.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.size = max(1, workers if workers is not None else default_workers())
        self._pool = ThreadPoolExecutor(self.size - 1) if self.size > 1 else None

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def run(self, task: Callable[[int, int], None], count: int, job: Job | None = None) -> None:
        """Call ``task(piece, worker)`` once for each piece in ``range(count)``; worker is in ``range(size)``.

        The first exception (also ``Cancelled`` from `job`) stops the others after their current piece and is
        raised here.
        """
        lock = threading.Lock()
        upcoming = iter(range(count))
        stop = threading.Event()

        def work(worker: int) -> None:
            try:
                while not stop.is_set():
                    with lock:
                        piece = next(upcoming, None)
                    if piece is None:
                        return
                    task(piece, worker)
                    if worker == 0 and job is not None:
                        job.report((piece + 1) / count)
            except BaseException:
                stop.set()
                raise

        helpers = min(self.size, count) - 1
        futures = (
            [self._pool.submit(work, n) for n in range(1, helpers + 1)] if self._pool is not None else []
        )
        try:
            work(0)
        finally:
            failures = [failure for future in futures if (failure := future.exception()) is not None]
        if failures:
            raise failures[0]


def along_axis(values: np.ndarray, axis: int, task: Callable[[np.ndarray], None], job: Job) -> None:
    """Call ``task(part)`` with pieces of a volume (k, j, i) that hold whole lines along `axis`."""
    across = 1 if axis == 0 else 0
    count = values.shape[across]

    def piece(number: int, worker: int) -> None:
        span = slice(number * _LINES, min((number + 1) * _LINES, count))
        task(values[:, span] if across else values[span])

    with Crew() as crew:
        crew.run(piece, -(-count // _LINES), job)


def real_array(array: np.ndarray) -> np.ndarray:
    """The array itself (bool as uint8); :class:`InputError` unless its values are real numbers."""
    array = np.asarray(array)
    if array.dtype == bool:
        return array.view(np.uint8)
    if array.dtype.kind not in "iuf":
        raise InputError(
            _("The image has {type} values.").format(type=array.dtype),
            _("Expected integer or floating-point values."),
        )
    return array


def memory_views(*arrays: np.ndarray) -> list[np.ndarray]:
    """Views of equally shaped arrays, axes in the first one's memory order; flat if that needs no copy."""
    first = arrays[0]
    order = sorted(range(first.ndim), key=lambda axis: -abs(first.strides[axis]))
    views = [array.transpose(order) for array in arrays]
    if all(view.flags.c_contiguous for view in views):
        return [view.reshape(-1) for view in views]
    return views


def block_indices(shape: tuple[int, ...], size: int = BLOCK) -> list[tuple]:
    """Indices that cut an array of this shape into consecutive blocks of at most about `size` elements."""
    if 0 in shape:
        return []
    if not shape:
        return [()]
    axis, inner = len(shape) - 1, 1
    while axis > 0 and inner * shape[axis] <= size:
        inner *= shape[axis]
        axis -= 1
    step = max(1, size // inner)
    spans = [slice(start, min(start + step, shape[axis])) for start in range(0, shape[axis], step)]
    return [(*lead, span) for lead in itertools.product(*map(range, shape[:axis])) for span in spans]
