"""Batches on a Dask cluster started as users start one, and recipes that learn from training cases."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import batchfiles
import numpy as np
import psutil
import pytest
import tinyops
from batchfiles import events, finish, medprep, start, tree

from MedPrepCommonLib.batch import fit, running
from MedPrepCommonLib.core import recipe as recipes
from MedPrepCommonLib.core.errors import MedPrepError
from MedPrepCommonLib.files.reading import read_volume

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")


@pytest.fixture(autouse=True, scope="module")
def _tiny_operations():
    with tinyops.registered():
        yield


def listening(process: int) -> set[int]:
    """Ports on which a process listens."""
    found = psutil.Process(process).net_connections()
    return {c.laddr.port for c in found if c.status == psutil.CONN_LISTEN}


def test_no_scheduler_is_a_clear_error(tmp_path: Path) -> None:
    cases = batchfiles.cases(tmp_path / "data", 1)
    plan = recipes.load(batchfiles.quick(tmp_path))
    from MedPrepCommonLib.cases.table import from_sheet

    found = {case.id: case for case in from_sheet(cases, plan, {})}
    with pytest.raises(MedPrepError, match="dask scheduler"):
        running.run(plan, found, tmp_path / "out", running.Plan(scheduler="nowhere"))


@posix
def test_a_cluster_writes_the_same_bytes_and_loses_nothing_with_a_worker(tmp_path: Path) -> None:
    env = batchfiles.environment(tmp_path)
    cases = batchfiles.cases(tmp_path / "data", 12, {2: "NaN", 5: "missing"})
    command = ["batch", batchfiles.slow(tmp_path, 0.4), cases, "--quiet", "--out"]
    local = start(*command, tmp_path / "local", "-w", 0, env=env)
    with batchfiles.dask_cluster(tmp_path, 2, env) as (address, workers):
        process = start(*command, tmp_path / "cluster", "--scheduler", address, env=env)
        while len({e["worker"] for e in events(tmp_path / "cluster", "started")}) < 2:
            assert process.poll() is None, process.communicate()
        begun = events(tmp_path / "cluster", "started")[-1]
        port = int(begun["worker"].rpartition(":")[2])
        next(w for w in workers if port in listening(w.pid)).kill()
        code, _out, err = finish(process)
    assert code == 3, err
    assert finish(local)[0] == 3
    assert [e["case"] for e in events(tmp_path / "cluster", "lost")] == [begun["case"]]
    assert tree(tmp_path / "cluster") == tree(tmp_path / "local")


def test_a_worker_with_other_versions_stops_the_batch(tmp_path: Path, monkeypatch) -> None:
    from MedPrepCommonLib.batch import case as batchcase
    from MedPrepCommonLib.core import provenance

    plan = recipes.load(batchfiles.quick(tmp_path))
    batchfiles.cases(tmp_path / "data", 1)
    (tmp_path / "out" / "cases").mkdir(parents=True)
    order = {
        "case": "a",
        "folder": str(tmp_path / "out"),
        "recipe": plan.to_json(),
        "measure": "",
        "inputs": {"image": {"path": str(tmp_path / "data/case-000.nii.gz"), "series": "", "labels": False}},
        "options": {"scene": False, "page": False},
        "threads": 0,
        "versions": {**provenance.versions(), "numpy": "1.0"},
        "failure": None,
        "secrets": [],
    }
    outcome = batchcase.work(order)
    assert outcome["status"] == "stop" and "other versions of numpy" in outcome["error"]["wrong"]
    outcome = batchcase.work({**order, "folder": str(tmp_path / "elsewhere")})
    assert outcome["status"] == "stop" and "does not see the output folder" in outcome["error"]["wrong"]


# Learning from training cases


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """8 cases of 4 patients in three splits; one training case is broken."""
    cases = batchfiles.cases(tmp_path / "data", 8, {1: "NaN"})
    rows = list(csv.DictReader(cases.read_text().splitlines()))
    for row, split in zip(rows, ("train",) * 4 + ("val",) * 2 + ("test",) * 2, strict=True):
        row["split"] = split
    return batchfiles.sheet(cases, rows)


def center(folder: Path) -> Path:
    return batchfiles.recipe(
        folder,
        "center",
        {"operation": "t.scale", "parameters": {"factor": 3.0}},
        {"operation": "t.center"},
        {"operation": "t.scale", "parameters": {"factor": 0.5}},
    )


def test_what_is_learned_comes_from_the_training_cases_alone(tmp_path: Path, training: Path) -> None:
    env = batchfiles.environment(tmp_path)
    code, _out, err = medprep("batch", center(tmp_path), training, "-o", tmp_path / "out", "-w", 2, env=env)
    assert code == 3, err
    images = [read_volume(tmp_path / "data" / f"case-{n:03d}.nii.gz").array for n in (0, 2, 3)]
    expected = 3.0 * sum(float(i.sum()) for i in images) / sum(i.size for i in images)
    fitted = recipes.load(tmp_path / "out" / "recipe.json")
    assert fitted.steps[1].op.mean == pytest.approx(expected, rel=1e-12)
    record = json.loads((tmp_path / "out" / "batch.json").read_text())
    assert record["fit"] == [
        {
            "step": "s1",
            "cases": ["case-000", "case-002", "case-003"],
            "values": {"mean": fitted.steps[1].op.mean, "statistics": "given"},
        }
    ]
    assert record["counts"] == {"done": 7, "failed": 1}
    metrics = json.loads((tmp_path / "out" / "cases" / "case-007" / "qc.json").read_text())["metrics"]
    assert metrics["s1.mean"] == fitted.steps[1].op.mean


def test_operations_learn_from_the_training_cases_alone(tmp_path: Path, training: Path) -> None:
    """z-score and Nyúl of MedPrep itself, whose oracles are numpy and the landmarks of single images."""
    from MedPrepCommonLib.numeric import landmarks
    from MedPrepCommonLib.numeric.landmarks import Landmarks

    images = [read_volume(tmp_path / "data" / f"case-{n:03d}.nii.gz").array for n in (0, 2, 3)]
    zscore = {"method": "zscore", "statistics": "training"}
    plan = batchfiles.recipe(tmp_path, "zscore", {"operation": "normalize", "parameters": zscore})
    assert len(run(recipes.load(plan), training, tmp_path / "zscore").done) == 7
    op = recipes.load(tmp_path / "zscore" / "recipe.json").steps[0].op
    values = np.concatenate([image.ravel() for image in images]).astype(np.float64)
    assert (op.statistics, op.mean) == ("given", pytest.approx(values.mean(), rel=1e-8))
    assert op.standardDeviation == pytest.approx(values.std(), rel=1e-8)
    last = read_volume(tmp_path / "data" / "case-007.nii.gz").array
    found = read_volume(tmp_path / "zscore" / "cases" / "case-007" / "image.nii.gz").array
    assert np.allclose(found, (last - op.mean) / op.standardDeviation, atol=1e-5)

    nyul = {"method": "nyul", "learn": True, "region": "image"}
    steps = {"operation": "mri.normalize", "parameters": nyul}
    plan = batchfiles.recipe(tmp_path, "nyul", steps, modality="MR")
    assert len(run(recipes.load(plan), training, tmp_path / "nyul").done) == 7
    op = recipes.load(tmp_path / "nyul" / "recipe.json").steps[0].op
    single = [landmarks.measure(image, np.ones(image.shape, bool)) for image in images]
    scale = landmarks.standard_scale([Landmarks(one.percentiles, one.values) for one in single])
    assert not op.learn and op.landmarks == scale.text


def test_measuring_is_not_done_twice_and_other_splits_do_not_matter(tmp_path: Path, training: Path) -> None:
    plan, out = recipes.load(center(tmp_path)), tmp_path / "out"
    run(plan, training, out)
    before, begun = tree(out), len(events(out, "done"))
    # A changed test image changes nothing of what was learned.
    target = tmp_path / "data" / "case-007.nii.gz"
    target.write_bytes((tmp_path / "data" / "case-000.nii.gz").read_bytes())
    again = run(plan, training, out, resume=True)
    assert len(events(out, "done")) == begun + 1 and again.kept == 7
    assert tree(out)["recipe.json"] == before["recipe.json"]
    assert any("different splits" in note for note in again.notes), "its image is a training image now"
    # A changed training image changes all.
    source = tmp_path / "data" / "case-002.nii.gz"
    source.write_bytes((tmp_path / "data" / "case-004.nii.gz").read_bytes())
    assert run(plan, training, out, resume=True).kept == 0
    assert tree(out)["recipe.json"] != before["recipe.json"]
    run(plan, training, tmp_path / "fresh")
    assert tree(out) == tree(tmp_path / "fresh")


def run(plan, sheet: Path, out: Path, resume: bool = False):
    from MedPrepCommonLib.cases.table import from_sheet

    cases = {case.id: case for case in from_sheet(sheet, plan, {})}
    return running.run(plan, cases, out, running.Plan(workers=0, resume=resume))


def test_learning_needs_training_cases(tmp_path: Path) -> None:
    cases = batchfiles.cases(tmp_path / "data", 2)
    plan = recipes.load(center(tmp_path))
    assert fit.unfitted(plan).id == "s1"
    with pytest.raises(MedPrepError, match="medprep split"):
        run(plan, cases, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_learning_from_broken_cases_alone_is_an_error(tmp_path: Path) -> None:
    cases = batchfiles.cases(tmp_path / "data", 2, {0: "empty"})
    rows = list(csv.DictReader(cases.read_text().splitlines()))
    rows = [
        {**row, "patient": str(n), "split": s}
        for n, (row, s) in enumerate(zip(rows, ("train", "val"), strict=True))
    ]
    with pytest.raises(MedPrepError, match="learned nothing"):
        run(recipes.load(center(tmp_path)), batchfiles.sheet(cases, rows), tmp_path / "out")
