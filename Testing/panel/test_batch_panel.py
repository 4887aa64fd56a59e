"""A batch from Slicer: in a process of its own from Python and from the panel, which stays live meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import batchfiles
import pytest

from MedPrepCommonLib.batch import process
from MedPrepCommonLib.core.errors import Cancelled, MedPrepError
from MedPrepCommonLib.core.job import Job


@pytest.fixture
def logic(slicerHost):
    from MedPrepCommon import MedPrepCommonLogic

    return MedPrepCommonLogic()


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    batchfiles.cases(tmp_path / "data", 3, {1: "NaN"})
    batchfiles.quick(tmp_path)
    return tmp_path


def test_run_batch_tells_progress_and_returns_what_came_of_it(logic, desk: Path) -> None:
    told = []
    found = logic.runBatch(
        str(desk / "quick.json"),
        desk / "data" / "cases.csv",
        desk / "out",
        settings={"normalize.range": "[-1, 1]"},
        job=Job(lambda fraction, message: told.append((fraction, message))),
        workers=0,
    )
    assert found["done"] == ["case-000", "case-002"] and "NaN" in found["failed"]["case-001"]["wrong"]
    assert Path(found["folder"]) == desk / "out" and (desk / "out" / "batch.csv").is_file()
    fractions = [fraction for fraction, _message in told]
    assert fractions == sorted(fractions) and len(told) >= 2
    again = logic.runBatch(
        str(desk / "quick.json"), desk / "data", desk / "folder", patterns=["{case}.nii.gz"], workers=0
    )
    assert len(again["done"]) == 2


def test_what_stops_a_batch_is_raised(logic, desk: Path) -> None:
    with pytest.raises(MedPrepError, match="no column 'image'"):
        batchfiles.sheet(desk / "other.csv", [{"case": "a", "scan": "b"}])
        logic.runBatch(str(desk / "quick.json"), desk / "other.csv", desk / "out", workers=0)
    with pytest.raises(MedPrepError, match="no recipe 'nothing'"):
        logic.runBatch("nothing", desk / "data" / "cases.csv", desk / "out")


def test_a_process_that_dies_is_reported(desk: Path) -> None:
    from MedPrepCommonLib.batch.running import Plan
    from MedPrepCommonLib.core import recipe

    plan = recipe.load(desk / "quick.json")
    running = process.Running(plan, desk / "data" / "cases.csv", desk / "out", Plan(workers=0))
    running.kill()
    assert not running.poll()
    with pytest.raises(MedPrepError, match="ended without a word"):
        running.summary()


def test_cancel_ends_the_process_and_keeps_what_is_done(logic, desk: Path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", batchfiles.environment(desk)["PYTHONPATH"])
    import tinyops

    with tinyops.registered():
        slow = str(batchfiles.slow(desk, 0.3))
        out = desk / "out"
        job = Job(cancelled=lambda: bool(batchfiles.events(out, "done")))
        with pytest.raises(Cancelled):
            logic.runBatch(slow, desk / "data" / "cases.csv", out, job=job, workers=0)
        assert [p.name for p in (out / "cases").iterdir()] == ["case-000"]
        found = logic.runBatch(slow, desk / "data" / "cases.csv", out, workers=0, resume=True)
    assert len(found["done"]) == 2


# The panel


@pytest.fixture
def panel(qtHost, module_dirs):
    file = next(path for d in module_dirs if (path := d / "MedPrepCommon.py").is_file())
    return qtHost.panel(file).widget


def fill(batch, desk: Path, recipe: str = "quick.json") -> None:
    batch.ui.batch_recipeFile.currentPath = str(desk / recipe)
    batch.ui.batch_cases.currentPath = str(desk / "data" / "cases.csv")
    batch.ui.batch_out.currentPath = str(desk / "out")
    batch.ui.batch_workers.value = 0


def test_the_button_waits_for_cases_and_a_folder(panel, desk: Path) -> None:
    ui = panel.batch.ui
    assert not ui.batch_apply.enabled and "CSV file" in ui.batch_reason.text
    ui.batch_cases.currentPath = "x"
    assert not ui.batch_apply.enabled and "results" in ui.batch_reason.text
    fill(panel.batch, desk)
    assert ui.batch_apply.enabled and ui.batch_reason.text == ""
    assert ui.batch_recipe.count == len(panel.batch._recipes) > 0


def test_a_batch_runs_while_the_window_stays_live(qtHost, panel, desk: Path) -> None:
    fill(panel.batch, desk)
    ui = panel.batch.ui
    began = time.monotonic()
    ui.batch_apply.click()
    assert time.monotonic() - began < 2 and ui.batch_apply.text == "Cancel"
    qtHost.wait(lambda: panel.batch.running is None)
    assert qtHost.messages == [] and "2 cases done, 1 failed" in ui.batch_status.text
    table = ui.batch_table
    rows = [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount)]
    assert [row[:2] for row in rows] == [["case-001", "failed"], ["case-000", "done"], ["case-002", "done"]]
    assert "NaN" in rows[0][2] and "3 of 3 cases, 1 failed" in ui.batch_log.toPlainText()
    assert ui.batch_apply.text == "Run batch" and not ui.batch_progress.visible


def test_a_batch_that_cannot_begin_says_why(qtHost, panel, desk: Path) -> None:
    fill(panel.batch, desk, "missing.json")
    panel.batch.ui.batch_apply.click()
    assert panel.batch.running is None and "missing.json" in qtHost.messages[0][1]
    fill(panel.batch, desk)
    panel.batch.ui.batch_cases.currentPath = str(desk / "gone.csv")
    panel.batch.ui.batch_apply.click()
    qtHost.wait(lambda: panel.batch.running is None)
    assert "gone.csv" in qtHost.messages[-1][1] and "gone.csv" in panel.batch.ui.batch_status.text


def test_a_batch_that_cannot_begin_does_not_end_what_runs(qtHost, panel, desk: Path) -> None:
    import numpy as np

    from MedPrepCommonLib.core.volume import Volume
    from MedPrepCommonLib.scene.volumes import nodeFromVolume

    values = np.random.default_rng(0).normal(size=(64, 64, 64)).astype(np.float32)
    panel._parameterNode.inputVolume = nodeFromVolume(Volume(values, np.eye(4)), "noise")
    fill(panel.batch, desk, "missing.json")
    before = qtHost.nodes()
    panel.ui.resample_apply.click()
    panel.batch.ui.batch_apply.click()
    assert panel.running is not None and "missing.json" in qtHost.messages[0][1]
    qtHost.wait(lambda: panel.running is None)
    assert panel.ui.statusLabel.text == "Resample: done." and qtHost.nodes() - before


def test_cancel_and_resume_in_the_panel(qtHost, panel, desk: Path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", batchfiles.environment(desk)["PYTHONPATH"])
    import tinyops

    with tinyops.registered():
        batchfiles.slow(desk, 0.5)
        fill(panel.batch, desk, "slow.json")
        panel.batch.ui.batch_apply.click()
        qtHost.wait(lambda: bool(batchfiles.events(desk / "out", "started")))
        panel.batch.ui.batch_apply.click()
        qtHost.wait(lambda: panel.batch.running is None)
        assert "Cancelled" in panel.batch.ui.batch_status.text and qtHost.messages == []
        panel.batch.ui.batch_resume.checked = True
        panel.batch.ui.batch_apply.click()
        qtHost.wait(lambda: panel.batch.running is None)
    assert panel.batch.summary["done"] == ["case-000", "case-002"]
