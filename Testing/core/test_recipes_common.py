"""The recipes that chain operations of several modules: luna16, abdomen-ct and brats."""

import numpy as np
import pytest
from ctimages import body, labels_on

from MedPrepCommonLib.core import recipe, runner
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepCommonLib.phantoms.brain import make_brain_phantom


@pytest.fixture(scope="module")
def luna():
    from MedPrepCommonLib.phantoms.chest import make_chest_phantom

    made = make_chest_phantom((75, 128, 128), (4.0, 2.8, 2.8))
    image = Volume(made.hu, made.ijkToRAS, modality="CT")
    light = recipe.load("luna16").with_settings({"iso.spacing": 2.0, "patches.size": 16, "qc.spacing": 2.0})
    return image, runner.run(light, {"image": image})


def test_luna16_has_the_eight_steps_in_the_right_order():
    steps = {step.id: n for n, step in enumerate(recipe.load("luna16").steps)}
    order = ("check", "lungs", "clip", "iso", "window", "clahe", "nodules", "normalize", "patches", "qc")
    assert [steps[name] for name in order] == sorted(steps.values())
    wired = {step.id: dict(step.inputs) for step in recipe.load("luna16").steps}
    # Lungs on Hounsfield units as they came; candidates on clipped ones, never on a windowed picture.
    assert wired["lungs"]["image"] == ("image",) and wired["nodules"]["image"] == ("iso.image",)
    clip = recipe.load("luna16").steps[steps["clip"]].op
    assert (clip.low, clip.high) == (-1200, 600)
    assert recipe.load("luna16").steps[steps["iso"]].op.spacing == (1, 1, 1)


def test_luna16_gives_what_it_promises(luna):
    image, done = luna
    result = done.result
    assert {"image", "windowed", "enhanced"} == set(result.images) and {"lungs", "nodules"} == set(
        result.labels
    )
    prepared = result.images["image"]
    assert prepared.array.dtype == np.float32 and 0 <= prepared.array.min() < prepared.array.max() <= 1
    for volume in result.volumes().values():
        assert volume.same_grid(prepared)
    table = result.tables["candidates"]
    assert table.columns[:5] == ("r", "a", "s", "diameter_mm", "score")
    patches = result.patches["patches"]
    assert len(patches) == len(table.rows) and patches.array.shape[1:] == (16, 16, 16)
    names = {check.name for check in result.checks}
    assert {"Hounsfield units", "Lung coverage", "Edge energy lost", "Value range"} <= names
    coverage = next(check for check in result.checks if check.name == "Lung coverage")
    assert coverage.verdict == "pass"


def test_luna16_finds_the_radiologists_nodule(shared_data):
    """The steps that lead to the candidates, as the recipe has them."""
    from ctimages import read

    full = recipe.load("luna16").to_json()
    wanted = ("lungs", "clip", "iso", "nodules")
    full["steps"] = [step for step in full["steps"] if step["id"] in wanted]
    full["outputs"] = {"nodules": "nodules.nodules", "candidates": "nodules.candidates"}
    folder = shared_data / "ct/lidc0314-2mm"
    image, truth = read(folder / "ct.nii.gz", modality="CT"), read(folder / "nodule.nii.gz")
    table = runner.run(recipe.parse(full), {"image": image}).result.tables["candidates"]
    k, j, i = np.argwhere(truth.array).mean(axis=0)
    centre = (truth.ijkToRAS @ [i, j, k, 1])[:3]
    radius = (3 * truth.array.sum() * truth.voxel_volume / (4 * np.pi)) ** (1 / 3)
    away = [np.linalg.norm(np.array(row[:3]) - centre) for row in table.rows]
    assert min(away) < radius and len(table.rows) <= 15


def test_abdomen_ct():
    image = body((20, 48, 56), (4.0, 4.0, 5.0), padding=-2000, info={"sliceThickness": 5.0})
    organ = labels_on(image, ((image.array > 20) & (image.array < 80)).astype(np.uint8))
    given = {"image": image, "labels": organ}
    # The made body has lungs: it is no abdomen.
    assert runner.run(recipe.load("abdomen-ct"), given).refusal.ids == ("part",)
    result = runner.run(recipe.load("abdomen-ct"), given, accept=["part"]).result
    prepared = result.images["image"]
    assert np.allclose(prepared.spacing, 1.5) and (prepared.array.min(), prepared.array.max()) == (0, 1)
    assert result.labels["labels"].same_grid(prepared)
    # 50 HU of muscle: (50 + 160) / 400.
    inside = prepared.array[result.labels["labels"].mask()]
    assert np.median(inside) == pytest.approx(210 / 400, abs=0.02)
    volume = result.labels["labels"].mask().sum() * prepared.voxel_volume
    assert volume == pytest.approx(organ.mask().sum() * image.voxel_volume, rel=0.03)
    assert {
        c.verdict for c in result.checks if c.name in ("Value range", "Spacing", "Geometry of labels")
    } == {"pass"}
    alone = runner.run(recipe.load("abdomen-ct"), {"image": image}, accept=["part"]).result
    assert alone.images["image"].array.tobytes() == prepared.array.tobytes() and not alone.labels


def test_brats():
    brain = make_brain_phantom((48, 56, 44), (4.0, 4.0, 4.0))
    inside = brain.brain
    images = {
        name: Volume(np.where(inside, brain.images[key], 0), brain.ijkToRAS, modality="MR")
        for name, key in (("t1", "T1"), ("t2", "T2"), ("flair", "FLAIR"))
    }
    tumour = np.zeros(inside.shape, np.uint8)
    tumour[tuple(slice(n // 2 - 2, n // 2 + 2) for n in inside.shape)] = 3
    labels = LabelVolume(tumour, brain.ijkToRAS, name="tumour")
    result = runner.run(recipe.load("brats"), {**images, "labels": labels}).result
    prepared = result.images["image"]
    assert prepared.components == 3 and prepared.array.size < 3 * inside.size
    mask = result.labels["mask"].mask()
    for channel in np.moveaxis(prepared.array, 3, 0):
        assert channel[mask].mean() == pytest.approx(0, abs=0.02)
        assert channel[mask].std() == pytest.approx(1, abs=0.02) and not channel[~mask].any()
    assert (result.labels["labels"].array == 3).sum() == (tumour == 3).sum()
    assert result.labels["labels"].same_grid(prepared)
    assert all(
        check.verdict == "pass" for check in result.checks if check.name.startswith(("Geometry", "Mean"))
    )
