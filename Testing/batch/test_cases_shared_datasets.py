"""Data sets of ../shared/cases by command line: what a batch reads, refuses and writes down."""

from __future__ import annotations

import csv
import json
import runpy
import shutil
import sys
from pathlib import Path

import batchfiles
import numpy as np
import pydicom
import pytest
import tinyops
from conftest import REPOSITORY
from typer.testing import CliRunner

from MedPrepCommonLib.batch import folder as batchfolder
from MedPrepCommonLib.batch import memory
from MedPrepCommonLib.cli import app
from MedPrepCommonLib.core import recipe as recipes
from MedPrepCommonLib.core.errors import MedPrepError
from MedPrepCommonLib.core.i18n import _, told
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.files.reading import read_volume
from MedPrepCommonLib.outputs import writing

CASES = REPOSITORY.parent / "shared" / "cases"


def medprep(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app.app, [str(a) for a in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done.exit_code, " ".join(done.output.split())


def made(name: str, out: Path, monkeypatch) -> Path:
    """What a case's script makes."""
    script = CASES / name / "make.py"
    if not script.is_file():
        pytest.skip("no folder ../shared/cases beside the repository")
    monkeypatch.setattr(sys, "argv", ["make.py", str(out)])
    runpy.run_path(str(script), run_name="__main__")
    return out


def test_qc_judges_the_cases_of_a_batch_without_reports(tmp_path: Path, monkeypatch) -> None:
    scans = made("qc-fails-every-batch-case", tmp_path / "scans", monkeypatch)
    plan = batchfiles.quick(tmp_path)
    assert medprep("batch", plan, scans, "-o", tmp_path / "out", "-w", 0, "-q")[0] == 0
    code, said = medprep("qc", tmp_path / "out" / "cases", "-q", "--json", tmp_path / "qc.json")
    found = json.loads((tmp_path / "qc.json").read_text())
    names = {check["name"] for case in found["cases"] for check in case["checks"]}
    assert code == 0 and len(found["cases"]) == 2 and "Files" not in names, said
    next((tmp_path / "out" / "cases" / "a").glob("*.nii.gz")).unlink()
    code, said = medprep("qc", tmp_path / "out" / "cases")
    assert code == 1 and "missing: " in said


@pytest.mark.parametrize("again", [False, True])
def test_results_do_not_lie_among_the_images(tmp_path: Path, again: bool) -> None:
    batchfiles.cases(tmp_path / "scans", 1)
    more = ["--resume"] if again else []
    plan, out = batchfiles.quick(tmp_path), tmp_path / "scans" / "out"
    code, said = medprep("batch", plan, tmp_path / "scans", "-o", out, "-w", 0, *more)
    assert code == 2 and "lies inside the folder of the images" in said and not out.exists()
    sheet = batchfiles.sheet(tmp_path / "x.csv", [{"case": "a", "image": out / "case-000.nii.gz"}])
    code, said = medprep("batch", plan, sheet, "-o", out, "-w", 0, *more)
    assert code == 2 and "lie in one another" in said and not out.exists()


@pytest.mark.parametrize("name", ["a.mha", "b.nrrd", "c.mhd"])
def test_a_digest_covers_the_voxels_wherever_they_lie(tmp_path: Path, name: str) -> None:
    source = CASES / "hostile" / "resume-misses-detached-data" / name
    if not source.is_file():
        pytest.skip("no folder ../shared/cases beside the repository")
    shutil.copyfile(source, tmp_path / name)
    values = np.arange(24 * 24 * 6, dtype="<i2")
    values.tofile(tmp_path / "x.raw")
    sheet = batchfiles.sheet(tmp_path / "cases.csv", [{"case": "a", "image": name}])
    command = ["batch", batchfiles.quick(tmp_path), sheet, "-o", tmp_path / "out", "-w", 0]
    assert medprep(*command)[0] == 0
    assert "1 were as an earlier run left them" in medprep(*command, "--resume")[1]
    (tmp_path / "beside.raw").write_bytes(b"of another image")
    assert "1 were as an earlier run left them" in medprep(*command, "--resume")[1]
    values[::-1].tofile(tmp_path / "x.raw")
    code, said = medprep(*command, "--resume")
    assert code == 0 and "earlier run" not in said


def test_no_single_file_stops_a_batch(tmp_path: Path) -> None:
    file = pydicom.Dataset()
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    file.Rows = file.Columns = 4
    file.PixelSpacing, file.SliceThickness = [0, 0], 1
    file.save_as(tmp_path / "zero.dcm", enforce_file_format=True)
    writing.write_nifti(tinyops.image(0), tmp_path / "b.nii.gz")
    rows = [{"case": "a", "image": "zero.dcm"}, {"case": "b", "image": "b.nii.gz"}]
    plan, sheet = batchfiles.quick(tmp_path), batchfiles.sheet(tmp_path / "cases.csv", rows)
    coarse = recipes.load(plan)
    assert memory.estimate([tmp_path / "zero.dcm"], coarse) == memory.BASE
    for more in ([], ["--resume"]):
        code, said = medprep("batch", plan, sheet, "-o", tmp_path / "out", "-w", 0, *more)
        assert code == 3 and "1 of 2 cases done, 1 failed" in said


@pytest.mark.parametrize("pseudonyms", [False, True])
def test_records_hold_no_planted_name(tmp_path: Path, pseudonyms: bool) -> None:
    """A damaged DICOM file in a folder with blanks, a detached data file, a series description."""
    ours = tmp_path / "PLANTDIR DOE"
    damaged = ours / "MISS JANE 19600101"
    damaged.mkdir(parents=True)
    (damaged / "PLANTIM 0001").write_bytes(bytes(128) + b"DICM" + b"PLANTTEXT" * 20)
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 4 4\nencoding: raw\ndata file: {}\n\n"
    (ours / "PLANTHEAD.nhdr").write_text(header.format("PLANTDETACHED DOE JANE.raw"))
    (ours / "PLANTOUT.nhdr").write_text(header.format("../PLANTABOVE.raw"))
    (ours / "PLANTEMPTY.nii").write_bytes(b"")
    rows = [
        {"case": f"c{n}", "image": f"PLANTDIR DOE/{name}", "patient": "PLANTPATIENT"}
        for n, name in enumerate(
            ("MISS JANE 19600101", "PLANTHEAD.nhdr", "PLANTOUT.nhdr", "PLANTEMPTY.nii", "PLANTNO.nii")
        )
    ]
    sheet = batchfiles.sheet(tmp_path / "cases.csv", rows)
    salt = tmp_path / "salt.txt"
    salt.write_text("0123456789abcdef" * 4)
    more = ["--pseudonyms", salt] if pseudonyms else []
    code, said = medprep("batch", batchfiles.quick(tmp_path), sheet, "-o", tmp_path / "out", "-w", 0, *more)
    assert code == 3 and "5 failed" in said
    for file in (f for f in (tmp_path / "out").rglob("*") if f.is_file()):
        text = file.read_text(encoding="utf-8", errors="replace")
        assert not any(word in text for word in ("PLANT", "JANE", "DOE", "19600101")), file
    errors = [row["error"] for row in csv.DictReader((tmp_path / "out" / "batch.csv").open())]
    assert any("<image> is empty (0 bytes)" in error for error in errors)
    assert sum("<image>" in error for error in errors) >= 3


def test_words_and_what_was_filled_in_stay_apart() -> None:
    size = _("{n} x {m}").format(n=3, m=2.5)
    text = _("{path} has {size} voxels, {what!r} at {mm:.1f} mm.").format(
        path=Path("/a/DOE JANE"), size=size, what="JANE {0}", mm=1.26
    )
    assert text == f"{Path('/a/DOE JANE')} has 3 x 2.5 voxels, 'JANE {{0}}' at 1.3 mm."
    assert told(text, lambda _free: "*") == "* has 3 x 2.5 voxels, * at 1.3 mm."
    assert told(_("Plain."), lambda _free: "*") == "Plain." and told("DOE" + text, lambda _free: "*") == "*"
    error = MedPrepError(_("Case {name}").format(name="JANE"))
    assert str(error) == "Case JANE" and told(error.wrong, lambda _free: "*") == "Case *"


def test_the_digest_of_a_dicomdir_is_that_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "DICOMDIR").write_bytes(b"a")
    (tmp_path / "1").write_bytes(b"b")
    before = batchfolder.input_digest(tmp_path / "DICOMDIR")
    (tmp_path / "1").write_bytes(b"c")
    assert batchfolder.input_digest(tmp_path / "DICOMDIR") != before


def test_cases_with_different_channels_are_no_data_set(tmp_path: Path, monkeypatch) -> None:
    scans = made("export-mixed-channels", tmp_path / "scans", monkeypatch)
    steps = [{"id": "fuse", "operation": "mri.fuse", "parameters": {"normalization": "none"}}]
    sequences = ("t1", "t1c", "t2", "flair")
    steps[0]["inputs"] = {name: name if name == "t1" else f"{name}?" for name in sequences} | {
        "mask": "labels"
    }
    inputs = {name: {"description": name, "optional": name != "t1"} for name in sequences}
    inputs["labels"] = {"description": "expert", "kind": "labels"}
    plan = batchfiles.recipe(
        tmp_path,
        "fused",
        modality="MR",
        inputs=inputs,
        steps=steps,
        outputs={"image": "fuse.image", "seg": "labels"},
    )
    out = tmp_path / "out"
    code, said = medprep("batch", plan, scans / "cases-AB.csv", "-o", out, "-w", 0, "-q")
    assert code == 0, said
    for form, name in (("nnunet", "Dataset101_Mixed"), ("monai", "list")):
        code, said = medprep("export", form, out, "-o", tmp_path / name, "--labels", "seg")
        assert code == 2 and not (tmp_path / name).exists(), said
        assert "T1, T2, FLAIR: A" in said and "T1, T1c, T2: B" in said
    same = (scans / "cases-AB.csv").read_text().splitlines()
    (scans / "cases-A.csv").write_text("\n".join(same[:2]) + "\n")
    assert medprep("batch", plan, scans / "cases-A.csv", "-o", tmp_path / "one", "-w", 0, "-q")[0] == 0
    code, said = medprep(
        "export", "nnunet", tmp_path / "one", "-o", tmp_path / "Dataset102_A", "--labels", "seg"
    )
    assert code == 0, said
    record = json.loads((tmp_path / "Dataset102_A" / "dataset.json").read_text())
    assert record["channel_names"] == {"0": "T1", "1": "T2", "2": "FLAIR"}


@pytest.mark.parametrize(("values", "words"), [((1, 2, 4), "1, 2, 4"), ((255,), "255")])
def test_label_values_of_the_whole_set_become_1_to_n(tmp_path: Path, values, words) -> None:
    """BraTS has 1, 2, 4; masks from PNG 255; one class is absent in one case."""
    steps = [{"id": "clip", "operation": "ct.clip", "inputs": {"image": "image"}}]
    inputs = {"image": {"description": "any CT"}, "labels": {"description": "expert", "kind": "labels"}}
    outputs = {"image": "clip.image", "seg": "labels"}
    plan = batchfiles.recipe(tmp_path, "kept", inputs=inputs, steps=steps, outputs=outputs)
    rows = []
    for n, own in enumerate((values, values[:-1] or values)):
        image = tinyops.image(n)
        array = np.zeros(image.shape, np.uint8)
        for k, value in enumerate(own):
            array[k + 1, 1, 1] = value
        writing.write_nifti(image, tmp_path / f"{n}.nii.gz")
        writing.write_nifti(Volume(array, image.ijkToRAS), tmp_path / f"{n}-seg.nii.gz")
        rows.append({"case": f"c{n}", "image": f"{n}.nii.gz", "labels": f"{n}-seg.nii.gz"})
    sheet = batchfiles.sheet(tmp_path / "cases.csv", rows)
    assert medprep("batch", plan, sheet, "-o", tmp_path / "out", "-w", 0, "-q")[0] == 0
    command = ["export", "nnunet", tmp_path / "out", "-o", tmp_path / "Dataset101_X", "--labels", "seg"]
    code, said = medprep(*command)
    assert code == 2 and f"values {words}" in said and "--renumber" in said
    code, said = medprep(*command, "--renumber")
    assert code == 0, said
    record = json.loads((tmp_path / "Dataset101_X" / "dataset.json").read_text())
    assert record["labels"] == {"background": 0} | {f"label_{v}": n for n, v in enumerate(values, 1)}
    found = read_volume(tmp_path / "Dataset101_X" / "labelsTr" / "c0.nii.gz").array
    assert [int(found[k + 1, 1, 1]) for k in range(len(values))] == list(range(1, len(values) + 1))
    assert found.astype(bool).sum() == len(values)


def test_lists_open_every_header(tmp_path: Path) -> None:
    batchfiles.cases(tmp_path / "scans", 1)
    plan, out = batchfiles.quick(tmp_path), tmp_path / "out"
    assert medprep("batch", plan, tmp_path / "scans" / "cases.csv", "-o", out, "-w", 0, "-q")[0] == 0
    file = out / "cases" / "case-000" / "image.nii.gz"
    file.write_bytes(file.read_bytes()[:100])
    code, said = medprep("export", "torchio", out, "-o", tmp_path / "list")
    assert code == 2 and "damaged" in said and not (tmp_path / "list").exists()
