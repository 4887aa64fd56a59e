"""Where a batch's cases are worked on: in this process, in processes beside it, or on a Dask cluster.

Each worker gets one case at a time, by name: when it dies, that case and no other is known to have been in
its hands.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import queue
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from ..core.errors import MedPrepError, MissingPackageError
from ..core.i18n import _
from . import case

# Seconds: how often lost workers are looked for, and how long a batch waits when there is none at all.
LOOK = 0.5
PATIENCE = 600.0
# Seconds after which one of our own workers that did not come back is started anew.
RENEW = 5.0


@dataclass(frozen=True)
class Worker:
    """A process that takes one case at a time; `memory` is what its host has for it, 0 where nobody says."""

    address: str
    host: str
    memory: int = 0


class Pool(Protocol):
    """What a batch needs of its workers."""

    def workers(self) -> list[Worker]:
        """Those that are there now."""

    def start(self, worker: Worker, order: Mapping[str, Any]) -> None:
        """Give a worker a case."""

    def wait(self, seconds: float) -> list[tuple[str, dict[str, Any] | None]]:
        """Addresses and outcomes of those that came to an end; None where the worker died over its case."""

    def kill(self) -> None:
        """End the workers that are ours, at once."""


class Here:
    """One case after another in this process."""

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self._cancelled, self._ended = cancelled, []

    def workers(self) -> list[Worker]:
        return [Worker("here", "here")]

    def start(self, worker: Worker, order: Mapping[str, Any]) -> None:
        self._ended.append((worker.address, case.work(order, self._cancelled)))

    def wait(self, seconds: float) -> list[tuple[str, dict[str, Any] | None]]:
        ended, self._ended = self._ended, []
        return ended

    def kill(self) -> None:
        return


class Cluster:
    """The workers of a Dask cluster, ours (``cluster`` given) or one that runs already."""

    def __init__(self, client: Any, cluster: Any = None, wanted: int = 0) -> None:
        self._client, self._cluster, self._wanted = client, cluster, wanted
        self._ended: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._held: dict[str, Any] = {}
        self._known: dict[str, Worker] = {}
        self._looked, self._short = 0.0, time.monotonic()

    def workers(self) -> list[Worker]:
        if time.monotonic() - self._looked > LOOK:
            self._look()
            self._replace_lost()
        return list(self._known.values())

    def _look(self) -> None:
        try:
            there = self._client.nthreads()
            if set(there) != set(self._known):
                self._known = self._ask()
        except (OSError, TimeoutError, ValueError) as error:
            raise MedPrepError(
                _("The Dask scheduler does not answer ({error}).").format(error=error),
                _("Expected it to run until the batch is done."),
                _("Start it again, then go on with --resume; finished cases are safe."),
            ) from error
        self._looked = time.monotonic()

    def _replace_lost(self) -> None:
        """Dask restarts a worker that died, but gives up when that takes long or fails: ask again."""
        if self._cluster is None or len(self._known) >= self._wanted:
            self._short = time.monotonic()
        elif time.monotonic() - self._short > RENEW:
            self._short = time.monotonic()
            self._cluster.scale(self._wanted)

    def _ask(self) -> dict[str, Worker]:
        try:
            facts = self._client.scheduler_info(n_workers=-1)["workers"]
        except TypeError:  # Dask before 2025.2 tells of all
            facts = self._client.scheduler_info()["workers"]
        return {
            address: Worker(address, fact.get("host", address), int(fact.get("memory_limit") or 0))
            for address, fact in sorted(facts.items())
        }

    def start(self, worker: Worker, order: Mapping[str, Any]) -> None:
        future = self._client.submit(
            case.work,
            dict(order),
            workers=[worker.address],
            allow_other_workers=False,
            pure=False,
            key=f"medprep-{order['case']}-{time.monotonic_ns()}",
        )
        self._held[worker.address] = future
        future.add_done_callback(lambda done: self._ended.put((worker.address, done)))

    def wait(self, seconds: float) -> list[tuple[str, dict[str, Any] | None]]:
        ended: list[tuple[str, dict[str, Any] | None]] = []
        with contextlib.suppress(queue.Empty):
            ended = self._outcome(*self._ended.get(timeout=seconds))
            while True:
                ended += self._outcome(*self._ended.get_nowait())
        there = {worker.address for worker in self.workers()}
        for address in set(self._held) - there:
            # The scheduler would give it to the next worker of that name: ours to decide.
            self._held.pop(address).release()
            ended.append((address, None))
        return ended

    def _outcome(self, address: str, future: Any) -> list[tuple[str, dict[str, Any] | None]]:
        if self._held.get(address) is not future:
            return []  # given up already
        del self._held[address]
        return [(address, self._gathered(address, future))]

    def _gathered(self, address: str, future: Any) -> dict[str, Any] | None:
        """What a case came to; None when its worker died, even with the outcome in its hands.

        Dask would wait for ever for that worker to come back and do the case again. It is asked once and
        looked at again and again: each ``future.result(timeout)`` would leave a waiter behind, which ends
        with an exception that nobody takes.
        """
        from distributed import CancelledError, KilledWorker

        loop = self._client.loop.asyncio_loop
        asked = asyncio.run_coroutine_threadsafe(self._client.gather([future], asynchronous=True), loop)
        while not concurrent.futures.wait([asked], LOOK).done:
            self._look()
            if address not in self._known:
                # Ends the question too.
                future.release()
        try:
            return asked.result()[0]
        except (CancelledError, concurrent.futures.CancelledError, KilledWorker):
            return None
        except Exception as error:
            raise MedPrepError(
                _("The worker {address} cannot run MedPrep ({error}).").format(address=address, error=error),
                _("Expected the same MedPrep and packages there."),
                _("Install MedPrep where the workers run, then go on with --resume."),
            ) from error

    def kill(self) -> None:
        for future in self._held.values():
            with contextlib.suppress(Exception):
                future.release()
        self._held.clear()
        # Asking them to end takes Dask seconds; what they had in their hands is safe without.
        for nanny in self._cluster.workers.values() if self._cluster is not None else ():
            with contextlib.suppress(Exception):
                nanny.auto_restart = False
                os.kill(nanny.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)


@contextmanager
def local(workers: int, threads: int) -> Iterator[Cluster]:
    """Processes of our own on this machine; each starts with its number of threads set.

    Raises
    ------
    MissingPackageError
        without Dask.
    """
    dask = _dask()
    from distributed import Client, LocalCluster

    scratch = tempfile.mkdtemp(prefix="medprep-batch-")
    settings = {
        "distributed.worker.use-file-locking": False,
        "distributed.comm.timeouts.connect": "60s",
        "distributed.deploy.lost-worker-timeout": "60s",
        # We look for lost workers ourselves; a worker in a long ITK filter that holds the GIL is not lost.
        "distributed.scheduler.worker-ttl": None,
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": False,
    }
    with _environment(threads), dask.config.set(settings):
        with _deaf_to_interrupts():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                host="127.0.0.1",
                local_directory=scratch,
                silence_logs=50,
            )
            client = Client(cluster, set_as_default=False)
        pool = Cluster(client, cluster, workers)
        try:
            yield pool
        finally:
            pool.kill()
            with _quiet():
                client.close(timeout=5)
                cluster.close(timeout=5)
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def remote(address: str) -> Iterator[Cluster]:
    """An existing cluster, by its scheduler's address (``tcp://host:8786``).

    Raises
    ------
    MedPrepError
        when no scheduler answers there; MissingPackageError without Dask.
    """
    _dask()
    from distributed import Client

    try:
        client = Client(address, timeout=15, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise MedPrepError(
            _("No Dask scheduler answers at {address}.").format(address=address),
            _("Expected tcp://HOST:PORT of a running scheduler."),
            _("Start one with: dask scheduler"),
        ) from error
    pool = Cluster(client)
    try:
        yield pool
    finally:
        pool.kill()
        with _quiet():
            client.close(timeout=5)


def has_dask() -> bool:
    """Whether batches on several processes are possible."""
    import importlib.util

    return importlib.util.find_spec("distributed") is not None


def _dask() -> Any:
    try:
        import dask
        import distributed  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            _("The package dask is not installed."),
            _("Expected it for a batch on several processes or on a cluster."),
            _('Install it with: pip install "dask[distributed]", or give --workers 0.'),
        ) from error
    return dask


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """The thread settings that the processes we start inherit: libraries read them when they load."""
    before = {name: os.environ.get(name) for name in case.THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(before, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started inside do not get the terminal's Ctrl-C: it is for the batch, which ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask tells of closed connections while it ends; nobody needs to know."""
    import logging

    with contextlib.suppress(Exception):
        logger = logging.getLogger("distributed")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)
