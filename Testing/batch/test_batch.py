"""Batches: every case done or reported, nothing half-written, nothing done twice, whatever dies meanwhile."""

from __future__ import annotations

import csv
import gc
import json
import os
import random
import re
import shutil
import signal
import time
from pathlib import Path

import batchfiles
import psutil
import pytest
import tinyops
from batchfiles import events, finish, medprep, start, tree
from typer.testing import CliRunner

from MedPrepCommonLib.batch import folder as batchfolder
from MedPrepCommonLib.batch import memory, running
from MedPrepCommonLib.cases.table import Case
from MedPrepCommonLib.cli import app
from MedPrepCommonLib.core import recipe as recipes
from MedPrepCommonLib.core import runner
from MedPrepCommonLib.core.errors import Cancelled, FileError, MedPrepError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.files.reading import read_volume
from MedPrepCommonLib.outputs import writing

BROKEN = {2: "truncated", 4: "NaN", 6: "modality", 8: "missing", 10: "empty"}
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")


@pytest.fixture(autouse=True, scope="module")
def _tiny_operations():
    with tinyops.registered():
        yield


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 cases of which 5 are broken, and recipes."""
    folder = tmp_path_factory.mktemp("desk")
    batchfiles.cases(folder / "data", 12, BROKEN)
    batchfiles.quick(folder)
    batchfiles.slow(folder)
    return folder


@pytest.fixture(scope="module")
def env(desk: Path) -> dict[str, str]:
    return batchfiles.environment(desk)


@pytest.fixture(scope="module")
def undisturbed(desk: Path) -> dict[str, bytes]:
    """The output tree of the slow recipe, made in one process without any trouble."""
    assert here(*order(desk, "slow.json"), "--out", desk / "undisturbed", "-w", 0)[0] == 3
    return tree(desk / "undisturbed")


def order(desk: Path, recipe: str = "quick.json") -> list[object]:
    return ["batch", desk / recipe, desk / "data" / "cases.csv", "--quiet"]


def plain(folder: Path, count: int = 3, **changes: Path) -> dict[str, Case]:
    """Cases as the library takes them."""
    batchfiles.cases(folder, count)
    paths = {f"case-{n:03d}": folder / f"case-{n:03d}.nii.gz" for n in range(count)}
    return {name: Case(name, {"image": str(path)}) for name, path in {**paths, **changes}.items()}


def here(*arguments: object) -> tuple[int, str]:
    """Run ``medprep`` in this process: exit code and stdout."""
    result = CliRunner().invoke(app.app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout


def done(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "cases").iterdir() if not p.name.startswith("."))


# What is done and what is reported


@pytest.fixture(scope="module")
def finished(desk: Path) -> Path:
    """A batch in two processes over, with its exit code as tested."""
    code, out, err = medprep(
        "batch", desk / "quick.json", desk / "data" / "cases.csv", "--out", desk / "q", "-w", 2
    )
    assert code == 3, err
    assert "quick: 7 of 12 cases done, 5 failed." in out and "[100 %] 12 of 12 cases, 5 failed" in err
    return desk / "q"


def test_broken_cases_are_reported_and_the_others_done(finished: Path) -> None:
    rows = {row["case"]: row for row in csv.DictReader((finished / "batch.csv").read_text().splitlines())}
    assert sorted(rows) == [f"case-{n:03d}" for n in range(12)]
    failed = {int(name[-3:]): row for name, row in rows.items() if row["status"] == "failed"}
    assert set(failed) == set(BROKEN)
    words = {2: "damaged", 4: "NaN", 6: "modality is MR", 8: "There is no file", 10: "0 bytes"}
    wrong = {n: row["error"] for n, row in failed.items() if words[n] not in row["error"]}
    assert not wrong
    assert done(finished) == sorted(set(rows) - {f"case-{n:03d}" for n in BROKEN})
    record = json.loads((finished / "batch.json").read_text())
    assert record["counts"] == {"done": 7, "failed": 5}
    assert record["cases"]["case-000"]["verdict"] == "pass"


def test_a_case_is_what_a_run_of_its_own_writes(desk: Path, finished: Path, tmp_path: Path) -> None:
    image = desk / "data" / "case-003.nii.gz"
    code, _out = here("run", desk / "quick.json", "-i", f"image={image}", "-o", tmp_path / "one")
    assert code == 0
    for name in ("image.nii.gz", "qc.json", "provenance.json", "recipe.json"):
        assert (finished / "cases" / "case-003" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_no_name_no_path_no_patient_leaves_the_cases_file(desk: Path, finished: Path) -> None:
    for name, content in tree(finished).items():
        # Pictures inside the page are letters by chance.
        content = re.sub(rb"base64,[^\"]*", b"", content)
        for secret in (b"Doe", b"Jane", str(desk).encode(), b"/tmp/", b"nii.gz"):
            # A result's own file name is no secret.
            assert secret not in content.replace(b"image.nii.gz", b""), (name, secret)
    log = (finished / "log" / "events.jsonl").read_text()
    assert "Doe" not in log and str(desk) not in log


def test_resuming_computes_nothing_again(desk: Path, finished: Path) -> None:
    before, stamps = tree(finished), {p: p.stat().st_mtime_ns for p in finished.rglob("cases/*/*")}
    begun = len(events(finished, "done"))
    code, out = here(*order(desk)[:-1], "--out", finished, "-w", 0, "--resume")
    assert code == 3 and "12 were as an earlier run left them." in out
    assert tree(finished) == before and len(events(finished, "done")) == begun
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("cases/*/*")} == stamps


def test_one_process_and_many_write_the_same_bytes(desk: Path, finished: Path, tmp_path: Path) -> None:
    assert here(*order(desk), "--out", tmp_path / "one", "-w", 0)[0] == 3
    assert tree(tmp_path / "one") == tree(finished)


def test_all_done_is_exit_code_0(tmp_path: Path) -> None:
    batchfiles.cases(tmp_path / "data", 2)
    batchfiles.quick(tmp_path)
    assert here(*order(tmp_path), "--out", tmp_path / "out", "-w", 0)[0] == 0


def test_scenes_and_reports_are_written_when_asked_for(tmp_path: Path) -> None:
    cases, plan = plain(tmp_path / "data", 2), recipes.load(batchfiles.quick(tmp_path))
    for workers in (0, 1):
        how = running.Plan(workers=workers, scene=True, page=True)
        assert running.run(plan, cases, tmp_path / str(workers), how).complete
    written = tree(tmp_path / "0")
    assert {"cases/case-001/scene.mrb", "cases/case-001/report.html"} <= set(written)
    assert written == tree(tmp_path / "1")
    again = running.run(plan, cases, tmp_path / "0", running.Plan(0, resume=True, scene=True, page=True))
    assert again.kept == 2
    plainer = running.run(plan, cases, tmp_path / "0", running.Plan(0, resume=True))
    assert plainer.kept == 0 and "cases/case-001/scene.mrb" not in tree(tmp_path / "0")


# What changed is done again


def test_what_changed_is_done_again_and_nothing_else(tmp_path: Path) -> None:
    cases, plan = plain(tmp_path / "data", 4), recipes.load(batchfiles.quick(tmp_path))
    out = tmp_path / "out"
    first = running.run(plan, cases, out, running.Plan(workers=0))
    assert first.complete and first.kept == 0
    writing.write_nifti(tinyops.image(99), tmp_path / "data" / "case-001.nii.gz")
    (out / "cases" / "case-002" / "image.nii.gz").write_bytes(b"damaged")
    (out / "cases" / "case-003" / "done.json").write_bytes(b"")
    again = running.run(plan, cases, out, running.Plan(workers=0, resume=True))
    assert again.complete and again.kept == 1
    assert [e["case"] for e in events(out, "done")][4:] == ["case-001", "case-002", "case-003"]
    fresh = running.run(plan, cases, tmp_path / "fresh", running.Plan(workers=0))
    assert fresh.complete and tree(out) == tree(tmp_path / "fresh")


def test_another_recipe_does_all_again(tmp_path: Path) -> None:
    cases, plan = plain(tmp_path / "data", 2), recipes.load(batchfiles.quick(tmp_path))
    running.run(plan, cases, tmp_path / "out", running.Plan(workers=0))
    changed = plan.with_settings({"normalize.range": "[-1, 1]"})
    assert running.run(changed, cases, tmp_path / "out", running.Plan(workers=0, resume=True)).kept == 0
    running.run(changed, cases, tmp_path / "fresh", running.Plan(workers=0))
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_a_case_that_fails_now_loses_its_old_result_and_gets_it_back(tmp_path: Path) -> None:
    cases, plan = plain(tmp_path / "data", 2), recipes.load(batchfiles.quick(tmp_path))
    out, image = tmp_path / "out", tmp_path / "data" / "case-001.nii.gz"
    running.run(plan, cases, out, running.Plan(workers=0))
    before, whole = tree(out), image.read_bytes()
    image.write_bytes(whole[:500])
    broken = running.run(plan, cases, out, running.Plan(workers=0, resume=True))
    assert list(broken.failed) == ["case-001"] and done(out) == ["case-000"]
    image.write_bytes(whole)
    assert running.run(plan, cases, out, running.Plan(workers=0, resume=True)).complete
    assert tree(out) == before


def test_results_that_somebody_added_to_are_not_thrown_away(tmp_path: Path) -> None:
    cases, plan = plain(tmp_path / "data", 1), recipes.load(batchfiles.quick(tmp_path))
    out = tmp_path / "out"
    running.run(plan, cases, out, running.Plan(workers=0))
    (out / "cases" / "case-000" / "notes.txt").write_text("mine")
    changed = plan.with_settings({"normalize.range": "[-1, 1]"})
    found = running.run(changed, cases, out, running.Plan(workers=0, resume=True))
    assert "holds files that MedPrep did not write" in found.failed["case-000"]["wrong"]
    assert (out / "cases" / "case-000" / "notes.txt").read_text() == "mine"


# The folder


def test_an_existing_folder_needs_resume_and_a_strange_one_is_refused(tmp_path: Path) -> None:
    cases, plan = plain(tmp_path / "data", 1), recipes.load(batchfiles.quick(tmp_path))
    running.run(plan, cases, tmp_path / "out", running.Plan(workers=0))
    with pytest.raises(FileError, match="--resume"):
        running.run(plan, cases, tmp_path / "out", running.Plan(workers=0))
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "notes.txt").write_text("mine")
    before = tree(tmp_path / "strange")
    for resume in (False, True):
        with pytest.raises(FileError, match="no batch wrote"):
            running.run(plan, cases, tmp_path / "strange", running.Plan(workers=0, resume=resume))
    assert tree(tmp_path / "strange") == before


def test_two_batches_do_not_work_in_one_folder(tmp_path: Path) -> None:
    cases, plan = plain(tmp_path / "data", 1), recipes.load(batchfiles.quick(tmp_path))
    folder = batchfolder.BatchFolder(tmp_path / "out")
    folder.prepare(False)
    with folder.held(), pytest.raises(FileError, match="Another batch"):
        running.run(plan, cases, tmp_path / "out", running.Plan(workers=0, resume=True))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_a_clear_stop(tmp_path: Path) -> None:
    cases, plan = plain(tmp_path / "data", 1), recipes.load(batchfiles.quick(tmp_path))
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(FileError, match="cannot write"):
        running.run(plan, cases, tmp_path / "locked" / "out", running.Plan(workers=0))


@posix
def test_a_full_disk_is_a_clear_stop_and_goes_on_later(tmp_path: Path, env: dict[str, str]) -> None:
    """As a full disk does, a limit on the size of files makes writing end in an OSError."""
    batchfiles.cases(tmp_path / "data", 3)
    batchfiles.quick(tmp_path)
    limited = tmp_path / "limited"
    limited.mkdir()
    text = (
        "import errno, os, MedPrepCommonLib.files.gzipping as g\n"
        "def full(*a, **k):\n"
        "    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "g.compress_file = full\n"
    )
    (limited / "sitecustomize.py").write_text(text)
    full = {**env, "PYTHONPATH": os.pathsep.join([str(limited), os.environ["PYTHONPATH"]])}
    code, out, err = medprep(*order(tmp_path), "--out", tmp_path / "out", "-w", 0, env=full)
    assert code == 2 and "No space left on device" in err and "--resume" in err and out == ""
    assert done(tmp_path / "out") == [] and not list((tmp_path / "out" / "failures").iterdir())
    assert medprep(*order(tmp_path), "--out", tmp_path / "out", "-w", 0, "--resume")[0] == 0
    assert len(done(tmp_path / "out")) == 3


# Stopping


@posix
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_control_c_leaves_a_state_that_resumes(
    desk: Path, env: dict[str, str], undisturbed: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    command = [*order(desk, "slow.json"), "--out", tmp_path / "out", "-w"]
    process = start(*command, workers, env=env)
    wait_for(tmp_path / "out", "done", 2, process)
    process.send_signal(signal.SIGINT)
    code, _out, err = finish(process)
    assert code == 130 and "--resume" in err and "Traceback" not in err, err
    partial = done(tmp_path / "out")
    assert 2 <= len(partial) < 7 and not list((tmp_path / "out" / "cases").glob(".*"))
    rows = list(csv.DictReader((tmp_path / "out" / "batch.csv").read_text().splitlines()))
    assert len(rows) == 12 and {"done", "pending"} <= {row["status"] for row in rows}
    assert here(*command, 0, "--resume")[0] == 3
    assert tree(tmp_path / "out") == undisturbed


def test_a_job_that_is_cancelled_stops_in_the_middle_of_a_case(tmp_path: Path) -> None:
    cases, plan = plain(tmp_path / "data", 2), recipes.load(batchfiles.slow(tmp_path, 30.0))
    started = time.monotonic()
    job = Job(cancelled=lambda: time.monotonic() - started > 0.5)
    with pytest.raises(Cancelled):
        running.run(plan, cases, tmp_path / "out", running.Plan(workers=0), job)
    assert time.monotonic() - started < 5 and done(tmp_path / "out") == []


def test_fail_fast_begins_nothing_after_a_failure(tmp_path: Path) -> None:
    cases = plain(tmp_path / "data", 3)
    (tmp_path / "data" / "case-001.nii.gz").write_bytes(b"")
    plan = recipes.load(batchfiles.quick(tmp_path))
    found = running.run(plan, cases, tmp_path / "out", running.Plan(workers=0, fail_fast=True))
    assert (found.done, list(found.failed), found.pending) == (("case-000",), ["case-001"], ("case-002",))


def wait_for(out: Path, event: str, count: int, process, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while len(events(out, event)) < count:
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.01)


# Kill -9


def kill_the_batch(desk, env, out: Path, workers: int, dice: random.Random) -> bool:
    """Start or resume the batch and kill it at some moment; False when it was over before."""
    process = start(*order(desk, "slow.json"), "--out", out, "-w", workers, "--resume", env=env)
    before = len(events(out, "started"))
    try:
        wait_for(out, "started", before + 1, process)
        time.sleep(dice.uniform(0.0, 0.5))
        alive = process.poll() is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    return alive


def survive_kills(desk, env, undisturbed, out: Path, workers: int, times: int, seed: int) -> None:
    dice = random.Random(seed)
    hits = 0
    while hits < times:
        if not kill_the_batch(desk, env, out, workers, dice):
            shutil.rmtree(out)  # it was over: begin anew
            continue
        hits += 1
        assert_whole(out)
    assert here(*order(desk, "slow.json"), "--out", out, "-w", 0, "--resume")[0] == 3
    assert tree(out) == undisturbed


def assert_whole(out: Path) -> None:
    """Every folder that is there under its own name is complete."""
    for name in done(out):
        record = json.loads((out / "cases" / name / "done.json").read_text())
        assert batchfolder.sealed(out / "cases" / name, record), name


@posix
@pytest.mark.parametrize(("workers", "times"), [(2, 1)])
def test_a_batch_that_was_killed_resumes_to_the_same_bytes(
    desk: Path, env: dict[str, str], undisturbed: dict[str, bytes], tmp_path: Path, workers: int, times: int
) -> None:
    survive_kills(desk, env, undisturbed, tmp_path / "out", workers, times, seed=workers)


@posix
@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_that_was_killed_20_times_resumes_to_the_same_bytes(
    desk: Path, env: dict[str, str], undisturbed: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    survive_kills(desk, env, undisturbed, tmp_path / "out", workers, 20, seed=20 + workers)


def is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False  # it is gone


def kill_workers(out: Path, times: int, dice: random.Random, process) -> int:
    """Kill a worker process at some moment after a case was begun, several times; how many were hit."""
    hits, seen = 0, len(events(out, "started"))
    parent = psutil.Process(process.pid)
    while hits < times and process.poll() is None:
        if len(events(out, "started")) == seen:
            time.sleep(0.01)
            continue
        seen = len(events(out, "started"))
        time.sleep(dice.uniform(0.0, 0.3))
        workers = [p for p in parent.children(recursive=True) if is_worker(p)]
        if workers:
            dice.choice(workers).kill()
            hits += 1
    return hits


@posix
def test_a_killed_worker_loses_nothing(
    desk: Path, env: dict[str, str], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    process = start(*order(desk, "slow.json"), "--out", tmp_path / "out", "-w", 2, env=env)
    wait_for(tmp_path / "out", "started", 2, process)
    assert kill_workers(tmp_path / "out", 2, random.Random(1), process) == 2
    code, _out, err = finish(process)
    assert code == 3, err
    assert tree(tmp_path / "out") == undisturbed


@posix
def test_a_worker_that_dies_with_the_outcome_in_its_hands_is_noticed(caplog) -> None:
    """It had finished, but nobody had fetched what it said: Dask waits for it for ever."""
    from MedPrepCommonLib.batch import pool as batchpool

    with batchpool.local(1, 1) as pool:
        (worker,) = pool.workers()
        (process,) = pool._client.run(os.getpid).values()
        future = pool._client.submit(dict, case="one", workers=[worker.address], pure=False)
        while not future.done():
            time.sleep(0.01)
        os.kill(process, signal.SIGKILL)
        pool._held[worker.address] = future
        pool._ended.put((worker.address, future))
        assert pool.wait(60) == [(worker.address, None)]
        # Dask's waiters, which asyncio complains of when nobody takes what they ended with.
        del future
        time.sleep(0.2)
        gc.collect()
    assert "never retrieved" not in caplog.text


@pytest.mark.slow
def test_workers_killed_20_times_lose_nothing(tmp_path: Path) -> None:
    env = batchfiles.environment(tmp_path)
    batchfiles.cases(tmp_path / "data", 60, BROKEN)
    batchfiles.slow(tmp_path, 0.4)
    assert medprep(*order(tmp_path, "slow.json"), "--out", tmp_path / "calm", "-w", 2, env=env)[0] == 3
    dice, hits, out = random.Random(7), 0, tmp_path / "out"
    while hits < 20:
        process = start(*order(tmp_path, "slow.json"), "--out", out, "-w", 2, "--resume", env=env)
        hits += kill_workers(out, 20 - hits, dice, process)
        assert finish(process, 600)[0] == 3
        if hits < 20:
            shutil.rmtree(out)
    # Three deaths over one case count as a failure, which the next batch tries again.
    assert medprep(*order(tmp_path, "slow.json"), "--out", out, "-w", 2, "--resume", env=env)[0] == 3
    assert tree(out) == tree(tmp_path / "calm")


@posix
def test_a_poison_case_does_not_take_the_batch_down(tmp_path: Path) -> None:
    env = batchfiles.environment(tmp_path)
    batchfiles.cases(tmp_path / "data", 5, {1: "poison"})
    batchfiles.recipe(tmp_path, "poison", {"operation": "t.poison"})
    code, out, err = medprep(*order(tmp_path, "poison.json")[:-1], "--out", tmp_path / "o", "-w", 1, env=env)
    assert code == 3, err
    assert "case-001: The worker process died 3 times over this case." in out
    assert done(tmp_path / "o") == ["case-000", "case-002", "case-003", "case-004"]
    assert [e["case"] for e in events(tmp_path / "o", "lost")] == ["case-001"] * 3


# Memory


def test_memory_is_told_from_the_header(tmp_path: Path) -> None:
    writing.write_nifti(tinyops.image(), tmp_path / "a.nii.gz")
    plan = recipes.load(batchfiles.quick(tmp_path))
    voxels = tinyops.image().array.size
    wanted = memory.BASE + (memory.PER_VOXEL + memory.PER_INPUT) * voxels
    assert memory.estimate([tmp_path / "a.nii.gz"], plan) == wanted
    fine = recipes.load("ct-lung").with_settings({"resample.spacing": 0.5})
    assert memory.estimate([tmp_path / "a.nii.gz"], fine) > wanted + 20 * voxels * memory.PER_VOXEL
    assert memory.estimate([tmp_path / "missing.nii.gz"], plan) == memory.BASE
    assert memory.estimate([tmp_path / "a.nii.gz"], plan, scene=True) > wanted + memory.SCENE_BASE


def test_no_more_cases_at_once_than_the_memory_holds(tmp_path: Path) -> None:
    cases, plan = plain(tmp_path / "data", 6), recipes.load(batchfiles.quick(tmp_path))
    room = int(memory.estimate(cases["case-000"].inputs.values(), plan) * 1.5)
    running.run(plan, cases, tmp_path / "out", running.Plan(workers=2, memory=room))
    order = [e["event"] for e in events(tmp_path / "out", "started", "done")]
    assert order == ["started", "done"] * 6, "one at a time"


def test_a_case_that_cannot_fit_is_reported(tmp_path: Path) -> None:
    cases, plan = plain(tmp_path / "data", 1), recipes.load(batchfiles.quick(tmp_path))
    found = running.run(plan, cases, tmp_path / "out", running.Plan(workers=0, memory=100 << 20))
    assert (
        "may be used" in found.failed["case-000"]["wrong"]
        and "--memory" in found.failed["case-000"]["advice"]
    )


@pytest.mark.parametrize(
    ("text", "size"), [("8GB", 8 << 30), ("500 MB", 500 << 20), ("2g", 2 << 30), ("1.5GiB", 3 << 29)]
)
def test_sizes(text: str, size: int) -> None:
    assert memory.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "-1GB", "0GB", "8 bananas"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(MedPrepError, match="8GB"):
        memory.parse_size(text)


def test_workers_start_with_their_number_of_threads(tmp_path: Path) -> None:
    from MedPrepCommonLib.batch import case as batchcase
    from MedPrepCommonLib.batch import pool as batchpool

    with batchpool.local(1, 3) as pool:
        facts = pool._client.run(_threads)
    (found,) = facts.values()
    assert found == {**dict.fromkeys(batchcase.THREAD_VARIABLES, "3"), "itk": 3}


def _threads() -> dict:
    import os

    import SimpleITK as sitk

    from MedPrepCommonLib.batch import case as batchcase

    found = {name: os.environ.get(name) for name in batchcase.THREAD_VARIABLES}
    return {**found, "itk": sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()}


# Cost


def test_the_books_cost_little(tmp_path: Path) -> None:
    """Computing time of a batch beyond reading, running and writing its cases; at most 50 ms a case."""
    cases, plan = plain(tmp_path / "data", 20), recipes.load(batchfiles.quick(tmp_path))

    def alone(folder: Path) -> None:
        for name, case in cases.items():
            volumes = {"image": read_volume(case.inputs["image"])}
            writing.write(runner.run(plan, volumes), volumes, folder / name, scene=False, page=False)

    def seconds(work, *arguments) -> float:
        start = time.process_time()
        work(*arguments)
        return time.process_time() - start

    alone(tmp_path / "warm")
    pure = seconds(alone, tmp_path / "alone")
    whole = seconds(running.run, plan, cases, tmp_path / "out", running.Plan(workers=0))
    assert (whole - pure) / len(cases) < 0.05
    kept = seconds(running.run, plan, cases, tmp_path / "out", running.Plan(workers=0, resume=True))
    assert kept / len(cases) < 0.05


def test_handing_a_case_to_a_process_costs_little(tmp_path: Path) -> None:
    """Computing time of Dask and the books in both processes, beyond the case's own; at most 50 ms."""
    from MedPrepCommonLib.batch import pool as batchpool

    cases, plan = plain(tmp_path / "data", 24), recipes.load(batchfiles.quick(tmp_path))
    few = dict(list(cases.items())[:2])
    running.run(plan, few, tmp_path / "warm", running.Plan(workers=0))
    start = time.process_time()
    running.run(plan, cases, tmp_path / "here", running.Plan(workers=0))
    here = time.process_time() - start
    with batchpool.local(1, 1) as pool:
        how = running.Plan(scheduler=pool._client.scheduler.address)
        running.run(plan, few, tmp_path / "warm too", how)
        children = psutil.Process().children(recursive=True)

        def seconds() -> float:
            times = [process.cpu_times() for process in [psutil.Process(), *children]]
            return sum(t.user + t.system for t in times)

        start = seconds()
        running.run(plan, cases, tmp_path / "there", how)
        there = seconds() - start
    print(f"per case: {1000 * here / 24:.1f} ms here, {1000 * there / 24:.1f} ms by Dask")
    assert (there - here) / len(cases) < 0.05
    assert tree(tmp_path / "there") == tree(tmp_path / "here")


@pytest.mark.slow
def test_200_cases_with_5_broken_in_two_processes(tmp_path: Path) -> None:
    """195 done, 5 reported, nothing again on resume; prints the time between two cases of a worker."""
    batchfiles.cases(tmp_path / "data", 200, dict(zip((13, 57, 99, 140, 199), BROKEN.values(), strict=True)))
    batchfiles.quick(tmp_path)
    out, command = tmp_path / "out", [*order(tmp_path)[:-1], "--out", tmp_path / "out", "-w", 2]
    code, text, err = medprep(*command)
    assert code == 3 and "195 of 200 cases done, 5 failed" in text, err
    before, worked = tree(out), events(out, "done", "failed")
    code, text, _err = medprep(*command, "--resume")
    assert code == 3 and "200 were as an earlier run left them." in text
    assert tree(out) == before and len(events(out, "done", "failed")) == len(worked) == 200
    one = [*order(tmp_path), "--out", tmp_path / "one", "-w", 0]
    assert medprep(*one)[0] == 3
    assert tree(tmp_path / "one") == before
    spent = sum(event["seconds"] for event in worked) / len(worked)
    print(f"mean time of a case in a worker: {1000 * spent:.1f} ms")


@pytest.mark.slow
def test_memory_stays_within_the_estimate(shared_data: Path, tmp_path: Path) -> None:
    ct, mri = shared_data / "ct", shared_data / "mri"
    for name, images in (
        (
            "ct-lung",
            (ct / "lidc0314-2mm/ct.nii.gz", ct / "lungdx-a0002-8mm-b40f/dicom", ct / "cip-ct64/ct.nrrd"),
        ),
        ("mri-t1", (mri / "adi-t1-t2/t1-mprage.nii.gz",)),
    ):
        cases = {f"c{n}": Case(f"c{n}", {"image": str(path)}) for n, path in enumerate(images)}
        out = tmp_path / name
        assert running.run(recipes.load(name), cases, out, running.Plan(workers=1, threads=1)).complete
        for begun, ended in zip(events(out, "started"), events(out, "done"), strict=True):
            assert ended["peak"] < 1.2 * begun["estimate"], (name, begun, ended)
