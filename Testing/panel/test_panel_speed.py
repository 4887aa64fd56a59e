"""A run in the panel gets the processor, although Slicer's event loop keeps the interpreter's lock."""

from __future__ import annotations

import ctypes
import os
import time

import pytest

from MedPrepCommonLib.core.task import BackgroundTask, Task

# Qt's loop inside Slicer waits in C without letting go of the lock; PyDLL calls do just that.
hold_lock = ctypes.PyDLL(None).usleep if os.name == "posix" else None


def share_of_time(interval: float, patience: float) -> float:
    """Share of the wall time in which a thread may run beside a main loop that ticks every `interval` s."""
    counted = 0

    def work(job):
        nonlocal counted
        while True:
            job.check()
            counted += 1

    nothing = lambda *_: None  # noqa: E731
    run = BackgroundTask(Task("work", work, nothing), nothing, nothing, nothing, nothing)
    run.start()
    begin, held = time.perf_counter(), 0.0
    while (total := time.perf_counter() - begin) < 0.5:
        start = time.perf_counter()
        hold_lock(int(interval * 1e6))
        held += time.perf_counter() - start
        run.poll(patience)
    run.cancel()
    run.wait()
    assert counted
    return 1 - held / total


@pytest.mark.skipif(hold_lock is None, reason="needs the C library's usleep, which Windows lacks")
def test_the_panel_lends_its_time_to_the_run(qtHost):
    from MedPrepCommonLib.panel import panel

    lent = max(share_of_time(panel.POLL_MS / 1000, panel.LENT_SECONDS) for _try in range(3))
    assert lent > 0.6
    # The loop that holds the lock shows the fault: without lending, the thread hardly runs.
    assert min(share_of_time(0.05, 0.0) for _try in range(3)) < 0.4
    assert panel.LENT_SECONDS + panel.POLL_MS / 1000 < 0.1  # a click is answered within 100 ms
