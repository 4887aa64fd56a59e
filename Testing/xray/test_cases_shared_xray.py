"""Radiographs of ../shared/cases by command line, and what a recipe leaves where lungs are refused."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import REPOSITORY
from typer.testing import CliRunner

from MedPrepCommonLib.cli import app

CASES = REPOSITORY.parent / "shared" / "cases"
RECIPES = ("xray-chest", "xray-chest-classical", "chexpert")


def medprep(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app.app, [str(a) for a in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture
def lateral(tmp_path, monkeypatch) -> Path:
    """The case's image: it was made when some of our files lay elsewhere."""
    script = CASES / "xray-lateral-header" / "make.py"
    if not script.is_file():
        pytest.skip("no folder ../shared/cases beside the repository")
    for old, new in (
        ("chestphantom", "phantoms.chest"),
        ("projection", "phantoms.projection"),
        ("volume", "core.volume"),
    ):
        module = importlib.import_module(f"MedPrepCommonLib.{new}")
        monkeypatch.setitem(sys.modules, f"MedPrepCommonLib.{old}", module)
    monkeypatch.setattr(sys, "argv", ["make.py", str(tmp_path / "lateral.dcm")])
    monkeypatch.setattr(sys, "path", list(sys.path))
    runpy.run_path(str(script), run_name="__main__")
    return tmp_path / "lateral.dcm"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_lateral_view_is_refused_by_its_name(lateral, tmp_path, recipe) -> None:
    code, said = medprep("run", recipe, "--input", f"image={lateral}", "--out", tmp_path / "out", "-q")
    assert code == 3, said
    assert not list((tmp_path / "out").glob("*.nii.gz"))
    lines = {line["name"]: line for line in json.loads((tmp_path / "out" / "qc.json").read_text())["checks"]}
    assert lines["View"]["verdict"] == "fail" and "the file says LL" in lines["View"]["value"]
    assert lines["View"]["advice"].startswith(
        "This looks like a lateral view; the recipe is for a frontal view."
    )


@pytest.mark.parametrize("recipe", RECIPES[:2])
def test_refused_lungs_leave_the_contrast_the_check_and_the_reason(tmp_path, recipe) -> None:
    """Waves are no chest; the user insists."""
    y, x = np.mgrid[:300, :320]
    waves = 120 + 50 * np.sin(x / 9) * np.cos(y / 13) + np.random.default_rng(2).normal(0, 3, x.shape)
    sitk.WriteImage(sitk.GetImageFromArray(waves.astype(np.uint8)), str(tmp_path / "waves.png"))
    out = tmp_path / "out"
    code, said = medprep(
        "run", recipe, "--input", f"image={tmp_path / 'waves.png'}", "--out", out,
        "--accept", "part", "--accept", "view", "--accept", "placement", "-q",
    )  # fmt: skip
    assert code == 0, said
    names = {path.name for path in out.iterdir()}
    assert {"clahe.nii.gz", "check.csv", "qc.json"} <= names
    assert not {"image.nii.gz", "lungs.nii.gz", "imageLungs.nii.gz"} & names
    record = json.loads((out / "qc.json").read_text())
    lines = {check["name"]: check for check in record["checks"]}
    assert lines["Lung fields"]["verdict"] == "fail" and lines["Lung fields"]["value"].startswith(
        "none found"
    )
    assert record["verdict"] == "fail"
