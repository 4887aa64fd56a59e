"""The MRI recipes on a head whose tissues and bias field are known, and on real scans."""

from __future__ import annotations

import numpy as np
import pytest
from ctimages import read, snapshot
from mriimages import image_of, inner_white, mask_of, phantom, variation

from MedPrepCommonLib.core import recipe, runner
from MedPrepCommonLib.core.errors import InputError

RECIPES = ("mri-t1", "mri-t1-stripped", "mri-multisequence", "mri-multisequence-stripped")
ALL = ("T1", "T2", "FLAIR")


def head(stripped: bool):
    made = phantom(bias=0.4, sequences=ALL, skull_stripped=stripped)
    return made, {name.lower(): image_of(made, name) for name in ALL}


@pytest.mark.parametrize("name", RECIPES)
def test_it_is_there_with_words(name) -> None:
    loaded = recipe.load(name)
    assert (loaded.name, loaded.modality) == (name, "MR")
    assert loaded.title and len(loaded.description) > 40


@pytest.mark.parametrize("stripped", [False, True])
def test_t1(stripped) -> None:
    made, images = head(stripped)
    before = snapshot(images["t1"])
    name = "mri-t1-stripped" if stripped else "mri-t1"
    found = runner.run(recipe.load(name), {"image": images["t1"]}).result
    assert snapshot(images["t1"]) == before
    assert set(found.images) == {"image", "corrected", "biasField", "logField"}
    # With the pictures of these, the report has the six of a bias field: histograms and a row's profile too.
    assert {"histogram", "profile", "fieldProfile"} <= set(found.figures)
    assert set(found.labels) == ({"stripe", "mask"} if stripped else {"stripe"})
    assert found.images["image"].spacing == pytest.approx((1, 1, 1))
    assert all(label.same_grid(found.images["image"]) for label in found.labels.values())
    white = inner_white(made)
    assert variation(found.images["corrected"].array, white) < 0.5 * variation(images["t1"].array, white)
    product = found.images["corrected"].array * found.images["biasField"].array
    assert np.allclose(product, images["t1"].array, rtol=1e-3, atol=1e-2)
    # White matter is at zero.
    values = found.images["image"].array[found.labels["stripe"].mask()]
    assert abs(np.median(values)) < 0.5
    steps = [step["operation"] for step in found.images["image"].history]
    assert steps[-3:] == ["mri.n4", "mri.whiteStripe", "resample"]


def test_a_mask_of_ones_own_wins() -> None:
    made, images = head(False)
    mask = mask_of(images["t1"], made.brain)
    done = runner.run(recipe.load("mri-t1"), {"image": images["t1"], "mask": mask})
    step = {s["id"]: s for s in done.record["steps"]}
    assert step["n4"]["inputs"]["mask"] == step["whiteStripe"]["inputs"]["mask"]
    share = done.result.metrics["whiteStripe.voxels"] / done.result.metrics["whiteStripe.share"]
    assert share == pytest.approx(made.brain.sum())


@pytest.mark.parametrize("stripped", [False, True])
def test_multisequence(stripped) -> None:
    made, images = head(stripped)
    name = "mri-multisequence" + ("-stripped" if stripped else "")
    done = runner.run(recipe.load(name), images)
    found = done.result
    image, mask = found.images["image"], found.labels["mask"]
    assert image.info["channelNames"] == ["T1", "T2", "FLAIR"] and image.array.dtype == np.float32
    assert set(found.images) == {"image", "correctedT1", "correctedT2", "correctedFlair"}
    inside = mask.mask()
    for channel in range(3):
        values = image.array[..., channel][inside]
        assert abs(values.mean()) < 1e-3 and values.std() == pytest.approx(1, abs=1e-3)
    assert image.array[~inside].any() != stripped
    white = inner_white(made)
    for key in ("T1", "T2"):
        corrected = found.images[f"corrected{key}"].array
        assert variation(corrected, white) < 0.6 * variation(made.images[key], white)
    assert [s["id"] for s in done.record["steps"]] == (
        ["n4T1", "n4T2", "n4Flair", "fuse"]
        if stripped
        else ["n4T1", "brainT2", "n4T2", "brainFlair", "n4Flair", "fuse"]
    )
    assert "Step n4T1c was skipped: t1c is missing." in found.notes
    if stripped:
        assert runner.run(recipe.load(name), images).record == done.record


def test_multisequence_needs_two() -> None:
    _made, images = head(False)
    with pytest.raises(InputError, match="two to six"):
        runner.run(recipe.load("mri-multisequence"), {"t1": images["t1"]})


def test_a_real_stroke(shared_data) -> None:
    folder = shared_data / "mri/stroke-multiseq"
    images = {name: read(folder / f"{name}.nii.gz", modality="MR") for name in ("t1", "t2", "flair")}
    found = runner.run(recipe.load("mri-multisequence-stripped"), images).result
    assert {check.verdict for check in found.checks} == {"pass"}
    # The sequences lay on one another: none is interpolated once more.
    assert all(row[7].startswith("no") for row in found.tables["registration"].rows)
    assert found.images["image"].same_grid(images["t1"])
