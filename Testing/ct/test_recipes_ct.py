"""The CT recipes: what they make of a known body and of real scans, against SimpleITK's own tools."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from ctimages import body, read, read_series, snapshot

from MedPrepCommonLib.core import recipe, runner
from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.volume import LabelVolume, Volume

RECIPES = ("ct-lung", "ct-soft-tissue", "ct-bone", "ct-brain")


@pytest.fixture(params=RECIPES)
def name(request) -> str:
    return request.param


def chest(metal: bool = False) -> Volume:
    volume = body((40, 60, 70), spacing=(5.0, 5.0, 6.0), padding=-2048, info={"sliceThickness": 2.0})
    if metal:
        array = volume.array.copy()
        array[18:22, 24:28, 34:38] = 3500
        volume = volume.with_array(array)
    return volume


def run(name: str, volume: Volume, **changes):
    # The made body is a chest; a recipe for another part would stop.
    accept = ("part",) if name == "ct-brain" else ()
    return runner.run(recipe.load(name).with_settings(changes), {"image": volume}, accept=accept)


def test_it_is_there_with_words(name) -> None:
    loaded = recipe.load(name)
    assert (loaded.name, loaded.modality) == (name, "CT")
    assert loaded.title and len(loaded.description) > 40 and loaded.inputs[0].description
    assert {"image", "windowed", "metal"} <= set(loaded.outputs)
    assert loaded.steps[0].op.operation.id == "ct.check"


def test_outputs(name) -> None:
    volume = chest()
    before = snapshot(volume)
    result = run(name, volume).result
    assert snapshot(volume) == before
    image, windowed = result.images["image"], result.images["windowed"]
    assert image.array.dtype == np.float32 and image.array.min() == 0
    assert image.array.max() == (1 if name != "ct-bone" else pytest.approx((900 + 200) / 3200, abs=0.1))
    assert windowed.array.dtype == np.uint8
    assert image.spacing == pytest.approx((1, 1, 1)) and windowed.same_grid(image)
    assert set(result.labels) == ({"lungs"} if name == "ct-lung" else set())
    for label in result.labels.values():
        assert isinstance(label, LabelVolume) and label.same_grid(image) and label.segments
    assert {"check", "components", "comparison"} <= set(result.tables)
    assert result.metrics["metal.severity"] == "none" and result.metrics["check.padding"] == -2048


def test_metal_is_an_output_when_there_is_some(name) -> None:
    result = run(name, chest(metal=True)).result
    assert result.labels["metal"].same_grid(result.images["image"])
    cubic = result.labels["metal"].array.sum() * result.labels["metal"].voxel_volume
    assert cubic == pytest.approx(64 * 150, rel=0.1)


def test_the_same_run_gives_the_same_bytes(name) -> None:
    volume = chest(metal=True)
    first, second = run(name, volume), run(name, volume)
    assert first.record == second.record
    for key, image in first.result.volumes().items():
        assert image.array.tobytes() == second.result.volumes()[key].array.tobytes()


def test_provenance_has_every_step_and_something_to_cite(name) -> None:
    made = run(name, chest())
    steps = made.record["steps"]
    assert [s["id"] for s in steps] == [s.id for s in recipe.load(name).steps]
    assert all(s["cite"] for s in steps)
    operations = [step["operation"] for step in made.result.images["image"].history]
    assert operations[0] == "ct.clip" and operations[-2:] == ["resample", "normalize"]


def test_settings_change_a_run() -> None:
    usual = run("ct-lung", chest()).result
    other = run("ct-lung", chest(), **{"ct.window.level": 50, "window.width": 350, "iso.spacing": 2}).result
    assert other.images["image"].spacing == pytest.approx((2, 2, 2))
    assert usual.images["windowed"].array.mean() != pytest.approx(
        other.images["windowed"].array.mean(), abs=5
    )


def itk_chain(volume: Volume, onto: Volume, low: float, high: float) -> np.ndarray:
    """Clip, cubic resampling and scaling with SimpleITK."""
    image = sitk.Clamp(sitk.Cast(volume.to_sitk(), sitk.sitkFloat64), sitk.sitkFloat64, low, high)
    image = sitk.Resample(image, onto.to_sitk(), sitk.Transform(), sitk.sitkBSpline, low)
    return (np.clip(sitk.GetArrayFromImage(image), low, high) - low) / (high - low)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("ct-lung", -1200, 600), ("ct-soft-tissue", -200, 400), ("ct-bone", -200, 3000)]
)
def test_image_equals_the_itk_chain(shared_data, name, low, high) -> None:
    volume = read(shared_data / "ct/cip-ct64/ct.nrrd")
    image = run(name, volume, **{"iso.spacing": (2.0, 1.5, 2.5)}).result.images["image"]
    inside = tuple(slice(2, -2) for _ in range(3))
    off = np.abs(image.array - itk_chain(volume, image, low, high))[inside]
    assert off.max() * (high - low) <= 1.0  # HU


def test_brain_channels() -> None:
    made = run("ct-brain", chest())
    windowed = made.result.images["windowed"]
    assert windowed.components == 3 and windowed.info["channelNames"] == ["brain", "80/200", "bone"]


def test_real_chest_in_dicom_with_thick_slices(shared_data) -> None:
    volume = read_series(shared_data / "ct/lungdx-a0002-8mm-b40f/dicom")
    made = run("ct-lung", volume)
    image, lungs = made.result.images["image"], made.result.labels["lungs"]
    assert image.shape[0] == 240 and lungs.same_grid(image)
    assert [s.name for s in lungs.segments] == ["right lung", "left lung", "airway"]
    # Resampling keeps the volumes that were measured on the scan itself.
    for value, key in ((1, "rightLungVolume"), (2, "leftLungVolume")):
        millilitres = (lungs.array == value).sum() / 1000
        assert millilitres == pytest.approx(made.result.metrics[f"lungs.{key}"], rel=0.01)
    assert {c.name: c.verdict for c in made.result.checks}["Slice thickness"] == "warn"


def test_a_scan_without_lung_stops_or_gives_the_rest_when_that_is_accepted(shared_data) -> None:
    abdomen = read_series(shared_data / "ct/ts-j2k-dicom/dicom")
    slab = abdomen.with_array(abdomen.array[:8])  # below the last sliver of lung
    assert run("ct-lung", slab).refusal.ids == ("part",)
    made = runner.run(recipe.load("ct-lung"), {"image": slab}, accept=["part"])
    assert {c.verdict for c in made.result.checks if c.name == "Lungs"} == {"fail"}
    assert not made.result.labels["lungs"].array.any()
    assert made.result.images["image"].spacing == pytest.approx((1, 1, 1))
    assert any("No lung" in note for note in made.result.notes)


def test_an_mri_is_refused(shared_data) -> None:
    brain = read(shared_data / "mri/adi-t1-t2/t2-fse.nii.gz")
    for name in RECIPES:
        with pytest.raises(InputError):
            run(name, brain)
