"""A recipe on many cases: nothing lost, nothing half-written, nothing done twice.

:func:`run` is the one path behind ``medprep batch``, ``MedPrepCommonLogic().runBatch`` and the panel. Workers
read and write files (:mod:`MedPrepCommonLib.batch.case`); this process hands out cases, keeps the books and
decides what to do about a worker that died.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..cases.table import Case
from ..core import input_checks, provenance
from ..core.errors import Cancelled, FileError, MedPrepError, ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.recipe import Recipe
from . import (
    fit,
    report,
)
from . import (
    folder as batchfolder,
)
from . import (
    memory as batchmemory,
)
from . import (
    pool as batchpool,
)
from . import (
    records as batchrecords,
)
from .folder import BatchFolder
from .pool import Here, Pool, Worker
from .records import Events, Summary

# How often a case is tried again when its worker died.
RETRIES = 2


@dataclass(frozen=True)
class Plan:
    """How a batch runs; none of it changes a result, except what is written (`scene`, `page`).

    Parameters
    ----------
    workers : processes; 0 works in this process; None takes as many as the cores allow.
    threads : threads of each worker's libraries; None shares the cores out.
    memory : bytes that all workers of one machine may use together; None takes 80 % of what is free.
    scheduler : address of a running Dask scheduler; "" starts processes on this machine.
    resume : go on with a batch that is in the output folder already.
    fail_fast : begin no further case after the first that failed.
    scene : write ``scene.mrb`` and ``.seg.nrrd`` for each case.
    page : write ``report.html`` with pictures for each case.
    accept : ids of input checks in spite of which a case goes on, as ``("missing-slices",)``.
    """

    workers: int | None = None
    threads: int | None = None
    memory: int | None = None
    scheduler: str = ""
    resume: bool = False
    fail_fast: bool = False
    scene: bool = False
    page: bool = False
    accept: tuple[str, ...] = ()


def run(
    recipe: Recipe,
    cases: Mapping[str, Case],
    out: str | os.PathLike[str],
    plan: Plan | None = None,
    job: Job | None = None,
) -> Summary:
    """Run a recipe on cases (by the name that they have in the output) and write all results under `out`.

    Raises
    ------
    MedPrepError
        when the batch cannot begin or cannot go on (no space, no rights, scheduler gone); what is finished
        stays and :attr:`Plan.resume` goes on with it.
    Cancelled
        when the job was cancelled; as above.
    """
    plan, job = plan or Plan(), job or Job.quiet()
    input_checks.require_known(plan.accept)
    if not cases:
        raise ParameterError(_("There are no cases."), _("Expected at least one."))
    if fit.unfitted(recipe) and not any(case.split == "train" for case in cases.values()):
        raise ParameterError(
            _("Recipe {name} learns from training cases, and there are none.").format(name=recipe.name),
            _("Expected a column split with train, val or test for each case."),
            _("Make splits with: medprep split CASES --out FILE"),
        )
    folder = BatchFolder(out)
    _require_apart(cases, folder)
    folder.prepare(plan.resume)
    with folder.held(), _pool(plan, job) as (pool, threads):
        work = _Batch(cases, folder, plan, pool, threads, Events(folder.root))
        try:
            return work.all(recipe, job)
        except (Cancelled, KeyboardInterrupt):
            (folder.root / batchfolder.STOP).touch()
            work.let_end(5.0)
            raise
        finally:
            folder.sweep()


def _require_apart(cases: Mapping[str, Case], folder: BatchFolder) -> None:
    """Results never lie where inputs are looked for: a resumed batch would take them for new ones."""
    root, real = os.path.join(folder.root, ""), functools.cache(os.path.realpath)
    for name, case in cases.items():
        for path in case.inputs.values():
            given = os.path.join(real(os.path.dirname(os.path.abspath(path))), os.path.basename(path))
            if given.startswith(root) or (root.startswith(os.path.join(given, "")) and os.path.isdir(given)):
                raise ParameterError(
                    _("The output folder {out} and an image of case {case!r} lie in one another.").format(
                        out=folder.root, case=name
                    ),
                    _("Expected results apart from the images they are made from."),
                    _("Choose an --out beside the folder of the images."),
                )


class _Outcomes(dict[str, dict[str, Any]]):
    """What came of each case, and how many failed; each is added once."""

    failed = 0

    def __setitem__(self, name: str, outcome: dict[str, Any]) -> None:
        self.failed += outcome["status"] in FAILED
        super().__setitem__(name, outcome)


@dataclass
class _Batch:
    cases: Mapping[str, Case]
    folder: BatchFolder
    plan: Plan
    pool: Pool
    threads: int
    events: Events
    busy: dict[str, tuple[Worker, str, int]] = field(default_factory=dict)
    estimates: dict[str, int] = field(default_factory=dict)
    heavier: float = 1.0  # how much more memory cases took than was estimated
    free: int = field(default_factory=lambda: int(0.8 * batchmemory.available()))
    seen: float = field(default_factory=time.monotonic)  # when there last was a worker

    def all(self, recipe: Recipe, job: Job) -> Summary:
        """Fit what has to be fitted, then run every case; the records are written however it ends."""
        fits: list[dict[str, Any]] = []
        outcomes = _Outcomes()
        try:
            try:
                recipe = self._fitted(recipe, fits, job)
                batchfolder.write_json(self.folder.root / "recipe.json", recipe.to_json())
                self._pass(recipe, list(self.cases), "", job.part(0.3 if fits else 0.0, 1.0), outcomes)
            except BaseException:
                # What stopped the batch matters more than records that cannot be written.
                with contextlib.suppress(OSError, FileError):
                    self._write_records(recipe, outcomes, fits)
                raise
            return self._write_records(recipe, outcomes, fits)
        except OSError as error:
            raise batchfolder.cannot_write(self.folder.root, error) from error

    def _fitted(self, recipe: Recipe, fits: list[dict[str, Any]], job: Job) -> Recipe:
        """The recipe with every step fitted to the training cases; adds to `fits` what was learned."""
        training = [name for name, case in self.cases.items() if case.split == "train"]
        while (step := fit.unfitted(recipe)) is not None:
            self.folder.measured(step.id, "x").parent.mkdir(parents=True, exist_ok=True)
            outcomes = _Outcomes()
            start = 0.3 - 0.3 * 0.5 ** len(fits)
            part = job.part(start, (start + 0.3) / 2, step.op.operation.title)
            self._pass(recipe, training, step.id, part, outcomes)
            used = sorted(name for name, o in outcomes.items() if o["status"] not in FAILED)
            records = [batchfolder.read_json(self.folder.measured(step.id, name)) for name in used]
            recipe, values = fit.fitted(recipe, step, [r["measured"] for r in records if r])
            fits.append({"step": step.id, "cases": used, "values": values})
        return recipe

    def _write_records(
        self, recipe: Recipe, outcomes: Mapping[str, Mapping[str, Any]], fits: Sequence[Mapping[str, Any]]
    ) -> Summary:
        summary = batchrecords.write(self.folder, recipe, self.cases, outcomes, fits, self._options())
        report.make(self.folder.root)
        return summary

    def _pass(
        self,
        recipe: Recipe,
        names: Sequence[str],
        measure: str,
        job: Job,
        outcomes: _Outcomes,
    ) -> None:
        """Every case once, or with `measure` what that step measures in it; adds to `outcomes`."""
        last = self.events.interrupted()
        # What was in a worker's hands when a batch died comes last: should it have been the reason, the
        # others are done by then.
        waiting = deque([n for n in names if n not in last] + [n for n in names if n in last])
        record, deaths = recipe.to_json(), Counter[str]()
        self._tell(job, outcomes, len(names))
        while waiting or self.busy:
            job.check()
            stopped = self.plan.fail_fast and outcomes.failed > 0
            if stopped and not self.busy:
                break
            if not stopped:
                self._hand_out(waiting, recipe, record, measure, outcomes)
            for address, outcome in self.pool.wait(0.2):
                _worker, name, _estimate = self.busy.pop(address)
                if outcome is None:
                    self._lost(name, deaths, waiting, outcomes)
                else:
                    self._ended(name, outcome, outcomes, measure)
                self._tell(job, outcomes, len(names))

    def _hand_out(
        self,
        waiting: deque[str],
        recipe: Recipe,
        record: Mapping[str, Any],
        measure: str,
        outcomes: _Outcomes,
    ) -> None:
        """Give each free worker the next case, as far as the memory of its machine goes."""
        workers = self._workers()
        for worker in workers:
            if not waiting:
                return
            if worker.address in self.busy:
                continue
            name = waiting[0]
            if name not in self.estimates:
                paths = self.cases[name].inputs.values()
                self.estimates[name] = batchmemory.estimate(paths, recipe, self.plan.scene)
            estimate = int(self.estimates[name] * self.heavier)
            if self.plan.memory and estimate > self.plan.memory:
                outcomes[waiting.popleft()] = self._failed(
                    name, batchmemory.too_large(estimate, self.plan.memory)
                )
                continue
            used = sum(size for other, _name, size in self.busy.values() if other.host == worker.host)
            # Alone it may try, whatever the estimate says: only --memory is a promise to somebody.
            if used and used + estimate > self._limit(worker.host, workers):
                continue
            waiting.popleft()
            self.busy[worker.address] = (worker, name, estimate)
            self.events.add("started", name, worker=worker.address, estimate=estimate)
            self.pool.start(worker, self._order(name, record, recipe, measure))

    def _workers(self) -> list[Worker]:
        """Those that are there; an error when there has been none for long."""
        workers = self.pool.workers()
        if workers:
            self.seen = time.monotonic()
        elif time.monotonic() - self.seen > batchpool.PATIENCE:
            raise MedPrepError(
                _("There has been no worker for {n:.0f} minutes.").format(n=batchpool.PATIENCE / 60),
                _("Expected at least one."),
                _("Start workers, then go on with --resume; finished cases are safe."),
            )
        return workers

    def _limit(self, host: str, workers: Sequence[Worker]) -> int:
        if self.plan.memory:
            return self.plan.memory
        named = sum(w.memory for w in workers if w.host == host)
        return named or (1 << 62 if self.plan.scheduler else self.free)

    def _options(self) -> dict[str, bool]:
        return {"scene": self.plan.scene, "page": self.plan.page}

    def _order(self, name: str, record: Mapping[str, Any], recipe: Recipe, measure: str) -> dict[str, Any]:
        case = self.cases[name]
        labels = {i.name for i in recipe.inputs if i.labels}
        return {
            "case": name,
            "folder": str(self.folder.root),
            "recipe": record,
            "measure": measure,
            "inputs": {
                key: {"path": path, "series": case.series.get(key, ""), "labels": key in labels}
                for key, path in case.inputs.items()
            },
            "options": self._options(),
            "accept": list(self.plan.accept),
            "threads": self.threads,
            "versions": provenance.versions(),
            "failure": self.folder.read_failure(name),
            "secrets": [s for s in {case.patient, case.id} - {name} if s],
        }

    def _ended(self, name: str, outcome: dict[str, Any], outcomes: _Outcomes, measure: str) -> None:
        facts = {key: outcome.get(key) for key in ("host", "process", "seconds", "peak")}
        self.events.add(outcome["status"], name, **facts)
        if outcome["status"] == "cancelled":
            raise Cancelled
        if outcome["status"] == "stop":
            raise MedPrepError(*(outcome["error"][key] for key in ("wrong", "expected", "advice")))
        # A case that cannot be measured fails again when it is run: that is when it is remembered.
        if outcome["status"] == "failed" and not measure:
            self._remember(name, outcome)
        elif outcome["status"] not in FAILED and not measure:
            self.folder.forget_failure(name)
        self.heavier = max(self.heavier, outcome["peak"] / max(self.estimates[name], 1))
        outcomes[name] = outcome

    def _lost(self, name: str, deaths: Counter[str], waiting: deque[str], outcomes: _Outcomes) -> None:
        self.folder.sweep(name)
        deaths[name] += 1
        self.events.add("lost", name, times=deaths[name])
        if deaths[name] <= RETRIES:
            waiting.append(name)
            return
        outcomes[name] = self._failed(
            name,
            MedPrepError(
                _("The worker process died {n} times over this case.").format(n=deaths[name]),
                _("Expected it to end, well or with an error."),
                _("It may need more memory than there is: give a worker more, or crop the image."),
            ),
        )

    def _failed(self, name: str, error: MedPrepError) -> dict[str, Any]:
        """A failure that no worker reported; the next batch tries again."""
        words = {"kind": type(error).__name__, "wrong": error.wrong, "expected": error.expected}
        outcome = {"status": "failed", "error": {**words, "advice": error.advice}, "lasting": False}
        self.events.add("failed", name)
        self._remember(name, outcome)
        return outcome

    def _remember(self, name: str, outcome: Mapping[str, Any]) -> None:
        kept = {k: outcome[k] for k in ("error", "lasting", *batchfolder.COMPARED) if k in outcome}
        record = {"schema": "medprep-failure", "version": 1, "case": name, **kept}
        self.folder.remember_failure(name, record)

    def _tell(self, job: Job, outcomes: _Outcomes, total: int) -> None:
        text = _("{done} of {total} cases, {failed} failed").format(
            done=len(outcomes), total=total, failed=outcomes.failed
        )
        job.report(len(outcomes) / max(total, 1), text)

    def let_end(self, seconds: float) -> None:
        """Give what is under way a moment to notice the cancel and clear its drafts away."""
        end = time.monotonic() + seconds
        while self.busy and time.monotonic() < end:
            for address, outcome in self.pool.wait(0.1):
                _worker, name, _estimate = self.busy.pop(address)
                self.events.add(outcome["status"] if outcome else "lost", name)
        self.pool.kill()


FAILED = ("failed", "refused")


@contextmanager
def _pool(plan: Plan, job: Job) -> Iterator[tuple[Pool, int]]:
    """The workers that a plan asks for, and the threads of each (0: leave them)."""
    if plan.scheduler:
        with batchpool.remote(plan.scheduler) as pool:
            yield pool, plan.threads or 1
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = plan.workers
    if wanted is None:
        wanted = max(1, cores // (plan.threads or 1)) if batchpool.has_dask() else 0
    if wanted == 0 or (wanted == 1 and not batchpool.has_dask()):
        yield Here(_cancelled(job)), plan.threads or 0
        return
    threads = plan.threads or max(1, cores // wanted)
    with batchpool.local(wanted, threads) as pool:
        yield pool, threads


def _cancelled(job: Job) -> Any:
    def asked() -> bool:
        try:
            job.check()
        except Cancelled:
            return True
        return False

    return asked
