"""Quality control of folders: cases found, checked, split and compared, from Python and the command line."""

import json
import subprocess
import sys
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from ctimages import body, labels_on
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from MedPrepCommonLib.cli.app import app
from MedPrepCommonLib.core.errors import FileError, ParameterError
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.outputs import writing
from MedPrepCommonLib.quality import folder as folderqc
from MedPrepCommonLib.quality import leakage
from MedPrepCommonLib.quality.leakage import Member


def image(seed: int, scale: float = 1.0) -> Volume:
    rng = np.random.default_rng(seed)
    array = rng.random((4, 9, 10)).astype(np.float32)
    array.reshape(-1)[:2] = 0, 1
    return Volume(array * scale, np.diag([1.0, 1.0, 1.0, 1.0]))


def put(path: Path, volume: Volume) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writing.write_nifti(volume, path)


def mask_of(volume: Volume):
    return labels_on(volume, (volume.array > 0.5).astype(np.uint8))


def found(folder, **options):
    return folderqc.control(folder, **options)


def check(quality, name):
    (line,) = [c for c in quality.checks if c.name == name]
    return line


def result(folder: Path, seed: int, verdict: str = "pass") -> None:
    """A result folder with the records that a run writes."""
    folder.mkdir(parents=True)
    line = {"name": "HU", "verdict": verdict, "value": "1", "limit": "", "advice": ""}
    (folder / "qc.json").write_text(json.dumps({"verdict": verdict, "checks": [line]}))
    (folder / "provenance.json").write_text(json.dumps({"inputs": {"image": {"digest": f"sha256:{seed}"}}}))
    (folder / "report.json").write_text(json.dumps({"files": ["qc.json", "provenance.json", "report.json"]}))


# ---- finding cases
def test_results_and_images_are_found_and_checked(tmp_path):
    result(tmp_path / "a", 1)
    result(tmp_path / "deep" / "b", 2, "fail")
    put(tmp_path / "c.nii.gz", image(3))
    put(tmp_path / ".hidden" / "d.nii.gz", image(4, 1000))
    quality = found(tmp_path)
    assert {c.name: (c.kind, c.verdict) for c in quality.cases} == {
        "a": ("result", "pass"), "deep/b": ("result", "fail"), "c.nii.gz": ("image", "pass"),
    }  # fmt: skip
    assert quality.verdict == "fail"
    record = quality.to_json()
    assert record["schema"] == "medprep-qc" and len(record["cases"]) == 3
    assert str(tmp_path) not in json.dumps(record)


def test_a_result_folder_by_itself(tmp_path):
    result(tmp_path / "one", 1)
    assert [c.name for c in found(tmp_path / "one").cases] == ["one"]


def test_a_damaged_or_incomplete_result_fails(tmp_path):
    for name in ("damaged", "incomplete", "other"):
        result(tmp_path / name, 1)
    (tmp_path / "damaged" / "qc.json").write_text("{")
    (tmp_path / "incomplete" / "report.json").write_text('{"files": ["image.nii.gz"]}')
    (tmp_path / "other" / "qc.json").write_text("[]")
    quality = found(tmp_path)
    assert {c.name: c.verdict for c in quality.cases} == dict.fromkeys(
        ("damaged", "incomplete", "other"), "fail"
    )
    assert "image.nii.gz" in quality.cases[1].checks[-1].value


def test_a_file_that_cannot_be_read_fails_by_itself(tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    put(tmp_path / "good.nii.gz", image(0))
    assert [c.verdict for c in found(tmp_path).cases] == ["fail", "pass"]


@pytest.mark.parametrize(
    ("image_path", "label_path"),
    [
        ("p1.nii.gz", "p1_mask.nii.gz"), ("p1/image.nii.gz", "p1/label.nii.gz"),
        ("p1.nii.gz", "p1-seg.nii.gz"),
        ("imagesTr/c_0000.nii.gz", "labelsTr/c.nii.gz"), ("images/c.nii.gz", "masks/c.nii.gz"),
        ("p1.nii.gz", "p1.lungs.nii.gz"),
    ],
)  # fmt: skip
def test_labels_are_found_and_must_lie_on_the_image(tmp_path, image_path, label_path):
    volume = image(0)
    put(tmp_path / image_path, volume)
    put(tmp_path / label_path, mask_of(volume))
    (case,) = found(tmp_path).cases
    assert case.name == image_path
    geometry = [c.verdict for c in case.checks if c.name.startswith("Geometry")]
    assert geometry == ["pass"] and case.verdict == "pass"
    put(tmp_path / label_path, mask_of(Volume(volume.array[1:].copy(), volume.ijkToRAS)))
    (case,) = found(tmp_path).cases
    assert [c.verdict for c in case.checks if c.name.startswith("Geometry")] == ["fail"]


def test_labels_of_another_case_are_not_taken(tmp_path):
    for name in ("imagesTr/a_0000", "imagesTr/b_0000"):
        put(tmp_path / f"{name}.nii.gz", image(1))
    put(tmp_path / "labelsTr" / "a.nii.gz", mask_of(image(1)))
    cases = {
        c.name: [k.name for k in c.checks if k.name.startswith("Geometry")] for c in found(tmp_path).cases
    }
    assert [len(v) for v in cases.values()] == [1, 0]


def test_the_checklist_can_be_set(tmp_path):
    put(tmp_path / "hu.nii.gz", Volume(body((6, 12, 14), (3, 3, 3)).array, np.diag([3.0, 3, 3, 1])))
    assert found(tmp_path).verdict == "fail"
    assert found(tmp_path, settings={"values": "any", "maximumSliceThickness": 4}).verdict == "pass"
    assert (
        found(tmp_path, settings={"preset": "hounsfield", "low": -2000, "high": 3000}).cases[0].verdict
        != "fail"
    )
    with pytest.raises(ParameterError, match="no parameter"):
        found(tmp_path, settings={"nothing": 1})


def test_nothing_to_check_is_an_error(tmp_path):
    with pytest.raises(FileError, match="nothing to check"):
        found(tmp_path)
    with pytest.raises(FileError, match="no folder"):
        found(tmp_path / "nowhere")


# ---- leakage
def test_the_same_image_in_two_splits_fails_whatever_its_name(tmp_path):
    put(tmp_path / "train" / "p1.nii.gz", image(1))
    put(tmp_path / "train" / "p2.nii.gz", image(2))
    put(tmp_path / "test" / "q7.nii.gz", image(3))
    quality = found(tmp_path)
    assert check(quality, "Same image in two splits").verdict == "pass"
    put(tmp_path / "test" / "q8.nii.gz", image(1))
    quality = found(tmp_path)
    line = check(quality, "Same image in two splits")
    assert line.verdict == "fail" == quality.verdict and "test/q8.nii.gz = train/p1.nii.gz" in line.value
    (tmp_path / "test" / "q8.nii.gz").unlink()
    put(tmp_path / "train" / "p3.nii.gz", image(2))
    assert check(found(tmp_path), "Same image twice in one split").verdict == "warn"


@pytest.mark.parametrize("dtype", [np.int16, np.float64])
def test_a_copy_of_another_type_stored_otherwise_elsewhere_is_the_same_image(tmp_path, dtype):
    array = np.random.default_rng(1).integers(-1000, 1000, (4, 9, 10), np.int16)
    put(tmp_path / "train" / "p1.nii.gz", Volume(array, np.eye(4)))
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0])
    matrix[:3, 3] = 9.0001, 8, 0  # positions are rounded by other programs
    put(tmp_path / "test" / "q8.nii.gz", Volume(array[:, ::-1, ::-1].astype(dtype), matrix))
    line = check(found(tmp_path), "Same image in two splits")
    assert line.verdict == "fail" and line.value == "test/q8.nii.gz = train/p1.nii.gz"
    array[0, 0, 0] += 1
    put(tmp_path / "test" / "q8.nii.gz", Volume(array, np.eye(4)))
    assert check(found(tmp_path), "Same image in two splits").verdict == "pass"


def test_images_without_contrast_are_not_taken_for_copies(tmp_path):
    matrix = np.eye(4)
    for name, matrix[0, 3] in (("train/a", 0), ("test/b", 5)):
        put(tmp_path / f"{name}.nii.gz", Volume(np.zeros((4, 9, 10), np.float32), matrix))
    assert check(found(tmp_path), "Same image in two splits").verdict == "pass"


def test_results_of_one_image_in_two_splits_fail(tmp_path):
    result(tmp_path / "train" / "a", 1)
    result(tmp_path / "val" / "b", 1)
    assert check(found(tmp_path), "Same image in two splits").verdict == "fail"


def test_a_patients_folder_in_two_splits_fails_and_a_files_name_warns(tmp_path):
    put(tmp_path / "train" / "p1" / "a.nii.gz", image(1))
    put(tmp_path / "test" / "p2" / "b.nii.gz", image(2))
    assert check(found(tmp_path), "Same patient in two splits").verdict == "pass"
    put(tmp_path / "test" / "p1" / "c.nii.gz", image(3))
    assert check(found(tmp_path), "Same patient in two splits").verdict == "fail"
    other = tmp_path / "files"
    put(other / "imagesTr" / "001_0000.nii.gz", image(1))
    put(other / "imagesTs" / "001_0000.nii.gz", image(2))
    assert check(found(other), "Same patient in two splits").verdict == "warn"


def test_a_cases_file_says_splits_and_patients(tmp_path):
    for n, name in enumerate(("a", "b", "c")):
        put(tmp_path / "all" / f"{name}.nii.gz", image(n))
    sheet = tmp_path / "cases.csv"
    sheet.write_text("case,patient,split\na,p1,train\nb,p1,train\nc,p2,test\n")
    quality = found(tmp_path / "all", cases=sheet)
    assert quality.verdict == "pass"
    assert [(c.split, c.patient) for c in quality.cases] == [("train", "p1"), ("train", "p1"), ("test", "p2")]
    sheet.write_text("case,patient,split\na,p1,train\nb,p1,test\nd,p2,test\n")
    quality = found(tmp_path / "all", cases=sheet)
    assert check(quality, "Same patient in two splits").verdict == "fail"
    assert check(quality, "Cases that the file does not name").value == "c.nii.gz"
    assert check(quality, "Rows without a case").value == "d"
    # By path, seen from the CSV file, as a batch has it.
    sheet.write_text("case,image,patient,split\n1,all/a.nii.gz,p1,train\n2,all/b.nii.gz,p1,test\n")
    assert check(found(tmp_path / "all", cases=sheet), "Same patient in two splits").verdict == "fail"


@pytest.mark.parametrize("text", ["", "case,image\na,b\n", "case,split\n", "\xff\xfe"])
def test_a_wrong_cases_file_is_refused(tmp_path, text):
    put(tmp_path / "all" / "a.nii.gz", image(0))
    sheet = tmp_path / "cases.csv"
    sheet.write_bytes(text.encode("latin-1"))
    with pytest.raises(FileError, match="cases file"):
        found(tmp_path / "all", cases=sheet)


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train/a.nii", "train"), ("Training/p/a.nii", "train"), ("imagesTs/a.nii", "test"), ("val/a", "val"),
        ("data/test_set/a", "test"), ("testing/a", "test"), ("a/trained/b", ""), ("train.nii", ""),
        ("x/y", ""),
    ],
)  # fmt: skip
def test_folders_name_splits(path, split):
    assert leakage.split_of(PurePosixPath(path))[0] == split


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["train", "test", ""]), st.integers(0, 6), st.integers(0, 6))))
def test_leakage_is_found_exactly_where_it_is(rows):
    members = [Member(f"c{n}", s, f"p{p}", True, (f"d{d}",)) for n, (s, p, d) in enumerate(rows)]
    lines = {c.name: c.verdict for c in leakage.checks(members)}
    parts = {"train": set(), "test": set()}
    images = {"train": set(), "test": set()}
    for split, patient, digest in rows:
        if split:
            parts[split].add(patient)
            images[split].add(digest)
    if all(parts.values()):
        assert lines["Same patient in two splits"] == ("fail" if parts["train"] & parts["test"] else "pass")
        assert lines["Same image in two splits"] == ("fail" if images["train"] & images["test"] else "pass")
    else:
        assert lines["Leakage"] == "pass"


# ---- the command
def run(*words):
    return CliRunner().invoke(app, ["qc", *map(str, words)])


def test_the_command_tells_by_its_exit_code(tmp_path):
    put(tmp_path / "data" / "train" / "a.nii.gz", image(1))
    put(tmp_path / "data" / "test" / "b.nii.gz", image(2))
    good = run(tmp_path / "data", "--json", tmp_path / "out.json")
    assert good.exit_code == 0 and "2 cases: PASS" in good.stdout
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["verdict"] == "pass" and [c["split"] for c in record["cases"]] == ["test", "train"]
    page = (tmp_path / "out.html").read_text()
    assert "Same image in two splits" in page and "train/a.nii.gz" in page and str(tmp_path) not in page
    first = (tmp_path / "out.json").read_bytes()
    run(tmp_path / "data", "--json", tmp_path / "out.json", "--quiet")
    assert (tmp_path / "out.json").read_bytes() == first
    put(tmp_path / "data" / "test" / "c.nii.gz", image(1))
    bad = run(tmp_path / "data", "--json", tmp_path / "out.json")
    assert bad.exit_code == 1 and "fail: Same image in two splits" in bad.stdout
    assert "3 cases: FAIL - 3 pass, 0 warn, 0 fail.\nAcross cases: FAIL" in bad.stdout
    assert json.loads((tmp_path / "out.json").read_text())["verdict"] == "fail"
    assert run(tmp_path / "data", "--set", "values=zscore", "--quiet").exit_code == 1


@pytest.mark.parametrize("words", [["nowhere"], [".", "--set", "values=nothing"], [".", "--cases", "no.csv"]])
def test_wrong_usage_is_2_and_writes_nothing(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "a.nii.gz", image(0))
    done = run(*words, "--json", "out.json")
    assert done.exit_code == 2 and done.stderr.startswith("medprep:")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii.gz"]
    assert run(".", "--json", "missing/out.json").exit_code == 2


def test_the_command_as_a_process(tmp_path):
    put(tmp_path / "a.nii.gz", image(0, 5000))
    done = subprocess.run(
        [sys.executable, "-m", "MedPrepCommonLib.cli", "qc", str(tmp_path)],
        cwd=Path(folderqc.__file__).parent.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "Normalized values" in done.stdout and "Traceback" not in done.stderr
