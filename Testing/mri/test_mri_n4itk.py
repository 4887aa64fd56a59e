"""N4 by ITK's own filter: in a process of its own, or in this one where no Python can be started."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from mriimages import image_of, mask_of, phantom

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import Cancelled, MedPrepError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepMRILib.bias import interpreters, n4itk


def correct(image: Volume, mask: np.ndarray, job: Job | None = None, **parameters):
    op = create("mri.n4", engine="itk", **parameters)
    return engine.run(op, {"image": image, "mask": mask_of(image, mask)}, job)


def test_cancel_ends_itks_process(monkeypatch) -> None:
    made = phantom()
    image, mask = image_of(made), mask_of(image_of(made), made.brain)
    started: list[subprocess.Popen] = []
    run = subprocess.Popen

    def remember(*arguments, **options):
        started.append(run(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(n4itk.subprocess, "Popen", remember)
    stop = threading.Event()
    job = Job(lambda _fraction, text: stop.set() if text.startswith("ITK") else None, stop.is_set)
    with pytest.raises(Cancelled):
        create("mri.n4", engine="itk", convergence=0, shrinkFactor=1)(image, mask, None, job)
    (child,) = started
    assert child.poll() is not None


def test_itks_process_ends_with_its_caller(tmp_path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _WAITS, str(n4itk._PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert child.poll() is None
    child.stdin.close()
    assert child.wait(20) == 1


_WAITS = """
import runpy, sys, threading, time
program = runpy.run_path(sys.argv[1])
threading.Thread(target=program["end_with_the_caller"], daemon=True).start()
time.sleep(60)
"""


def test_a_filter_that_fails_says_why(monkeypatch, tmp_path) -> None:
    made = phantom()
    broken = tmp_path / "broken.py"
    broken.write_text("print('ready', flush=True)\nraise RuntimeError('no more memory')\n")
    monkeypatch.setattr(n4itk, "_PROGRAM", broken)
    with pytest.raises(MedPrepError, match="no more memory"):
        correct(image_of(made), made.brain)


@pytest.mark.parametrize(
    "obstacle", ["no interpreter", "it does not start", "it lacks SimpleITK", "it hangs"]
)
def test_without_another_python_itk_runs_inside(obstacle, monkeypatch, tmp_path) -> None:
    made = phantom()
    options = dict(shrinkFactor=4, iterations="4, 2")
    expected = correct(image_of(made), made.brain, **options)
    assert not any("inside" in note for note in expected.notes)
    programs = {"it lacks SimpleITK": "raise ImportError('SimpleITK')\n", "it hangs": "input()\n"}
    if obstacle == "no interpreter":
        monkeypatch.setattr(n4itk.interpreters, "candidates", list)
    elif obstacle == "it does not start":
        nothing = tmp_path / "python3"
        nothing.write_text("no program")
        nothing.chmod(0o755)
        monkeypatch.setattr(n4itk.interpreters, "candidates", lambda: [str(nothing)])
    else:
        broken = tmp_path / "broken.py"
        broken.write_text(programs[obstacle])
        monkeypatch.setattr(n4itk, "_PROGRAM", broken)
        monkeypatch.setattr(n4itk, "_PATIENCE", 0.2)
        monkeypatch.setattr(n4itk.interpreters, "candidates", lambda: [sys.executable])
    seen: list[str] = []
    found = correct(image_of(made), made.brain, job=Job(lambda _f, text: seen.append(text)), **options)
    assert np.array_equal(found.images["biasField"].array, expected.images["biasField"].array)
    assert found.tables["iterations"] == expected.tables["iterations"]
    assert any("inside" in note for note in found.notes) and any("iteration" in text for text in seen)


def test_inside_a_cancel_ends_itk_quietly(monkeypatch, capfd) -> None:
    made = phantom()
    image, mask = image_of(made), mask_of(image_of(made), made.brain)
    monkeypatch.setattr(n4itk.interpreters, "candidates", list)
    stop = threading.Event()
    job = Job(lambda _fraction, text: stop.set() if text.startswith("ITK") else None, stop.is_set)
    before, hook = threading.active_count(), sys.excepthook
    with pytest.raises(Cancelled):
        create("mri.n4", engine="itk", convergence=0, shrinkFactor=2)(image, mask, None, job)
    assert threading.active_count() == before and sys.excepthook is hook
    assert "Traceback" not in capfd.readouterr().err


def test_inside_a_filter_that_fails_says_why(monkeypatch) -> None:
    made = phantom()
    monkeypatch.setattr(n4itk.interpreters, "candidates", list)

    def fails(_task, _tell):
        raise RuntimeError("Exception thrown\nno more memory")

    monkeypatch.setattr(n4itk.n4itk_process, "log_field", fails)
    with pytest.raises(MedPrepError, match=r"failed: no more memory\."):
        correct(image_of(made), made.brain)


def test_only_pythons_are_started(monkeypatch, tmp_path) -> None:
    """Slicer's own sys.executable is PythonSlicer or nothing; a program that embeds Python names itself."""
    home = tmp_path / "Slicer"
    for name in ("Slicer", "bin/PythonSlicer", "bin/python3", "bin/SlicerApp-real"):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        path.chmod(0o755)
    ending = interpreters._ENDING
    assert interpreters.candidates()[0] == sys.executable
    monkeypatch.setenv("SLICER_HOME", str(home))
    monkeypatch.setenv("PATH", "")
    for executable in ("", None, str(home / "Slicer"), str(home / "bin" / "SlicerApp-real")):
        monkeypatch.setattr(sys, "executable", executable)
        if not ending:
            assert interpreters.candidates()[0] == str(home / "bin" / "PythonSlicer")
        assert not any("SlicerApp" in path or path.endswith("/Slicer") for path in interpreters.candidates())
    for prefix in ("exec_prefix", "base_exec_prefix"):
        monkeypatch.setattr(sys, prefix, str(tmp_path / "nowhere"))
    monkeypatch.delenv("SLICER_HOME")
    assert interpreters.candidates() == []
