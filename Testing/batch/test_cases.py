"""Cases files, folders, splits and pseudonyms: mistakes name the row; a patient is never in two splits."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import batchfiles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from MedPrepCommonLib.cases import folder as casesfolder
from MedPrepCommonLib.cases import names as casesnames
from MedPrepCommonLib.cases import split, table
from MedPrepCommonLib.cli import app
from MedPrepCommonLib.core import recipe as recipes
from MedPrepCommonLib.core.errors import FileError, MedPrepError, ParameterError


@pytest.fixture
def plan(tmp_path: Path):
    return recipes.load(batchfiles.quick(tmp_path))


@pytest.fixture
def several(tmp_path: Path):
    """A recipe with a label map and an optional image besides its main image."""
    inputs = {"image": {}, "lungs": {"kind": "labels"}, "prior": {"optional": True}}
    return recipes.load(batchfiles.recipe(tmp_path, "several", {"operation": "normalize"}, inputs=inputs))


def written(folder: Path, text: str) -> Path:
    path = folder / "cases.csv"
    path.write_bytes(text.encode())
    return path


def test_a_row_is_a_case(tmp_path: Path, several) -> None:
    path = written(
        tmp_path,
        "\ufeffcase,image,image.series,lungs,patient,split,label.class\n"
        "a,scans/a,2,a.nii.gz,P1,train,nodule\n\n"
        f'"b", {tmp_path}/b.nii , ,"b c.nii.gz",P2,test,\n',
    )
    first, second = table.from_sheet(path, several, {})
    assert first == table.Case(
        "a",
        {"image": str(tmp_path / "scans/a"), "lungs": str(tmp_path / "a.nii.gz")},
        {"image": "2"},
        "P1",
        "train",
        {"class": "nodule"},
    )
    assert second.inputs == {"image": str(tmp_path / "b.nii"), "lungs": str(tmp_path / "b c.nii.gz")}
    assert second.series == {} and second.labels == {"class": ""}


def test_semicolons_and_other_column_names(tmp_path: Path, plan) -> None:
    path = written(tmp_path, "case;scan\na;a.nii\n")
    (case,) = table.from_sheet(path, plan, {"image": "scan"})
    assert case.inputs == {"image": str(tmp_path / "a.nii")} and case.patient == "a"


def test_columns_that_a_recipe_does_not_take_are_left_but_not_misspelt_ones(tmp_path: Path, several) -> None:
    path = written(tmp_path, "case,image,lungs,flair\na,a,b,c\n")
    assert set(table.from_sheet(path, several, {})[0].inputs) == {"image", "lungs"}
    with pytest.raises(FileError, match="no input 'priors'.*Did you mean 'prior'"):
        table.from_sheet(written(tmp_path, "case,image,lungs,priors\na,a,b,c\n"), several, {})


MISTAKES = [
    ("", "it is empty"),
    ("case,image\n", "there are no cases"),
    ("name,image\na,b\n", "line 1: there is no column 'case'"),
    ("case,imgae\na,b\n", "line 1: there is no column 'image'.*Did you mean 'imgae'"),
    ("case,image,spilt\na,b,c\n", "line 1: recipe quick has no input 'spilt'.*Did you mean 'split'"),
    ("case,image,image\na,b,c\n", "line 1: column 'image' is there twice"),
    ("case,image,\na,b,c\n", "line 1: column 3 has no name"),
    ("case,image\na,b\nb\n", "line 3: 1 values"),
    ("case,image\na,b\nb,c,d\n", "line 3: 3 values"),
    ("case,image\na,b\n,c\n", "line 3: the case has no name"),
    ("case,image\na,b\nc,d\nA,e\n", "line 4: case 'A' is there already, on line 2"),
    ("case,image\na,b\nb,\n", "line 3: case 'b' has no image"),
    ("case,image,split\na,b,trian\n", "line 2: split 'trian'.*Did you mean 'train'"),
    ("case,image,split\na,b,train\nb,b,\n", "case 'b' has no split"),
    ('case,image\na,"b\n', "not a CSV file"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES, ids=[words[:40] for _text, words in MISTAKES])
def test_mistakes_name_the_line(tmp_path: Path, plan, text: str, words: str) -> None:
    with pytest.raises(FileError, match=words):
        table.from_sheet(written(tmp_path, text), plan, {})


def test_a_file_that_is_no_text(tmp_path: Path, plan) -> None:
    path = tmp_path / "cases.csv"
    path.write_bytes(b"case,image\n\xff\xfe,\x00\n")
    with pytest.raises(FileError, match="UTF-8"):
        table.from_sheet(path, plan, {})
    with pytest.raises(FileError, match="cannot be read"):
        table.from_sheet(tmp_path / "missing.csv", plan, {})


def test_a_patient_in_two_splits_is_an_error_that_does_not_name_the_patient(tmp_path: Path, plan) -> None:
    path = written(tmp_path, "case,image,patient,split\na,a,Doe,train\nb,b,Roe,test\nc,c,Doe,test\n")
    with pytest.raises(FileError, match="'a' and 'c' are of one patient.*'train' and 'test'") as caught:
        table.from_sheet(path, plan, {})
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("name", ["a/b", "../a", ".a", "a b", "con", "COM1.x", "a.", "ä", "x" * 101])
def test_names_that_cannot_be_folders_need_pseudonyms(tmp_path: Path, plan, name: str) -> None:
    found = table.from_sheet(written(tmp_path, f"case,image\n{name},b\n"), plan, {})
    with pytest.raises(FileError, match="--pseudonyms"):
        casesnames.public(found, "cases.csv")
    (pseudonym,) = casesnames.public(found, "cases.csv", "0123456789abcdef")
    assert table._NAME.fullmatch(pseudonym) and name not in pseudonym


def test_pseudonyms_depend_on_name_and_salt_alone(tmp_path: Path) -> None:
    assert casesnames.pseudonym("a", "s" * 16) == casesnames.pseudonym("a", "s" * 16)
    assert len({casesnames.pseudonym(n, s * 16) for n in "ab" for s in "st"}) == 4
    (tmp_path / "short.txt").write_text("short\n")
    with pytest.raises(FileError, match="5 characters"):
        casesnames.read_salt(tmp_path / "short.txt")
    with pytest.raises(FileError, match="token_hex"):
        casesnames.read_salt(tmp_path / "none.txt")


def test_a_batch_under_pseudonyms_names_nobody(tmp_path: Path) -> None:
    sheet = batchfiles.cases(tmp_path / "data", 3, {1: "NaN"})
    (tmp_path / "salt.txt").write_text("0123456789abcdef0123")
    command = ["batch", str(batchfiles.quick(tmp_path)), str(sheet), "-o", str(tmp_path / "out"), "-w", "0"]
    done = CliRunner().invoke(app.app, [*command, "--pseudonyms", str(tmp_path / "salt.txt")])
    assert done.exit_code == 3, done.output
    assert not [p for p in (tmp_path / "out").rglob("*") if "case-" in p.name]
    for path in (p for p in (tmp_path / "out").rglob("*") if p.is_file()):
        assert b"case-0" not in path.read_bytes() and b"Doe" not in path.read_bytes(), path
    names = set(json.loads((tmp_path / "out" / "batch.json").read_text())["cases"])
    assert names == {casesnames.pseudonym(f"case-00{n}", "0123456789abcdef0123") for n in range(3)}


# Folders


def touch(base: Path, *names: str) -> None:
    for name in names:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).touch()


def test_every_image_of_a_folder_is_a_case(tmp_path: Path, plan) -> None:
    touch(tmp_path / "in", "b.nii.gz", "a.mha", "sub/c.nii", "notes.txt", ".hidden.nii")
    found = casesfolder.from_folder(tmp_path / "in", plan, [])
    assert [(c.id, Path(c.inputs["image"]).name) for c in found] == [
        ("a", "a.mha"),
        ("b", "b.nii.gz"),
        ("sub-c", "c.nii"),
    ]


def test_a_pattern_says_which_file_is_which_input(tmp_path: Path, several) -> None:
    touch(
        tmp_path / "in", "p1/p1_ct.nii.gz", "p1/p1_lungs.nii.gz", "x/p2/p2_ct.nii.gz", "x/p2/p2_lungs.nii.gz"
    )
    touch(tmp_path / "in", "p1/p1_prior.nii.gz", "p1/p3_ct.nii.gz")
    patterns = [
        f"{i}=**/{{case}}/{{case}}_{f}*" for i, f in (("image", "ct"), ("lungs", "lungs"), ("prior", "prior"))
    ]
    first, second = casesfolder.from_folder(tmp_path / "in", several, patterns)
    assert (first.id, sorted(first.inputs)) == ("p1", ["image", "lungs", "prior"])
    assert (second.id, sorted(second.inputs)) == ("p2", ["image", "lungs"])


def test_folders_that_do_not_fit(tmp_path: Path, plan, several) -> None:
    touch(tmp_path / "in", "a_1.nii", "a_2.nii", "b.txt")
    for arguments, words in (
        ((tmp_path / "none", plan, []), "There is no folder none"),
        ((tmp_path / "in", several, []), "a pattern for each"),
        ((tmp_path / "in", plan, ["image=*.nii"]), "{case} in it"),
        ((tmp_path / "in", plan, ["mask={case}.nii"]), "cannot be understood"),
        ((tmp_path / "in", plan, ["{case}.mha"]), "No image in in fits"),
        ((tmp_path / "in", plan, ["{case}_*.nii"]), "Two files are the image of case 'a'"),
        ((tmp_path / "in", several, ["image={case}_1.nii", "lungs={case}_3.nii"]), "Case 'a' has no lungs"),
    ):
        with pytest.raises(MedPrepError, match=words.replace("{", r"\{").replace("}", r"\}")):
            casesfolder.from_folder(*arguments)


# Splits


def patients(counts: list[int]) -> table.Sheet:
    rows = [
        (n, {"case": f"{p}-{n}", "patient": f"P{p}"}) for p, count in enumerate(counts) for n in range(count)
    ]
    return table.Sheet("cases.csv", ("case", "patient"), tuple(rows))


@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=40), seed=st.integers(0, 1000))
def test_a_patient_is_in_one_split_and_the_fractions_hold(counts: list[int], seed: int) -> None:
    sheet = patients(counts)
    rows = split.split(sheet, (0.6, 0.2, 0.2), seed)
    assert [row["case"] for row in rows] == [row["case"] for _n, row in sheet.rows]
    of = {}
    for row in rows:
        assert of.setdefault(row["patient"], row["split"]) == row["split"]
    sizes = Counter(row["split"] for row in rows)
    for name, share in zip(table.SPLITS, (0.6, 0.2, 0.2), strict=True):
        assert abs(sizes[name] - share * len(rows)) <= max(counts)
    assert rows == split.split(sheet, (0.6, 0.2, 0.2), seed)


def test_another_seed_is_another_split() -> None:
    sheet = patients([1] * 50)
    assert split.split(sheet, (0.5, 0.25, 0.25), 1) != split.split(sheet, (0.5, 0.25, 0.25), 2)


def test_the_order_of_rows_does_not_matter() -> None:
    sheet = patients([2, 1, 3, 1, 1, 2])
    turned = table.Sheet(sheet.name, sheet.columns, sheet.rows[::-1])
    rows = split.split(sheet, (0.5, 0.25, 0.25), 0)
    assert split.split(turned, (0.5, 0.25, 0.25), 0) == rows[::-1]


@pytest.mark.parametrize("text", ["", "1", "0.5,0.5", "0.7,0.2,0.2", "a,b,c", "1.5,-0.5,0"])
def test_fractions_that_are_none(text: str) -> None:
    with pytest.raises(ParameterError, match="add up to 1"):
        split.parse_fractions(text)


def test_the_split_command_writes_a_file_that_a_batch_takes(tmp_path: Path, plan) -> None:
    sheet = batchfiles.cases(tmp_path, 10)
    target = tmp_path / "split.csv"
    done = CliRunner().invoke(
        app.app, ["split", str(sheet), "--out", str(target), "--fractions", "0.6,0.2,0.2"]
    )
    assert done.exit_code == 0 and done.stdout == "train: 6, val: 2, test: 2\n", done.output
    found = table.from_sheet(target, plan, {})
    assert Counter(c.split for c in found) == {"train": 6, "val": 2, "test": 2}
    again = CliRunner().invoke(app.app, ["split", str(sheet), "--out", str(target)])
    assert again.exit_code == 2 and "--overwrite" in again.stderr
    (tmp_path / "other").mkdir()
    away = CliRunner().invoke(app.app, ["split", str(sheet), "--out", str(tmp_path / "other" / "s.csv")])
    assert away.exit_code == 2 and "another folder" in away.stderr


def test_a_patientwise_split_needs_patients(tmp_path: Path) -> None:
    path = written(tmp_path, "case,image\na,a\nb,b\nc,c\n")
    command = ["split", str(path), "--out", str(tmp_path / "s.csv")]
    done = CliRunner().invoke(app.app, command)
    assert done.exit_code == 2 and "--no-patientwise" in done.stderr
    assert CliRunner().invoke(app.app, [*command, "--no-patientwise"]).exit_code == 0
    assert len(list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))) == 3
