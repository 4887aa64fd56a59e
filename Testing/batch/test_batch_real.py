"""Real images through three recipes as batches, and the exports read by the frameworks that they are for.

Slow: ``pytest Testing/batch/test_batch_real.py -m slow``. Frameworks are asked where they are installed:
nnU-Net by the interpreter in ``MEDPREP_NNUNET``, MONAI and TorchIO by the one in ``MEDPREP_BENCH``.
"""

from __future__ import annotations

import csv
import os
import subprocess
from pathlib import Path

import pytest
from batchfiles import medprep, sheet

pytestmark = pytest.mark.slow

NNUNET = """
import os, sys
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
verify_dataset_integrity(sys.argv[1], num_processes=1)
print("accepted")
"""
MONAI = """
import sys
from monai.data import Dataset, load_decathlon_datalist
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
items = load_decathlon_datalist(sys.argv[1] + "/datalist.json", True, "training")
keys = ["image", "label"]
for item in Dataset(items, Compose([LoadImaged(keys), EnsureChannelFirstd(keys)])):
    assert item["image"].shape == item["label"].shape and item["label"].max() >= 1, item
    print(item["case"], tuple(item["image"].shape), float(item["image"].min()), float(item["image"].max()))
"""
TORCHIO = """
import csv, os, sys
import torchio as tio
folder = sys.argv[1]
for row in csv.DictReader(open(folder + "/subjects.csv")):
    path = lambda key: os.path.join(folder, row[key])
    subject = tio.Subject(image=tio.ScalarImage(path("image")), label=tio.LabelMap(path("label")))
    subject.check_consistent_spatial_shape()
    subject.check_consistent_affine()
    print(row["case"], subject.spatial_shape, subject.label.data.max().item())
"""


def images(root: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of a cases file for each recipe."""
    ct, mri, xray = root / "ct", root / "mri", sorted((root / "xr/chest-lungs").glob("*[0-9a-f].png"))
    rows = {
        "ct-lung": [
            ("lidc", ct / "lidc0314-2mm/ct.nii.gz", "train"),
            ("lungdx", ct / "lungdx-a0002-8mm-b40f/dicom", "val"),
            ("cip", ct / "cip-ct64/ct.nrrd", "train"),
        ],
        "mri-t1": [("adi", mri / "adi-t1-t2/t1-mprage.nii.gz", "train")],
        "xray-chest": [(path.stem, path, "train" if n % 2 else "val") for n, path in enumerate(xray[:8])],
    }
    return {
        recipe: [{"case": case, "image": str(path), "split": split} for case, path, split in found]
        for recipe, found in rows.items()
    }


@pytest.fixture(scope="module")
def batches(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    for recipe, rows in images(shared_data).items():
        cases = sheet(folder / f"{recipe}.csv", rows)
        code, out, err = medprep("batch", recipe, cases, "--out", folder / recipe, "--workers", 2)
        assert code == 0, (out, err)
        print(out)
    return folder


def test_real_images_are_all_done(batches: Path, shared_data: Path) -> None:
    for recipe, rows in images(shared_data).items():
        found = list(csv.DictReader((batches / recipe / "batch.csv").read_text().splitlines()))
        assert sorted(row["case"] for row in found) == sorted(row["case"] for row in rows)
        assert {row["status"] for row in found} == {"done"}
        page = (batches / recipe / "report.html").read_text()
        assert page.count("data:image/png") == len(rows)


def export(batches: Path, form: str, recipe: str, out: Path) -> None:
    labels = {"ct-lung": "lungs", "xray-chest": "imageLungs"}[recipe]
    code, _out, err = medprep("export", form, batches / recipe, "--out", out, "--labels", labels)
    assert code == 0, err


def ask(variable: str, program: str, folder: Path) -> str:
    """What a program in another interpreter prints about a folder."""
    interpreter = os.environ.get(variable)
    if not interpreter:
        pytest.skip(f"{variable} names no interpreter")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [interpreter, "-c", program, str(folder)], capture_output=True, text=True, env=env, check=False
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(("recipe", "number"), [("ct-lung", 101), ("xray-chest", 102)])
def test_nnunet_accepts_the_export(batches: Path, tmp_path: Path, recipe: str, number: int) -> None:
    target = tmp_path / f"Dataset{number}_Lungs"
    export(batches, "nnunet", recipe, target)
    assert "accepted" in ask("MEDPREP_NNUNET", NNUNET, target)


@pytest.mark.parametrize("recipe", ["ct-lung", "xray-chest"])
def test_monai_and_torchio_read_the_lists(batches: Path, tmp_path: Path, recipe: str) -> None:
    for form, program in (("monai", MONAI), ("torchio", TORCHIO)):
        export(batches, form, recipe, tmp_path / form)
        assert ask("MEDPREP_BENCH", program, tmp_path / form)
