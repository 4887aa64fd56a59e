"""Cases that people reported and hostile files, through the command line: right, or one message."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY

from MedPrepCommonLib.files.reading import read_volume

CASES = REPOSITORY.parent / "shared" / "cases"
RESAMPLE = {
    "schema": "medprep-recipe",
    "version": 1,
    "name": "resample",
    "inputs": {"image": {}},
    "steps": [{"operation": "resample", "parameters": {"spacing": 6.0}, "inputs": {"image": "image"}}],
    "outputs": {"image": "resample.image"},
}

pytestmark = pytest.mark.skipif(
    not CASES.is_dir(), reason="the cases lie in ../shared/cases, which is not there"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory, request):
    """The inputs of a case, by its name; each is made once."""
    folders: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in folders:
            pytest.importorskip("nibabel", reason="the cases are made with nibabel: pip install nibabel")
            folders[name] = tmp_path_factory.mktemp(name)
            before, sys.argv = sys.argv, ["make.py", str(folders[name])]
            try:
                runpy.run_path(str(CASES / name / "make.py"), run_name="__main__")
            finally:
                sys.argv = before
        return folders[name]

    return make


def medprep(*arguments: str, folder: Path | None = None) -> Any:
    """The command: ``exit_code`` and what it says in ``stderr``."""
    from typer.testing import CliRunner

    from MedPrepCommonLib.cli.app import app

    before = os.getcwd()
    os.chdir(folder or before)
    try:
        return CliRunner().invoke(app, list(arguments))
    finally:
        os.chdir(before)


def run(recipe: Path | str, image: Path, out: Path) -> Any:
    return medprep("run", str(recipe), "--input", f"image={image}", "--out", str(out), "--quiet")


def refused(done: Any) -> bool:
    """One message, and the exit code of bad input."""
    return (
        done.exit_code == 2 and done.stderr.startswith("medprep: ") and isinstance(done.exception, SystemExit)
    )


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "resample.json"
    path.write_text(json.dumps(RESAMPLE))
    return path


def checks_of(folder: Path) -> dict[str, dict]:
    return {check["name"]: check for check in json.loads((folder / "qc.json").read_text())["checks"]}


def test_pixdim_against_sform(made, recipe, tmp_path):
    folder = made("nifti-pixdim-vs-sform")
    for name in ("ok", "pixdim1"):
        done = run(recipe, folder / f"{name}.nii.gz", tmp_path / name)
        assert done.exit_code == 0, done.stderr
    first, second = (read_volume(tmp_path / name / "image.nii.gz") for name in ("ok", "pixdim1"))
    assert first.same_grid(second, 1e-3) and np.array_equal(first.array, second.array)
    told = checks_of(tmp_path / "pixdim1")["Position in the file"]
    assert told["verdict"] == "warn" and "3.125 x 3.125 x 4" in told["value"] and "1 x 1 x 1" in told["value"]
    assert "Position in the file" not in checks_of(tmp_path / "ok")


def test_an_aligned_sform(made, recipe, tmp_path):
    folder = made("nifti-sform-aligned")
    for name in ("t2-same", "t2-spm"):
        assert run(recipe, folder / f"{name}.nii.gz", tmp_path / name).exit_code == 0
    first, second = (read_volume(tmp_path / name / "image.nii.gz") for name in ("t2-same", "t2-spm"))
    assert first.same_grid(second, 1e-3) and np.array_equal(first.array, second.array)
    told = checks_of(tmp_path / "t2-spm")["Position in the file"]
    assert told["verdict"] == "warn" and "8.0 degrees" in told["value"] and "scanner" in told["value"]


@pytest.mark.parametrize("name", ["um-nifti1.nii.gz", "um-nifti2.nii.gz", "um.nrrd", "um-2d-nifti1.nii.gz"])
def test_micrometres(made, name):
    volume = read_volume(made("nifti2-nrrd-units") / name)
    np.testing.assert_allclose(volume.spacing, (6.25, 6.25, 8.0), rtol=1e-6)


def test_micrometres_through_the_command_line(made, recipe, tmp_path):
    folder, names = made("nifti2-nrrd-units"), ("um-nifti1.nii.gz", "um.nrrd")
    for name in names:
        assert run(recipe, folder / name, tmp_path / name).exit_code == 0
    first, second = (read_volume(tmp_path / name / "image.nii.gz") for name in names)
    assert first.spacing == pytest.approx((6, 6, 6)) and first.same_grid(second, 1e-2)
    assert np.abs(first.array.astype(int) - second.array).max() <= 1


def test_jpegs_are_upright(made):
    folder = made("jpeg-exif-orientation")
    upright = read_volume(folder / "up.jpg").array[0].astype(int)
    for n in (2, 3, 6):
        turned = read_volume(folder / f"exif{n}.jpg").array[0]
        assert turned.shape == upright.shape and np.abs(turned - upright).mean() < 2, n


HOSTILE = CASES / "hostile"
REFUSED = [
    path
    for kind in ("bmp-hang", "bmp-truncated", "datafile-outside-folder", "metaimage-crash", "metaimage-holes",
                 "nifti-header-traceback", "segnrrd-traceback")
    for path in sorted((HOSTILE / kind).glob("*"))
    if path.name != "no-compressed-size.mha"
]  # fmt: skip


def test_there_are_hostile_files():
    assert len(REFUSED) > 25


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_hostile_files_are_refused(path):
    from MedPrepCommonLib.core.errors import MedPrepError

    with pytest.raises(MedPrepError):
        read_volume(path)


@pytest.mark.parametrize(
    "name", ["bmp-hang/mut173.bmp", "metaimage-crash/pattern-n.mhd", "datafile-outside-folder/zero.nhdr"]
)
def test_hostile_files_through_the_command_line(recipe, tmp_path, name):
    done = run(recipe, HOSTILE / name, tmp_path / "out")
    assert refused(done) and not (tmp_path / "out").exists()


def test_valid_files_among_them_are_read():
    volume = read_volume(HOSTILE / "metaimage-holes" / "no-compressed-size.mha")
    assert volume.shape == (5, 6, 7) and volume.array.std() > 10
    half = read_volume(HOSTILE / "tiff-float16" / "half.tif")
    assert half.array.dtype == np.float32 and half.array.flat[0] == 79.0


@pytest.mark.parametrize("name", ["big.json", "surrogate.json"])
def test_hostile_recipes_through_the_command_line(tmp_path, name):
    done = run(HOSTILE / "recipe-tracebacks" / name, tmp_path / "a.nii", tmp_path / "out")
    assert refused(done)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "ct-lung", "--input", "image=a.nii", "--out", "~nosuchuser/x"),
        ("run", "ct-lung", "--input", "image=~nosuchuser/a.nii", "--out", "x"),
        ("cases", ".", "--out", "x" * 300),
        ("split", "a.csv", "--out", "x" * 300),
        (
            "run",
            "ct-lung",
            "--input",
            "image=a.nii",
            "--out",
            "x",
            "--set",
            "ct.window.level=" + "[" * 50_000,
        ),
    ],
)
def test_hostile_command_lines(tmp_path, arguments):
    (tmp_path / "a.csv").write_text("case,image,patient\n1,a.nii,p\n2,b.nii,q\n3,c.nii,r\n")
    done = medprep(*arguments, folder=tmp_path)
    assert refused(done), (done.exception, done.stderr[-300:])


@pytest.mark.skipif(sys.platform != "linux", reason="only there may a name be any bytes")
def test_a_name_that_is_not_utf8_through_the_command_line(made, recipe, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller.nrrd"))
    odd.write_bytes((made("nifti2-nrrd-units") / "um.nrrd").read_bytes())
    done = run(recipe, odd, tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert read_volume(tmp_path / "out" / "image.nii.gz").spacing == pytest.approx((6, 6, 6))
