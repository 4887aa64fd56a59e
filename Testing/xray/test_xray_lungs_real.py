"""Lung fields of real images: the committed cross-validation, radiographs, and images of other things."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from ctimages import read
from lungimages import UNKNOWN, dice, moved, real_radiographs

from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.phantoms.projection import project_radiograph
from MedPrepXrayLib.lungs.fields import find_lung_fields
from MedPrepXrayLib.lungs.polarity import DOUBTFUL, estimate_polarity

TRAINING = REPOSITORY / "MedPrepXray" / "Training"


@pytest.fixture
def radiographs(shared_data) -> list[tuple[str, np.ndarray, np.ndarray]]:
    folder = shared_data / "xr" / "chest-lungs"
    if not folder.is_dir():
        pytest.skip("the radiographs of ../shared/data/xr/chest-lungs are not here")
    return _radiographs(folder)


@lru_cache(maxsize=1)
def _radiographs(folder: Path):
    return real_radiographs(folder)


def dice_of(plane: np.ndarray, truth: np.ndarray, **options) -> float:
    """Dice where the truth is known."""
    known = truth != UNKNOWN
    return dice(find_lung_fields(plane, **options).sides[known] > 0, truth[known] > 0)


def table(name: str) -> list[dict[str, str]]:
    if not TRAINING.is_dir():
        pytest.skip("the training folder is in the source tree only")
    with open(TRAINING / name, newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


# ---- what was measured on patients whom the method had not seen
@pytest.mark.parametrize(
    ("name", "mean", "worst", "missed"),
    [("folds.csv", 0.95, 0.85, 0), ("folds_classical.csv", 0.85, 0.7, 1)],
)
def test_cross_validation(name, mean, worst, missed) -> None:
    """Mean of all, those counted as 0 for which no lungs were returned; and the worst of the others."""
    rows = table(name)
    values = sorted(float(row["dice"]) for row in rows)
    assert len(values) == len({row["image"] for row in rows}) == 40
    assert np.mean(values) >= mean and values[missed] >= worst
    # No patient is in two folds.
    folds = {}
    for row in rows:
        assert folds.setdefault(row["patient"], row["fold"]) == row["fold"]
    assert len(folds) == 23 and len(set(folds.values())) == 5


def test_the_model_card_says_what_was_measured() -> None:
    values = [float(row["dice"]) for row in table("folds.csv")]
    card = (TRAINING / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"{np.mean(values):.3f}" in card and f"{min(values):.3f}" in card
    classical = [float(row["dice"]) for row in table("folds_classical.csv")]
    assert f"{np.mean(classical):.3f}" in card and f"{sorted(classical)[1]:.3f}" in card


# ---- the network as it runs; it was trained on these images, so this shows that it runs as in training
def test_real_lungs(radiographs) -> None:
    chosen = radiographs[::5]
    found = [dice_of(plane, truth) for _name, plane, truth in chosen]
    assert np.mean(found) > 0.955 and min(found) > 0.9
    classical = [dice_of(plane, truth, method="classical") for _name, plane, truth in chosen[::2]]
    assert np.mean(classical) > 0.88


def test_real_lungs_turned_scaled_inverted_and_deep(radiographs) -> None:
    """On average the Dice coefficient drops by less than 0.03."""
    changes = {
        "turned": lambda plane, order: moved(plane, 10, order=order),
        "smaller": lambda plane, order: moved(plane, scale=0.7, order=order),
        "larger": lambda plane, order: moved(plane, scale=1.3, order=order),
        "inverted": lambda plane, order: plane if order == 0 else 255 - plane,
        "16 bits": lambda plane, order: plane if order == 0 else plane.astype(np.uint16) * 257,
    }
    chosen = [(plane, truth) for _name, plane, truth in radiographs[2::9]]
    wanted = np.mean([dice_of(plane, truth) for plane, truth in chosen])
    for name, change in changes.items():
        found = np.mean([dice_of(change(plane, 1), change(truth, 0)) for plane, truth in chosen])
        assert found > wanted - 0.03, name


def test_polarity_of_real_radiographs(radiographs) -> None:
    told = [estimate_polarity(plane) for _name, plane, _truth in radiographs]
    assert not any(inverted for inverted, _sure in told)
    assert np.mean([sure >= DOUBTFUL for _inverted, sure in told]) > 0.9
    assert all(estimate_polarity(255 - plane)[0] for _name, plane, _truth in radiographs[::8])


def test_both_dicom_polarities_give_the_same_lungs(shared_data) -> None:
    found = [
        find_lung_fields(read(shared_data / f"xr/derived-dicom-12bit/19abe1f3_{kind}.dcm").array[0])
        for kind in ("mono1", "mono2")
    ]
    assert found[0].sides.any() and np.array_equal(found[0].sides, found[1].sides)


@pytest.mark.parametrize("method", ["model", "classical"])
def test_real_images_of_other_things(shared_data, method) -> None:
    """No lungs, or a warning: a chest from the side, a hip, heads."""
    chest = read(shared_data / "ct/lidc0314-2mm/ct.nii.gz")
    quarter = np.eye(4)
    quarter[:2, :2] = [[0.0, -1.0], [1.0, 0.0]]
    head = read(shared_data / "mri/adi-t1-t2/t1-mprage.nii.gz").array
    hip = read(shared_data / "ct-metal/ts-hip-implant/ct.nii.gz")
    planes = {
        "chest from the side": project_radiograph(Volume(chest.array, quarter @ chest.ijkToRAS)).image.array[
            0
        ],
        "hip": project_radiograph(hip).image.array[0],
        "sagittal head": head[:, :, 96],
        "axial head": head[88],
    }
    for name, plane in planes.items():
        found = find_lung_fields(plane, method=method)
        assert "fail" in {check.verdict for check in found.checks} and not found.sides.any(), name
    assert not {"fail"} & {
        c.verdict for c in find_lung_fields(project_radiograph(chest).image.array[0]).checks
    }
