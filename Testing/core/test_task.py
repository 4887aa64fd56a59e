"""The job contract: one path for blocking and background runs, and nothing written after a cancel."""

import threading
import time

import pytest

from MedPrepCommonLib.core.errors import Cancelled, InputError, MedPrepError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.task import BackgroundTask, Task, as_medprep_error


class Listener:
    """Remembers everything a BackgroundTask reports, with the thread it came from."""

    def __init__(self):
        self.events = []

    def __getattr__(self, kind):
        def note(*values):
            self.events.append((kind, values, threading.current_thread() is threading.main_thread()))

        return note

    def kinds(self):
        return [kind for kind, _values, _main in self.events if kind != "progress"]


def background(task):
    listener = Listener()
    run = BackgroundTask(task, listener.progress, listener.done, listener.failed, listener.stopped)
    return run, listener


def count_up(job):
    for n in range(5):
        job.report(n / 5, f"step {n}")
    return 42


def test_blocking_run_computes_then_writes():
    seen = []
    task = Task("count", count_up, lambda outcome: outcome + 1)
    assert task.run(Job(progress=lambda f, m: seen.append((f, m)))) == 43
    assert [f for f, _m in seen] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_blocking_run_writes_nothing_once_cancelled():
    written, stop = [], []

    def compute(job):
        stop.append(True)
        return 1

    with pytest.raises(Cancelled):
        Task("late cancel", compute, written.append).run(Job(cancelled=lambda: bool(stop)))
    assert written == []


def test_background_run_writes_on_the_polling_thread():
    threads = []

    def write(outcome):
        threads.append(threading.current_thread())
        return outcome

    run, listener = background(Task("count", count_up, write))
    run.start()
    run.wait(10)
    assert threads == [threading.main_thread()]
    assert listener.kinds() == ["done"]
    assert all(main for _kind, _values, main in listener.events)
    assert run.outcome == 42 and run.finished and run.poll() is False


def test_cancel_stops_within_a_second_and_writes_nothing():
    written = []

    def forever(job):
        while True:
            job.check()
            time.sleep(0.01)

    run, listener = background(Task("forever", forever, written.append))
    run.start()
    assert run.poll() is True
    began = time.monotonic()
    run.cancel()
    run.wait(10)
    assert time.monotonic() - began < 1.0
    assert written == [] and listener.kinds() == ["stopped"]


def test_cancel_between_computing_and_writing_drops_the_outcome():
    written = []
    run, listener = background(Task("count", count_up, written.append))
    run.start()
    run._thread.join()
    run.cancel()
    run.poll()
    assert written == [] and listener.kinds() == ["stopped"]


@pytest.mark.parametrize("part", ["compute", "write"])
def test_errors_reach_the_owner_as_medprep_errors(part):
    def fail(_anything):
        raise InputError("bad", "good", "do")

    def fine(anything):
        return anything

    run, listener = background(Task("x", *((fail, fine) if part == "compute" else (fine, fail))))
    run.start()
    run.wait(10)
    kind, (error,), _main = listener.events[-1]
    assert kind == "failed" and (error.wrong, error.expected, error.advice) == ("bad", "good", "do")


@pytest.mark.parametrize("error", [MemoryError(), ZeroDivisionError("division by zero")])
def test_unexpected_errors_get_words_and_keep_their_cause(error):
    told = as_medprep_error(error)
    assert isinstance(told, MedPrepError) and told.wrong and told.advice and told.__cause__ is error


def test_job_parts_nest_and_clamp():
    seen = []
    job = Job(progress=lambda fraction, message: seen.append((fraction, message)))
    inner = job.part(0.5, 1.0, "outer").part(0.0, 0.5)
    inner.report(0.5)
    inner.report(7.0, "late")
    assert seen == [(pytest.approx(0.625), "outer"), (pytest.approx(0.75), "late")]
