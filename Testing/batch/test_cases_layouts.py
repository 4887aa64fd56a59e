"""Cases files of datasets in their published layouts, and of DICOM trees."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import dicomfiles
import numpy as np
import pytest
from typer.testing import CliRunner

from MedPrepCommonLib.cases import layouts
from MedPrepCommonLib.cli import app
from MedPrepCommonLib.core.errors import MedPrepError
from MedPrepCommonLib.files.reading import read_volume


def touch(base: Path, *names: str) -> Path:
    for name in names:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).touch()
    return base


def cases(root: Path, layout: str) -> tuple[dict[str, dict[str, str]], dict[str, int]]:
    found = layouts.read(root, layout)
    return {row["case"]: {k: v for k, v in row.items() if k != "case"} for row in found.rows}, found.left


def test_luna16(tmp_path: Path) -> None:
    root = touch(tmp_path, "subset0/1.2.3.mhd", "subset0/1.2.3.raw", "subset1/1.2.4.mhd")
    touch(root, "subset1/1.2.5.mhd", "subset1/1.2.5.zraw", "seg-lungs-LUNA16/1.2.3.mhd")
    (root / "annotations.csv").write_text("seriesuid,coordX\n1.2.3,1\n1.2.3,2\n1.2.4,0\n")
    found, left = cases(root, "luna16")
    assert found == {
        "1.2.3": {"image": "subset0/1.2.3.mhd", "label.nodules": "2", "label.subset": "subset0"},
        "1.2.5": {"image": "subset1/1.2.5.mhd", "label.nodules": "0", "label.subset": "subset1"},
    }
    assert left == {"scan without its .raw file": 1, "lung mask of LUNA16": 1}


@pytest.mark.parametrize(
    ("names", "separator"), [(("t1", "t1ce", "t2", "flair"), "_"), (("t1n", "t1c", "t2w", "t2f"), "-")]
)
def test_brats_of_all_years(tmp_path: Path, names: tuple[str, ...], separator: str) -> None:
    for case, sequences in (("BraTS-GLI-00005-001", (*names, "seg")), ("BraTS-GLI-00005-000", names[:3])):
        touch(tmp_path, *(f"train/{case}/{case}{separator}{s}.nii.gz" for s in sequences))
    found, left = cases(tmp_path, "brats")
    base = f"train/BraTS-GLI-00005-001/BraTS-GLI-00005-001{separator}"
    columns = dict(zip(("t1", "t1c", "t2", "flair", "label.segmentation"), (*names, "seg"), strict=True))
    assert found == {
        "BraTS-GLI-00005-001": {
            "patient": "BraTS-GLI-00005",
            **{column: f"{base}{name}.nii.gz" for column, name in columns.items()},
        }
    }
    assert left == {"case that lacks a sequence": 1}


def test_chexpert(tmp_path: Path) -> None:
    root = touch(tmp_path / "CheXpert-v1.0-small", "train/patient00001/study1/view1_frontal.jpg")
    touch(root, "valid/patient64541/study1/view1_frontal.jpg")
    header = "Path,Sex,Age,Frontal/Lateral,Pleural Effusion,Edema\n"
    base = "CheXpert-v1.0-small/"
    (root / "train.csv").write_text(
        f"{header}{base}train/patient00001/study1/view1_frontal.jpg,F,68,Frontal,1.0,\n"
        f"{base}train/patient00002/study1/view1_frontal.jpg,F,68,Frontal,1.0,\n"
    )
    (root / "valid.csv").write_text(
        f"{header}{base}valid/patient64541/study1/view1_frontal.jpg,M,73,Frontal,0.0,1.0\n"
    )
    found, left = cases(root, "chexpert")
    assert found["patient00001-study1-view1_frontal"] == {
        "image": "train/patient00001/study1/view1_frontal.jpg",
        "patient": "patient00001",
        "split": "train",
        "label.Frontal_Lateral": "Frontal",
        "label.Pleural_Effusion": "1.0",
    }
    assert found["patient64541-study1-view1_frontal"]["split"] == "val" and len(found) == 2
    assert left == {"row whose image is missing": 1}


def test_nih(tmp_path: Path) -> None:
    root = touch(tmp_path, "images_001/images/00000001_000.png", "images_002/images/00000002_000.png")
    (root / "Data_Entry_2017.csv").write_text(
        "Image Index,Finding Labels,Follow-up #,Patient ID\n"
        "00000001_000.png,Cardiomegaly|Edema,0,1\n00000002_000.png,No Finding,0,2\n"
        "00000003_000.png,Mass,0,3\n"
    )
    (root / "train_val_list.txt").write_text("00000001_000.png\n")
    (root / "test_list.txt").write_text("00000002_000.png\n")
    found, left = cases(root, "nih")
    assert found["00000001_000"] == {
        "image": "images_001/images/00000001_000.png",
        "patient": "1",
        "split": "train",
        "label.findings": "Cardiomegaly|Edema",
    }
    assert found["00000002_000"]["split"] == "test" and left == {"row whose image is missing": 1}


def test_bids(tmp_path: Path) -> None:
    root = touch(
        tmp_path, "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", "sub-01/ses-a/anat/sub-01_ses-a_FLAIR.nii"
    )
    touch(root, "sub-02/anat/sub-02_ce-gadolinium_T1w.nii.gz", "sub-02/anat/sub-02_run-1_T1w.nii.gz")
    touch(root, "sub-02/anat/sub-02_run-2_T1w.nii.gz", "sub-02/anat/sub-02_T2star.nii.gz")
    touch(root, "sub-02/func/sub-02_bold.nii.gz", "derivatives/x/sub-02/anat/sub-02_T1w.nii.gz")
    found, left = cases(root, "bids")
    assert found == {
        "sub-01_ses-a": {
            "flair": "sub-01/ses-a/anat/sub-01_ses-a_FLAIR.nii",
            "t1": "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
            "patient": "sub-01",
        },
        "sub-02": {
            "t1c": "sub-02/anat/sub-02_ce-gadolinium_T1w.nii.gz",
            "t1": "sub-02/anat/sub-02_run-1_T1w.nii.gz",
            "patient": "sub-02",
        },
    }
    assert left == {
        "image that is not in a subject's anat": 2,
        "further run of an image": 1,
        "anat image of another kind (T2star)": 1,
    }


def test_nnunet(tmp_path: Path) -> None:
    record = {
        "channel_names": {"0": "T1", "1": "T2 FS"},
        "labels": {"background": 0},
        "file_ending": ".nii.gz",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(record))
    touch(tmp_path, "imagesTr/a_b_0000.nii.gz", "imagesTr/a_b_0001.nii.gz", "labelsTr/a_b.nii.gz")
    touch(tmp_path, "imagesTr/c_0000.nii.gz", "imagesTs/d_0000.nii.gz", "imagesTs/d_0001.nii.gz")
    touch(tmp_path, "imagesTr/e_0000.nii.gz", "imagesTr/e_0001.nii.gz")
    found, left = cases(tmp_path, "nnunet")
    assert found["a_b"] == {
        "t1": "imagesTr/a_b_0000.nii.gz",
        "t2_fs": "imagesTr/a_b_0001.nii.gz",
        "label.segmentation": "labelsTr/a_b.nii.gz",
        "label.part": "imagesTr",
    }
    assert set(found) == {"a_b", "d"} and found["d"]["label.part"] == "imagesTs"
    assert left == {"case that lacks a channel": 1, "training case without labels": 1}


def test_a_dicom_tree_names_nobody_but_keeps_patients(tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "ct" / "ts-j2k-dicom" / "dicom"
    shutil.copytree(source, tmp_path / "A" / "one")
    shutil.copytree(shared_data / "ct" / "lungdx-a0002-8mm-b40f" / "dicom", tmp_path / "A" / "two")
    shutil.copytree(shared_data / "odd" / "dicom-single-ct", tmp_path / "B")
    found, left = cases(tmp_path, "dicom")
    assert left == {"scout or single slice": 1}
    assert sorted(row["image"] for row in found.values()) == ["A/one", "A/two"]
    assert all(name.startswith("ct-") and len(name) == 15 for name in found)
    # One of the two says neither patient nor study: nobody is made up for it.
    assert [row.get("patient", "") for row in found.values()].count("") == 1


def test_series_of_one_folder_are_told_apart(tmp_path: Path) -> None:
    for n, uid in enumerate(("1.2.3.1", "1.2.3.2")):
        stored, positions = np.full((4, 8, 8), 100 * n, np.int16), dicomfiles.stack(4)
        own = {"SeriesInstanceUID": uid, "SeriesNumber": n + 1}
        for file in dicomfiles.write_series(tmp_path / uid, stored, positions, **own):
            file.rename(tmp_path / f"{n}-{file.name}")
    found, _left = cases(tmp_path, "dicom")
    assert len(found) == 2
    for row in found.values():
        assert row["patient"] == "MRN-12345"
        volume = read_volume(tmp_path / row["image"], row["image.series"])
        assert (volume.array == volume.array.flat[0]).all() and len(volume.array) == 4


def test_what_cannot_be_read(tmp_path: Path) -> None:
    for layout, words in (
        ("brast", "Did you mean 'brats'"),
        ("luna16", "no case of layout luna16"),
        ("nnunet", "dataset.json"),
    ):
        with pytest.raises(MedPrepError, match=words):
            layouts.read(tmp_path, layout)
    with pytest.raises(MedPrepError, match="no folder"):
        layouts.read(tmp_path / "none", "folder")


def test_the_command_writes_paths_seen_from_its_file(tmp_path: Path, shared_data: Path) -> None:
    root = tmp_path / "data"
    (root / "sub-1" / "anat").mkdir(parents=True)
    shutil.copy(shared_data / "odd/orientations/RAS.nii.gz", root / "sub-1/anat/sub-1_T1w.nii.gz")
    out = tmp_path / "lists" / "cases.csv"
    out.parent.mkdir()
    done = CliRunner().invoke(app.app, ["cases", str(root), "--layout", "bids", "--out", str(out)])
    assert done.exit_code == 0 and "1 cases of 1 patients: case, t1, patient" in done.stdout, done.output
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert row["t1"] == "../data/sub-1/anat/sub-1_T1w.nii.gz" and read_volume(out.parent / row["t1"])
    again = CliRunner().invoke(app.app, ["cases", str(root), "--layout", "bids", "--out", str(out)])
    assert again.exit_code == 2 and "--overwrite" in again.stderr
