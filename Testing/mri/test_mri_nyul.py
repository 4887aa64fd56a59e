"""MRI normalization by z-score, percentiles and landmarks; landmarks in files and recipes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mriimages import image_of, mask_of, phantom
from typer.testing import CliRunner

from MedPrepCommonLib.cli import app
from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import GeometryError, InputError, ParameterError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.numeric import landmarks
from MedPrepCommonLib.numeric.landmarks import PERCENTILES, Landmarks
from MedPrepCommonLib.outputs import writing
from MedPrepMRILib.operations.normalize import fit_nyul

VALUES = st.lists(st.integers(-500, 500), min_size=30, max_size=300)


def normalize(image: Volume, mask=None, **parameters):
    return engine.run(create("mri.normalize", **parameters), {"image": image, "mask": mask})


def brain(seed: int = 7):
    return phantom(bias=0.0, seed=seed)


# ---- z-score and percentiles
def test_zscore_in_a_mask_equals_numpy() -> None:
    made = brain()
    image = image_of(made)
    inside = image.array[made.brain].astype(np.float64)
    found = normalize(image, mask_of(image, made.brain))
    wanted = (image.array - inside.mean()) / inside.std()
    assert np.abs(found.images["image"].array - wanted).max() < 1e-4
    assert found.metrics["voxels"] == made.brain.sum()


@pytest.mark.parametrize("region", ["brain", "foreground", "image"])
def test_regions_without_a_mask(region) -> None:
    made = brain()
    found = normalize(image_of(made), region=region)
    shares = {"brain": made.brain.mean(), "foreground": 0.45, "image": 1.0}
    assert found.metrics["voxels"] / made.brain.size == pytest.approx(shares[region], rel=0.25)
    assert np.isfinite(found.images["image"].array).all()


@pytest.mark.parametrize(("span", "ends"), [("[0, 1]", (0, 1)), ("[-1, 1]", (-1, 1))])
@pytest.mark.parametrize("clip", [True, False])
def test_percentiles_equal_numpy(span, ends, clip) -> None:
    made = brain()
    image = image_of(made)
    ends_at = {"lowPercentile": 2, "highPercentile": 95, "range": span, "clip": clip}
    found = normalize(image, mask_of(image, made.brain), method="percentile", **ends_at)
    low, high = np.percentile(image.array[made.brain].astype(np.float64), (2, 95))
    wanted = ends[0] + (image.array - low) / (high - low) * (ends[1] - ends[0])
    wanted = np.clip(wanted, *ends) if clip else wanted
    assert np.abs(found.images["image"].array - wanted).max() < 1e-5 * max(1, np.abs(wanted).max())
    assert (found.metrics["low"], found.metrics["high"]) == pytest.approx((low, high))
    assert found.metrics["above"] == pytest.approx((image.array > high).mean())


# ---- landmarks
def test_landmarks_fit_two_scanners_together() -> None:
    training = [brain(seed) for seed in (7, 8)]
    images = [image_of(made) for made in training]
    standard = fit_nyul(images, [mask_of(i, m.brain) for i, m in zip(images, training, strict=True)])
    assert standard.percentiles == PERCENTILES and standard.values[0] == 0 and standard.values[-1] == 100
    # Another person, a scanner with other gain, offset and contrast: tissues get the training's values.
    made = brain(9)
    image = image_of(made)
    other = image.with_array((3000 * (image.array / 1500) ** 1.3 + 40).astype(np.float32))
    found = [
        normalize(v, mask_of(v, m.brain), method="nyul", landmarks=standard.text).images["image"].array
        for v, m in ((images[0], training[0]), (other, made))
    ]
    for label in (2, 3):
        here, there = (
            np.median(a[m.labels == label]) for a, m in zip(found, (training[0], made), strict=True)
        )
        assert there == pytest.approx(here, abs=2.0), label


@given(VALUES)
def test_own_landmarks_fall_on_the_standard_ones(values) -> None:
    array = np.array(values, np.float64).reshape(1, 1, -1) + np.linspace(0, 0.5, len(values))
    standard = Landmarks(PERCENTILES, tuple(np.linspace(0, 10, 11) ** 2))
    own = landmarks.measure(array)
    assume(np.diff(own.values).min() > 1e-3)
    assert own.values == pytest.approx(tuple(np.percentile(array, PERCENTILES)))
    mapped = landmarks.apply(array, own, standard)
    assert mapped.dtype == np.float32
    assert np.abs(landmarks.apply(np.array(own.values), own, standard) - standard.values).max() < 1e-4
    assert (np.diff(mapped.ravel()[np.argsort(array.ravel(), kind="stable")]) >= -1e-4).all()


def test_beyond_the_ends_the_slope_goes_on() -> None:
    own, standard = Landmarks((1, 50, 99), (10, 20, 40)), Landmarks((1, 50, 99), (0, 50, 100))
    found = landmarks.apply(np.array([0.0, 10, 15, 20, 30, 40, 60]), own, standard)
    assert found.tolist() == [-50, 0, 25, 50, 75, 100, 150]


def test_landmarks_that_fall_together() -> None:
    own = Landmarks((0, 25, 50, 75, 100), (0, 5, 5, 5, 10))
    found = landmarks.apply(
        np.array([0.0, 5, 10]), own, Landmarks((0, 25, 50, 75, 100), (0, 10, 20, 60, 100))
    )
    assert found.tolist() == [0, 30, 100]


def test_without_landmarks_the_image_is_its_own_training() -> None:
    made = brain()
    image = image_of(made)
    mask = mask_of(image, made.brain)
    found = normalize(image, mask, method="nyul")
    low, high = np.percentile(image.array[made.brain].astype(np.float64), (1, 99))
    assert np.abs(found.images["image"].array - (image.array - low) / (high - low) * 100).max() < 1e-3
    assert Landmarks.parse(found.metrics["landmarks"]).values == pytest.approx(
        fit_nyul([image], [mask]).values, rel=1e-6, abs=1e-6
    )
    assert len(found.tables["landmarks"].rows) == len(PERCENTILES)


# ---- text, JSON, files
def test_text_and_json_say_the_same() -> None:
    made = Landmarks((1, 50, 99), (0, 41.25, 100))
    assert made.text == "1=0 50=41.25 99=100"
    for text in (made.text, "1=0, 50=41.25, 99=100", json.dumps(made.to_json())):
        assert Landmarks.parse(text) == made
        # A recipe's digest is about what is done, not about how it was written.
        assert create("mri.normalize", method="nyul", landmarks=text).landmarks == made.text


@pytest.mark.parametrize(
    "text",
    ["1", "1=0", "1=0 50", "a=1 b=2", "1=0 50=x", "50=1 1=2", "1=5 99=1", "1=0 101=3", "-1=0 50=3",
     "1=2 99=2", "{}", '{"percentiles": [1, 2]}', '{"percentiles": 3, "values": 4}', "1=nan 99=3",
     "1=0 99=inf"],
)  # fmt: skip
def test_text_that_is_no_landmarks(text) -> None:
    with pytest.raises(ParameterError) as error:
        create("mri.normalize", method="nyul", landmarks=text)
    assert error.value.wrong and error.value.expected and error.value.advice


def test_training_images_must_agree() -> None:
    one, two = Landmarks((1, 99), (0, 1)), Landmarks((2, 99), (0, 1))
    for wrong in ([], [one, two]):
        with pytest.raises(InputError):
            landmarks.standard_scale(wrong)


@pytest.fixture
def medprep(slicerHost, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in (7, 8):
        made = brain(seed)
        writing.write_nifti(image_of(made), tmp_path / f"t1-{seed}.nii.gz")
        writing.write_nifti(mask_of(image_of(made), made.brain), tmp_path / f"mask-{seed}.nii.gz")
    return lambda *words: CliRunner().invoke(app.app, words, catch_exceptions=False)


def test_the_command_fits_and_a_recipe_uses_it(medprep, tmp_path) -> None:
    fit = ("landmarks", "t1-7.nii.gz", "t1-8.nii.gz", "--mask", "mask-7.nii.gz", "--mask", "mask-8.nii.gz",
           "--out", "t1.json")  # fmt: skip
    done = medprep(*fit)
    assert done.exit_code == 0, done.output
    found = Landmarks.parse((tmp_path / "t1.json").read_text())
    made = [brain(seed) for seed in (7, 8)]
    images = [image_of(m) for m in made]
    wanted = fit_nyul(images, [mask_of(i, m.brain) for i, m in zip(images, made, strict=True)])
    assert found.values == pytest.approx(wanted.values, rel=1e-4, abs=1e-4)
    assert medprep(*fit).exit_code == 2 and medprep(*fit, "--overwrite").exit_code == 0
    assert medprep(*fit[:-1], "no/where.json").exit_code == 2
    assert medprep(*fit[:5], "--out", "other.json").exit_code == 2  # one mask for two images
    recipe = {
        "schema": "medprep-recipe", "version": 1, "name": "nyul",
        "inputs": {"image": {}, "mask": {"kind": "labels"}},
        "steps": [{"operation": "mri.normalize", "parameters": {"method": "nyul"},
                   "inputs": {"image": "image", "mask": "mask"}}],
        "outputs": {"image": "normalize.image"},
    }  # fmt: skip
    (tmp_path / "nyul.json").write_text(json.dumps(recipe))
    run = (
        "run",
        "nyul.json",
        "-i",
        "image=t1-8.nii.gz",
        "-i",
        "mask=mask-8.nii.gz",
        "--out",
        "out",
        "--quiet",
    )
    assert medprep(*run, "--set", "mri.normalize.landmarks=@none.json").exit_code == 2
    done = medprep(*run, "--set", "mri.normalize.landmarks=@t1.json")
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out/recipe.json").read_text())
    assert record["steps"][0]["parameters"]["landmarks"] == found.text
    assert "t1.json" not in (tmp_path / "out/provenance.json").read_text()


# ---- what cannot be normalized
@pytest.mark.parametrize("method", ["zscore", "percentile", "nyul"])
def test_images_and_masks_that_do_not_do(method) -> None:
    made = brain()
    image = image_of(made)
    mask = mask_of(image, made.brain)
    with pytest.raises(InputError, match="mask is empty"):
        normalize(image, mask_of(image, np.zeros(image.shape)), method=method)
    with pytest.raises(GeometryError, match="another grid"):
        normalize(image, mask_of(image.with_array(image.array[1:]), made.brain[1:]), method=method)
    flat = image.with_array(np.full(image.shape, -3, np.int16))
    with pytest.raises(InputError, match="-3"):
        normalize(flat, mask, method=method)


def test_percentiles_the_wrong_way_round() -> None:
    with pytest.raises(ParameterError, match="lower below"):
        create("mri.normalize", method="percentile", lowPercentile=50, highPercentile=50)
