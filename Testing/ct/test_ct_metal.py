"""Metal against skimage's components, phantoms with known metal, and what must not be taken for it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ctimages import body, grids, matrix, read, real_scans, snapshot
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.operation import create, find
from MedPrepCommonLib.core.volume import Volume
from MedPrepCTLib.metal.streaks import measure_streaks
from MedPrepCTLib.operations.metal import grade

EVERYTHING = {"minimumVoxels": 1, "minimumVolume": 0.0}


def metal(volume: Volume, preset: str | None = None, **parameters):
    return engine.run(create("ct.metal", preset, **parameters), {"image": volume})


def with_block(volume: Volume, where: tuple[slice, ...], hu: float) -> Volume:
    array = volume.array.copy()
    array[where] = hu
    return dataclasses.replace(volume, array=array)


def pin(volume: Volume, hu: float = 3500, size: int = 3) -> Volume:
    """A block of metal in the middle of the muscle in front of the spine."""
    k, j, i = volume.shape[0] // 2, int(0.42 * volume.shape[1]), volume.shape[2] // 2
    return with_block(volume, (slice(k, k + size), slice(j, j + size), slice(i, i + size)), hu)


# ---- components
@st.composite
def speckled(draw) -> Volume:
    """A body with random bright voxels, sparse to dense, on any grid."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(*[st.integers(2, 14)] * 3))
    array = rng.normal(-300, 400, shape)
    dense = rng.random(shape) < draw(st.floats(0.0, 0.4))
    array[dense] = rng.integers(1500, 5000, int(dense.sum()))
    dtype = draw(st.sampled_from([np.int16, np.int32, np.float32]))
    array = np.asfortranarray(array.astype(dtype)) if draw(st.booleans()) else array.astype(dtype)
    return Volume(array, draw(grids()), modality="CT")


@given(speckled(), st.sampled_from([2000, 2500, 3000]), st.integers(1, 6))
def test_components_equal_skimage(volume, threshold, minimum) -> None:
    before = snapshot(volume)
    result = metal(volume, threshold=threshold, minimumVoxels=minimum, minimumVolume=0.0)
    labelled = measure.label(volume.array > threshold, connectivity=3)
    wanted = [r for r in measure.regionprops(labelled, volume.array) if r.num_pixels >= minimum]
    rows = result.tables["components"].rows
    assert [r[1] for r in rows] == sorted((int(r.num_pixels) for r in wanted), reverse=True)
    # Each row is one of the oracle's regions, by place.
    places = {}
    for region in wanted:
        ras = volume.ijkToRAS @ [*region.centroid[::-1], 1.0]
        places[tuple(np.round(ras[:3], 4))] = region
    for _number, voxels, cubic, maximum, *ras in rows:
        nearest = min(places, key=lambda place: np.abs(np.array(place) - ras).max())
        region = places.pop(nearest)
        assert np.abs(np.array(nearest) - ras).max() < 2e-4
        assert voxels == region.num_pixels and maximum == pytest.approx(region.intensity_max)
        assert cubic == pytest.approx(voxels * volume.voxel_volume)
    kept = np.isin(labelled, [r.label for r in wanted])
    assert ("metal" in result.labels) == bool(kept.any())
    if kept.any():
        found = result.labels["metal"]
        assert found.array.dtype == np.uint8 and np.array_equal(found.array, kept)
        assert np.array_equal(found.ijkToRAS, volume.ijkToRAS)
    assert result.metrics["voxels"] == kept.sum()
    assert snapshot(volume) == before


def test_cubic_millimetres_count_on_thick_and_thin_slices() -> None:
    for spacing, voxels in (((0.7, 0.7, 1.0), 24), ((0.7, 0.7, 8.0), 3)):
        volume = body(spacing=spacing)
        clip = with_block(volume, (slice(5, 5 + voxels // 3), 20, slice(36, 39)), 3400)
        cubic = voxels * np.prod(spacing)
        assert cubic == pytest.approx(11.76, abs=0.01)
        assert metal(clip).metrics["volume"] == pytest.approx(cubic)
        assert metal(clip, minimumVolume=cubic + 0.1).metrics["severity"] == "none"
        assert metal(clip, minimumVoxels=voxels + 1).metrics["severity"] == "none"


def test_diagonal_neighbours_are_one_piece() -> None:
    volume = body(spacing=(2, 2, 2))
    array = volume.array.copy()
    for n in range(5):
        array[8 + n, 20 + n, 30 + n] = 3300
    assert metal(dataclasses.replace(volume, array=array)).metrics["components"] == 1


# ---- not metal
def test_bone_calcification_and_contrast_are_not_metal() -> None:
    volume = body(noise=15)
    dense = with_block(volume, (slice(2, 20), slice(44, 54), slice(34, 39)), 1900)  # cortical bone
    dense = with_block(dense, (slice(4, 8), slice(20, 24), slice(40, 44)), 1500)  # calcification
    dense = with_block(dense, (slice(10, 16), slice(22, 28), slice(28, 32)), 2400)  # dense contrast
    rng = np.random.default_rng(5)
    array = dense.array.copy()
    array[tuple(rng.integers(0, n, 60) for n in array.shape)] = 3071  # single noisy voxels
    result = metal(dataclasses.replace(dense, array=array))
    assert result.metrics["severity"] == "none" and "metal" not in result.labels
    assert result.tables["components"].rows == ()
    assert result.checks[0].verdict == "pass"


def test_real_scans_without_metal(shared_data) -> None:
    for name, volume in real_scans(shared_data).items():
        result = metal(volume)
        assert (result.metrics["severity"] == "none") == (name != "hip"), name


def test_real_implant(shared_data) -> None:
    volume = read(shared_data / "ct-metal/ts-hip-implant/ct.nii.gz")
    result = metal(volume)
    assert result.metrics["components"] == 1 and result.metrics["voxels"] == (volume.array > 2500).sum()
    assert result.metrics["severity"] == "moderate"
    assert 0.02 < result.metrics["streakExtent"] < 0.04
    assert result.metrics["maximum"] == 3382
    rows = {row[0]: row[3] for row in result.tables["comparison"].rows}
    labelled = measure.label(volume.array > 2000, connectivity=3)
    sizes = np.bincount(labelled.ravel())[1:]
    assert rows[2000.0] == sizes[sizes >= 3].sum() and rows[4000.0] == 0
    # The centroid lies where the brightest voxels are, in millimetres of the patient.
    k, j, i = np.argwhere(volume.array > 2500).mean(axis=0)
    ras = (volume.ijkToRAS @ [i, j, k, 1.0])[:3]
    assert np.abs(np.array(result.tables["components"].rows[0][4:]) - ras).max() < 1e-6


# ---- the end of the scanner's values
def test_saturation_at_3071() -> None:
    rng = np.random.default_rng(7)
    volume = body(noise=15)
    core = np.zeros(volume.shape, bool)
    core[8:16, 20:30, 30:40] = True
    array = volume.array.astype(float)
    halo = ndimage.gaussian_filter(core * 9000.0, 1.0) + rng.normal(0, 20, core.shape)
    array = np.where(halo > 500, np.maximum(array, halo), array).clip(None, 3071).round().astype(np.int16)
    scan = dataclasses.replace(volume, array=array)
    assert (array == 3071).sum() > 500

    usual = metal(scan)
    assert usual.metrics["valuesEndAt"] == 3071 and usual.notes == []
    literature = metal(scan, "literature")
    assert "values end at 3071" in literature.notes[0]
    assert literature.metrics["voxels"] < usual.metrics["voxels"]
    beyond = metal(scan, threshold=4000)
    assert beyond.metrics["voxels"] == (array == 3071).sum() and "3071" in beyond.notes[0]
    rows = {row[0]: row for row in usual.tables["comparison"].rows}
    assert list(rows) == [2000.0, 2500.0, 3000.0, 4000.0]
    assert [rows[t][1] for t in rows] == [2000.0, 2500.0, 3000.0, 3071.0]
    for threshold in (2000, 2500, 3000):
        assert rows[threshold][3] == (array > threshold).sum()
    assert rows[4000.0][3] == (array == 3071).sum() and "3071" in rows[4000.0][5]


def test_clipped_images_cannot_show_metal() -> None:
    clipped = engine.run(create("ct.clip", "wholeBody"), {"image": pin(body(), size=5)}).images["image"]
    result = metal(clipped)
    assert result.metrics["severity"] == "none" and result.metrics["valuesEndAt"] == 1000
    assert "clipped" in result.notes[0]
    assert all(row[0] == row[1] and row[2:] == (0, 0, 0.0, "") for row in result.tables["comparison"].rows)


# ---- severity
def streaky(volume: Volume, strength: float) -> Volume:
    """Dark and bright rays through the slices with the pin, as wide as a few millimetres."""
    scan = pin(volume, size=4)
    metal_here = scan.array > 3000
    slices = np.flatnonzero(metal_here.any(axis=(1, 2)))
    _, j, i = (axis.mean() for axis in np.nonzero(metal_here))
    y, x = np.meshgrid(*(np.arange(n) for n in scan.shape[1:]), indexing="ij")
    angle, radius = np.arctan2(y - j, x - i), np.hypot(y - j, x - i) + 1
    rays = np.cos(8 * angle) * strength / np.sqrt(radius / 4)
    array = scan.array.astype(float)
    tissue = scan.array > -300
    for k in slices:
        array[k] += np.where(tissue[k] & ~metal_here[k], rays, 0)
    return dataclasses.replace(scan, array=array.round().astype(np.int16))


def test_severity_grows_with_streaks() -> None:
    volume = body(spacing=(1.5, 1.5, 2.0))
    found = [metal(streaky(volume, strength)).metrics for strength in (0, 400, 1500)]
    assert [m["severity"] for m in found] == ["slight", "moderate", "severe"]
    extents = [m["streakExtent"] for m in found]
    assert extents == sorted(extents) and extents[0] < 0.005
    assert [m["volume"] for m in found] == [found[0]["volume"]] * 3


@pytest.mark.parametrize(
    ("volume", "extent", "wanted"),
    [
        (0, 0, "none"),
        (50, 0, "slight"),
        (999, 0.009, "slight"),
        (1001, 0, "moderate"),
        (50, 0.01, "moderate"),
        (29_000, 0.03, "moderate"),
        (31_000, 0.02, "severe"),
        (50, 0.05, "severe"),
        (90_000, 0.01, "moderate"),
    ],
)
def test_grades(volume, extent, wanted) -> None:
    assert grade(volume, extent) == wanted


def test_streaks_do_not_depend_on_stored_order() -> None:
    volume = streaky(body(), 900)
    wanted = metal(volume).metrics
    turned = volume.ijkToRAS.copy()
    turned[:3, 0], turned[:3, 2] = volume.ijkToRAS[:3, 2], volume.ijkToRAS[:3, 0]
    sagittal = dataclasses.replace(volume, array=volume.array.transpose(2, 1, 0), ijkToRAS=turned)
    assert metal(sagittal).metrics == pytest.approx(wanted)


def test_metal_in_every_slice_is_said() -> None:
    result = metal(with_block(body(), (slice(None), slice(25, 28), slice(35, 38)), 3500))
    assert any("every slice" in note for note in result.notes)


def test_no_metal_no_streaks() -> None:
    nothing = measure_streaks(body().array, np.zeros(body().shape, np.uint8), (4, 2.5, 2.5))
    assert (nothing.extent, nothing.slices) == (0.0, 0)


@pytest.mark.parametrize("k", [40, 60, 90])
@pytest.mark.parametrize(("j", "i"), [(100, 100), (128, 128), (150, 70), (190, 128), (60, 128)])
def test_anatomy_is_not_streaks(shared_data, k, j, i) -> None:
    """Metal pretended in a real chest without any has no streaks around it."""
    volume = read(shared_data / "ct/lidc0314-2mm/ct.nii.gz")
    pretended = np.zeros(volume.shape, np.uint8)
    pretended[k : k + 8, j : j + 5, i : i + 5] = 1
    assert measure_streaks(volume.array, pretended, volume.spacing_kji).extent < 0.01


def test_lungs_and_air_are_not_streaks() -> None:
    # The pin lies between the lungs: their dark borders must not count.
    assert metal(pin(body(noise=25))).metrics["streakExtent"] < 0.005


# ---- the result
def test_segment_and_presets() -> None:
    result = metal(pin(body()))
    (segment,) = result.labels["metal"].segments
    assert (segment.value, segment.name) == (1, "metal")
    assert segment.category[1] == "260787004" and segment.code[1] == "19227008"
    assert find("ct.metal").cls().threshold == 2500
    assert create("ct.metal", "literature").threshold == 3000


@pytest.mark.parametrize("path", ["mri/adi-t1-t2/t2-fse.nii.gz", "odd/oblique-nifti/CT_pitch.nii.gz"])
def test_images_that_are_no_hu_are_refused(shared_data, path) -> None:
    with pytest.raises(InputError, match="not Hounsfield units"):
        metal(read(shared_data / path))


def test_a_plain_matrix_is_enough() -> None:
    volume = Volume(pin(body()).array, matrix((2, 2, 2)))
    assert metal(volume).metrics["components"] == 1
