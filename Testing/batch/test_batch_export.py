"""Batches as datasets of training frameworks: what nnU-Net, MONAI and TorchIO read is what was written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tinyops
from typer.testing import CliRunner

from MedPrepCommonLib.batch import export, running
from MedPrepCommonLib.cases.table import Case
from MedPrepCommonLib.cli import app
from MedPrepCommonLib.core import recipe
from MedPrepCommonLib.core.errors import MedPrepError
from MedPrepCommonLib.outputs import writing


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch of five cases in three splits, one of them failed: an image, three channels, a label map."""
    folder = tmp_path_factory.mktemp("prepared")
    splits = ("train", "train", "val", "test", "train")
    for n in range(4):
        writing.write_nifti(tinyops.image(n), folder / f"{n}.nii.gz")
    cases = {
        f"c{n}": Case(f"c{n}", {"image": str(folder / f"{n}.nii.gz")}, split=s) for n, s in enumerate(splits)
    }
    with tinyops.registered():
        done = running.run(recipe.parse(tinyops.recipe()), cases, folder / "out", running.Plan(workers=0))
    assert list(done.failed) == ["c4"]
    return folder / "out"


def test_nnunet_raw(prepared: Path, tmp_path: Path) -> None:
    target = tmp_path / "Dataset101_Balls"
    found = export.nnunet(prepared, target, ("scaled", "channels"), "lungs", ("ball",))
    assert found.counts == {"train": 2, "val": 1, "test": 1}
    assert json.loads((target / "dataset.json").read_text()) == {
        "channel_names": {"0": "scaled", "1": "none", "2": "one", "3": "two"},
        "labels": {"background": 0, "ball": 1},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    numbers = [f"{n:04d}" for n in range(4)]
    train = sorted(f"{c}_{n}.nii.gz" for c in ("c0", "c1", "c2") for n in numbers)
    assert sorted(p.name for p in (target / "imagesTr").iterdir()) == train
    assert sorted(p.name for p in (target / "imagesTs").iterdir()) == [f"c3_{n}.nii.gz" for n in numbers]
    assert sorted(p.name for p in (target / "labelsTr").iterdir()) == [f"c{n}.nii.gz" for n in range(3)]
    assert json.loads((target / "splits_final.json").read_text()) == [{"train": ["c0", "c1"], "val": ["c2"]}]
    first = sitk.ReadImage(str(target / "imagesTr" / "c0_0000.nii.gz"))
    second = sitk.ReadImage(str(target / "imagesTr" / "c0_0002.nii.gz"))
    label = sitk.ReadImage(str(target / "labelsTr" / "c0.nii.gz"))
    values = sitk.GetArrayFromImage(first)
    assert np.array_equal(sitk.GetArrayFromImage(second), values + 1)
    assert np.array_equal(sitk.GetArrayFromImage(label), values >= 0)
    for image in (second, label):
        assert np.allclose(image.GetOrigin(), first.GetOrigin()) and image.GetSize() == first.GetSize()
        assert np.allclose(image.GetDirection(), first.GetDirection())


@pytest.mark.parametrize("form", ["monai", "torchio"])
def test_lists_of_files(prepared: Path, tmp_path: Path, form: str) -> None:
    command = ["export", form, str(prepared), "--out", str(tmp_path / "list"), "--images", "scaled"]
    done = CliRunner().invoke(app.app, [*command, "--labels", "lungs"])
    assert done.exit_code == 0 and "train: 2, val: 1, test: 1" in done.stdout, done.output
    if form == "monai":
        groups = json.loads((tmp_path / "list" / "datalist.json").read_text())
        assert {key: len(rows) for key, rows in groups.items()} == {"training": 2, "validation": 1, "test": 1}
        rows = groups["training"]
    else:
        rows = list(csv.DictReader((tmp_path / "list" / "subjects.csv").read_text().splitlines()))
        assert [row["split"] for row in rows] == ["train", "train", "val", "test"]
    for key, output in (("scaled", "scaled"), ("label", "lungs")):
        path = (tmp_path / "list" / rows[0][key]).resolve()
        assert path == prepared.resolve() / "cases" / "c0" / f"{output}.nii.gz"


def test_what_cannot_be_exported(prepared: Path, tmp_path: Path) -> None:
    good = tmp_path / "Dataset101_Balls"
    for arguments, words in (
        ((prepared, tmp_path / "balls", ("scaled",), "lungs"), "Dataset101_Lungs"),
        ((prepared, good, ("scaled",)), "--labels"),
        ((prepared, good, ("image",), "lungs"), "no output 'image'.*channels, lungs, scaled"),
        ((prepared, good, ("scaled",), "scaled"), "fractional|negative|different values"),
        ((tmp_path, good, ("scaled",), "lungs"), "no output folder of a batch"),
    ):
        with pytest.raises(MedPrepError, match=words):
            export.nnunet(*arguments)
    assert list(tmp_path.iterdir()) == []
