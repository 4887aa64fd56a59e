"""The DICOM inputs of ../shared/cases and its hostile ones, through the command line as a user has them."""

from __future__ import annotations

import csv
import os
import runpy
import shutil
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY
from typer.testing import CliRunner

from MedPrepCommonLib.cli import app
from MedPrepCommonLib.core.errors import FileError, MedPrepError
from MedPrepCommonLib.files.reading import read_volume

CASES = REPOSITORY.parent / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="no folder ../shared/cases beside the repository")


def make(name: str, *arguments: str) -> None:
    old, sys.argv = sys.argv, [name, *arguments]
    try:
        runpy.run_path(str(CASES / name / "make.py"), run_name="__main__")
    finally:
        sys.argv = old


def medprep(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app.app, [str(a) for a in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done.exit_code, " ".join(done.output.split())


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_two_patients_are_two_series(tmp_path):
    make("dicom-two-patients-one-volume", str(tmp_path / "in"))
    for kind in ("noseries", "constant"):
        code, said = medprep(
            "run", "ct-lung", "--input", f"image={tmp_path / 'in' / kind}", "--out", tmp_path / "out"
        )
        assert code == 2 and "holds 2 series" in said and not (tmp_path / "out").exists()
    one, two = (read_volume(tmp_path / "in" / "noseries", n) for n in (1, 2))
    assert len(one.array) == len(two.array) == 79 and one.spacing[2] == two.spacing[2] == 4.0
    assert (one.array == two.array[:, :, ::-1]).all()


def test_slices_behind_a_gap_stay_where_they_were_taken(tmp_path):
    make("mr-missing-slices", str(tmp_path))
    whole, gap = read_volume(tmp_path / "whole"), read_volume(tmp_path / "gap")
    assert "missingSlices" not in whole.info and gap.info["missingSlices"] == 25
    assert gap.info["interpolatedSlices"] == 25
    assert gap.info["missingSlicePositions"] == pytest.approx([80.0 + n for n in range(25)], abs=0.01)
    assert gap.shape == whole.shape
    assert (abs(gap.ijkToRAS - whole.ijkToRAS) < 1e-3).all()
    assert (gap.array[:80] == whole.array[:80]).all() and (gap.array[105:] == whole.array[105:]).all()


def test_a_mosaic_is_never_one_slice(tmp_path):
    make("siemens-mosaic", str(tmp_path / "a.dcm"))
    code, said = medprep("run", "mri-t1", "--input", f"image={tmp_path / 'a.dcm'}", "--out", tmp_path / "out")
    assert code == 2 and "mosaic" in said and not (tmp_path / "out").exists()


@pytest.mark.parametrize("patient", ["", "ANON"])
def test_a_study_is_never_torn_apart(tmp_path, patient):
    make("dicom-no-patientid-leak", str(tmp_path / "in"), *filter(None, [patient]))
    code, said = medprep("cases", tmp_path / "in", "--layout", "dicom", "--out", tmp_path / "cases.csv")
    assert code == 0 and "16 cases of 8 patients" in said and "their study stands for the patient" in said
    code, said = medprep(
        "split", tmp_path / "cases.csv", "--out", tmp_path / "split.csv", "--fractions", "0.5,0.25,0.25"
    )
    assert code == 0 and "the study stands for the patient" in said
    splits: dict[str, set[str]] = {}
    for row in rows_of(tmp_path / "split.csv"):
        splits.setdefault(row["image"], set()).add(row["split"])
    assert len(splits) == 8 and all(len(names) == 1 for names in splits.values())


def test_one_series_a_folder_and_nih_without_lists(tmp_path):
    make("cases-dicom-crash", str(tmp_path / "in"))
    code, said = medprep("cases", tmp_path / "in/tree", "--layout", "dicom", "--out", tmp_path / "a.csv")
    assert code == 0 and "2 cases" in said
    assert sorted(row["image"] for row in rows_of(tmp_path / "a.csv")) == [
        f"in/tree/P{n}/study/series" for n in (1, 2)
    ]
    code, said = medprep("cases", tmp_path / "in/nih", "--layout", "nih", "--out", tmp_path / "b.csv")
    assert code == 0 and [row["patient"] for row in rows_of(tmp_path / "b.csv")] == ["1"]


def test_linked_folders_are_followed_once(tmp_path):
    make("cases-dicom-crash", str(tmp_path / "in"))
    (tmp_path / "links").mkdir()
    for name in ("P1", "P2"):
        (tmp_path / "links" / name).symlink_to(tmp_path / "in/tree" / name)
    (tmp_path / "in/tree/P1/round").symlink_to(tmp_path / "links")
    code, said = medprep("cases", tmp_path / "links", "--layout", "dicom", "--out", tmp_path / "a.csv")
    assert code == 0 and "2 cases" in said


@pytest.mark.parametrize(
    "name",
    [
        "dicom-hang-frames/frames.dcm",
        "dicom-odd-vr-traceback/vr-fd.dcm",
        "dicom-odd-vr-traceback/vr-zz.dcm",
        "dicom-odd-vr-traceback/folder",
        "dicom-short-pixel-data/columns-doubled.dcm",
        "dicom-short-pixel-data/short.dcm",
        "dicom-short-pixel-data/two-bytes.dcm",
    ],
)
def test_hostile_files_are_named(tmp_path, name):
    path = CASES / "hostile" / name
    code, said = medprep("run", "ct-soft-tissue", "--input", f"image={path}", "--out", tmp_path / "out")
    assert code == 2 and "damaged or incomplete" in said.replace("\n", " ")
    with pytest.raises(FileError) as caught:
        read_volume(path)
    names = [file.name for file in path.iterdir()] if path.is_dir() else [path.name]
    assert any(file in caught.value.wrong for file in names)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_named_pipes_and_names_that_are_no_text(tmp_path):
    source = REPOSITORY.parent / "shared/data/ct/lungdx-a0002-8mm-b40f/dicom"
    folder = tmp_path / "in"
    folder.mkdir()
    for n, path in enumerate(sorted(source.iterdir())[:4]):
        shutil.copy(path, os.fsencode(folder) + b"/M\xfcller%d" % n)
    os.mkfifo(folder / "pipe")
    try:
        volume = read_volume(folder)
    except MedPrepError as error:  # the same slices, whatever they are called
        pytest.fail(str(error))
    assert len(volume.array) == 4


def test_one_damaged_file_of_a_tree_is_counted_and_named(tmp_path):
    make("cases-dicom-crash", str(tmp_path / "in"))
    victim = sorted((tmp_path / "in/tree/P1/study/series").iterdir())[7]
    victim.write_bytes(victim.read_bytes()[:50000])
    code, said = medprep("cases", tmp_path / "in/tree", "--layout", "dicom", "--out", tmp_path / "a.csv")
    assert code == 0 and "2 cases" in said and "1 x damaged DICOM file" in said
    with pytest.raises(FileError, match=victim.name):
        read_volume(victim.parent)
