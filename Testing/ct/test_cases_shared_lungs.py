"""The padded chest CT of ../shared/cases through the command line, with the case's own judge."""

from __future__ import annotations

import json
import runpy
import sys

import pytest
from conftest import REPOSITORY
from typer.testing import CliRunner

from MedPrepCommonLib.cli import app

CASE = REPOSITORY.parent / "shared" / "cases" / "ct-zero-fill-lungs"
pytestmark = pytest.mark.skipif(not CASE.is_dir(), reason="no folder ../shared/cases beside the repository")

RECIPE = {
    "schema": "medprep-recipe",
    "version": 1,
    "name": "lungs",
    "title": "Lungs",
    "modality": "CT",
    "inputs": {"image": {"kind": "image"}},
    "steps": [{"id": "lungs", "operation": "ct.lungs", "inputs": {"image": "image"}}],
    "outputs": {"lungs": "lungs.lungs"},
}


def run(script: str, *arguments: str) -> None:
    old, sys.argv = sys.argv, [script, *arguments]
    try:
        runpy.run_path(str(CASE / script), run_name="__main__")
    finally:
        sys.argv = old


def test_padding_with_zeros_is_no_tissue(tmp_path, capsys):
    """Padded with 0 in plane: the lungs are those of the scan without padding (Dice 0.69 at first)."""
    run("make.py", str(tmp_path / "in"))
    out = tmp_path / "out"
    recipe = tmp_path / "lungs.json"
    recipe.write_text(json.dumps(RECIPE), encoding="utf-8")
    done = CliRunner().invoke(
        app.app,
        ["run", str(recipe), "--input", f"image={tmp_path / 'in' / 'ct-pad0.nrrd'}", "--out", str(out)],
    )
    assert done.exit_code in (0, 1), done.output
    capsys.readouterr()
    run("judge.py", str(out), str(tmp_path / "in" / "truth-pad.nrrd"))
    assert float(capsys.readouterr().out.split()[1]) >= 0.975
