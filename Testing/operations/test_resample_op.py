"""The resample operation against SimpleITK's resampler, on straight, oblique and left-handed grids."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
from ctimages import THING, body, grids, labels_on, matrix, read, snapshot
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import GeometryError, InputError, ParameterError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume
from MedPrepCommonLib.geometry.orientation import orientation

ITK = {"linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline, "nearest": sitk.sitkNearestNeighbor}
SPACINGS = st.tuples(*[st.floats(0.5, 5.0)] * 3)
VALUES = hnp.arrays(np.int16, st.tuples(*[st.integers(2, 9)] * 3), elements=st.integers(-1024, 3071))


def resample(volume: Volume, *labels: LabelVolume, **parameters):
    return engine.run(create("resample", **parameters), {"image": volume, "labels": labels})


def by_itk(volume: Volume, onto: Volume, method: str) -> np.ndarray:
    """`volume` sampled by ITK at the voxel centres of `onto`, float64."""
    image = sitk.Cast(volume.to_sitk(), sitk.sitkFloat64)
    return sitk.GetArrayFromImage(sitk.Resample(image, onto.to_sitk(), sitk.Transform(), ITK[method], 0.0))


def input_positions(volume: Volume, onto: Volume) -> list[np.ndarray]:
    """Where the samples of `onto` lie along k, j, i of `volume`, in voxels."""
    to_input = np.linalg.inv(volume.ijkToRAS) @ onto.ijkToRAS
    along = [to_input[a, a] * np.arange(onto.shape[2 - a]) + to_input[a, 3] for a in range(3)]
    return along[::-1]


def centre(volume: Volume) -> np.ndarray:
    return volume.ijkToRAS @ [*((np.array(volume.shape[::-1]) - 1) / 2), 1.0]


@given(VALUES, grids(), SPACINGS, st.sampled_from(["linear", "cubic"]))
def test_equals_itk(array, ijkToRAS, spacing, method) -> None:
    assume(method == "linear" or min(array.shape) > 3)  # ITK reads past the end of 2 samples
    volume = Volume(array.astype(np.float64), ijkToRAS)
    result = resample(volume, spacing=spacing, method=method, antialias=False).images["image"]
    wanted = by_itk(volume, result, method)
    # ITK gives 0 to what lies more than half a voxel outside; a sample may lie on that very border.
    inside = np.ix_(
        *(
            (p > -0.5 + 1e-6) & (p < n - 0.5 - 1e-6)
            for p, n in zip(input_positions(volume, result), volume.shape, strict=True)
        )
    )
    assume(result.array[inside].size > 0)
    assert np.abs(result.array - wanted)[inside].max() < (1e-6 * 4096 if method == "linear" else 0.05)


@given(VALUES, grids(), SPACINGS)
def test_whole_numbers_are_rounded_and_stay_in_their_type(array, ijkToRAS, spacing) -> None:
    whole = resample(Volume(array, ijkToRAS), spacing=spacing, antialias=False).images["image"]
    exact = resample(Volume(array.astype(np.float64), ijkToRAS), spacing=spacing, antialias=False).images[
        "image"
    ]
    assert whole.array.dtype == np.int16
    assert np.abs(whole.array - exact.array).max() <= 0.5 + 0.02


def test_overshoot_does_not_wrap_around() -> None:
    array = np.full((12, 12, 12), 32767, np.int16)
    array[:, :, :6] = -32768
    result = resample(Volume(array, matrix((2, 2, 2))), spacing=0.9).images["image"].array
    exact = resample(Volume(array.astype(np.float64), matrix((2, 2, 2))), spacing=0.9).images["image"].array
    assert exact.max() > 34000 and exact.min() < -34000
    assert np.abs(result - np.clip(exact, -32768, 32767)).max() <= 1
    grey = np.clip(array, 0, 255).astype(np.uint8)
    small = resample(Volume(grey, matrix((2, 2, 2))), spacing=0.9).images["image"].array
    assert small.dtype == np.uint8 and small.max() == 255 and small.min() == 0


@given(VALUES, grids(), SPACINGS)
def test_nearest_equals_itk_away_from_ties(array, ijkToRAS, spacing) -> None:
    volume = Volume(array, ijkToRAS)
    result = resample(volume, spacing=spacing, method="nearest").images["image"]
    wanted = by_itk(volume, result, "nearest")
    clear = np.ix_(
        *(
            (np.abs(p - np.floor(p) - 0.5) > 1e-4) & (p > -0.499) & (p < n - 0.501)
            for p, n in zip(input_positions(volume, result), volume.shape, strict=True)
        )
    )
    assert np.array_equal(result.array[clear], wanted[clear])


@given(VALUES, grids(), SPACINGS)
def test_geometry(array, ijkToRAS, spacing) -> None:
    volume = Volume(array, ijkToRAS, modality="CT", name="scan", info={"sliceThickness": 3})
    before = snapshot(volume)
    result = resample(volume, spacing=spacing, method="linear").images["image"]
    assert np.abs(np.array(result.spacing) - spacing).max() < 1e-9
    assert np.abs(result.directions - volume.directions).max() < 1e-9
    assert np.abs(centre(result) - centre(volume)).max() < 1e-6
    for n, s, old_n, old in zip(
        result.shape[::-1], result.spacing, volume.shape[::-1], volume.spacing, strict=True
    ):
        assert abs(n * s - old_n * old) <= max(0.5, 1 - old_n * old / s) * s + 1e-6
    assert result.modality == "CT" and result.info == volume.info
    assert snapshot(volume) == before


@given(VALUES, grids())
def test_the_same_spacing_changes_nothing(array, ijkToRAS) -> None:
    volume = Volume(array, ijkToRAS)
    for method in ("linear", "cubic", "quintic", "nearest"):
        result = resample(volume, spacing=volume.spacing, method=method).images["image"]
        assert np.array_equal(result.array, array), method
        assert np.abs(result.ijkToRAS - ijkToRAS).max() < 1e-9


@given(VALUES, SPACINGS, st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_stored_order_does_not_matter(array, spacing, axes, flips) -> None:
    """Swapping and flipping axes of the input does so with the result; the values stay in place."""
    volume = Volume(array, matrix((1.5, 2.5, 0.8), (10, 20, 30)))
    turned_array, turned_matrix = array.transpose(axes), np.eye(4)
    order = [2 - axes[2 - n] for n in range(3)]
    turned_matrix[:3, :3] = volume.ijkToRAS[:3, order]
    turned_matrix[:3, 3] = volume.ijkToRAS[:3, 3]
    for n, flip in enumerate(flips):
        if flip:
            turned_array = np.flip(turned_array, n)
            column = 2 - n
            turned_matrix[:3, 3] += turned_matrix[:3, column] * (turned_array.shape[n] - 1)
            turned_matrix[:3, column] *= -1
    turned = Volume(turned_array, turned_matrix)
    for method in ("linear", "cubic", "nearest"):
        one = resample(volume, spacing=spacing, method=method).images["image"]
        two = resample(turned, spacing=[spacing[n] for n in order], method=method).images["image"]
        if method == "nearest" and any(
            (np.abs(p % 1 - 0.5) < 1e-5).any() for p in input_positions(volume, one)
        ):
            continue  # a tie at the very centre goes to the lower index
        back = orientation(two, "SPL").view(two.array)
        assert np.abs(orientation(one, "SPL").view(one.array).astype(int) - back).max() <= 1, method
        assert np.abs(centre(one) - centre(two)).max() < 1e-6


def test_five_orientations_of_one_brain(shared_data) -> None:
    pictures = {}
    for name in ("RAS", "LPS", "PIR", "ASL", "SRP"):
        volume = read(shared_data / "odd/orientations" / f"{name}.nii.gz")
        mask = labels_on(volume, (volume.array > 40).astype(np.uint8))
        result = resample(volume, mask, spacing=1.7)
        for kind, found in (("image", result.images["image"]), ("mask", result.labels["thing"])):
            axes = orientation(found, "SPL")
            pictures[name, kind] = (axes.view(found.array), centre(found)[:3])
    for (name, kind), (array, middle) in pictures.items():
        wanted, wanted_middle = pictures["RAS", kind]
        assert array.shape == wanted.shape, name
        assert np.abs(middle - wanted_middle).max() < 1e-3, name
        assert np.abs(array.astype(float) - wanted).max() < 1e-3, (name, kind)


def test_real_scan_within_one_hu_of_itk(shared_data) -> None:
    volume = read(shared_data / "ct/cip-ct64/ct.nrrd")
    for spacing in ((1.5, 1.5, 1.5), (3.0, 2.0, 5.0)):
        result = resample(volume, spacing=spacing, antialias=False).images["image"]
        # ITK's own spline coefficients; a border of a voxel and a half is where ITK starts to extrapolate.
        edge = tuple(slice(1, -1) for _ in range(3))
        assert np.abs(result.array - by_itk(volume, result, "cubic"))[edge].max() <= 1


# ---- anti-aliasing
def test_antialiasing_removes_what_the_grid_cannot_hold() -> None:
    i = np.arange(120)
    stripes = np.broadcast_to(1000.0 * (i % 2), (6, 6, 120)).copy()
    volume = Volume(stripes, matrix((1, 1, 1)))
    sharp = resample(volume, spacing=(3.1, 1, 1), antialias=False).images["image"].array[..., 3:-3]
    smooth = resample(volume, spacing=(3.1, 1, 1)).images["image"].array[..., 3:-3]
    assert np.ptp(sharp) > 900  # false stripes
    assert np.ptp(smooth) < 30 and smooth.mean() == pytest.approx(500, abs=10)


def test_no_smoothing_on_a_finer_grid() -> None:
    volume = body((8, 16, 16))
    finer = {"spacing": (1.3, 2.5, 2.0)}
    with_it, without = resample(volume, **finer), resample(volume, antialias=False, **finer)
    assert np.array_equal(with_it.images["image"].array, without.images["image"].array)


# ---- colour, labels
def test_components_are_resampled_one_by_one() -> None:
    rng = np.random.default_rng(2)
    rgb = rng.integers(0, 256, (6, 7, 8, 3)).astype(np.uint8)
    result = resample(Volume(rgb, matrix((2, 2, 2))), spacing=1.3).images["image"]
    assert result.array.dtype == np.uint8 and result.components == 3
    for n in range(3):
        alone = resample(Volume(rgb[..., n], matrix((2, 2, 2))), spacing=1.3).images["image"]
        assert np.array_equal(result.array[..., n], alone.array)


def test_labels_keep_values_names_and_segments() -> None:
    volume = body((10, 32, 36), spacing=(2.5, 2.5, 4.0))
    other = Segment(7, "other", *[("SCT", "85756007", "Tissue")] * 2, color=(1.0, 0.0, 0.0))
    lungs = labels_on(volume, np.where(volume.array < -700, 1, 0).astype(np.uint8), "lungs", (THING, other))
    bone = labels_on(volume, np.where(volume.array > 500, 7, 0).astype(np.int16), "bone", (other,))
    result = resample(volume, lungs, bone, spacing=1.0)
    image = result.images["image"]
    for label in (lungs, bone):
        found = result.labels[label.name]
        assert found.same_grid(image) and found.array.dtype == label.array.dtype
        assert found.segments == label.segments and set(np.unique(found.array)) == set(np.unique(label.array))
        nearest = resample(
            dataclasses.replace(volume, array=label.array), spacing=1.0, method="nearest"
        ).images["image"]
        assert np.array_equal(found.array, nearest.array)
        volume_before = (label.array > 0).sum() * label.voxel_volume
        assert (found.array > 0).sum() * found.voxel_volume == pytest.approx(volume_before, rel=0.1)


def test_labels_of_the_same_name_are_kept_apart() -> None:
    volume = body((4, 8, 8))
    empty = np.zeros(volume.shape, np.uint8)
    one, two = labels_on(volume, empty + 1, ""), labels_on(volume, empty + 2, "")
    image = labels_on(volume, empty + 3, "image")
    result = resample(volume, one, two, image)
    assert [int(v.array.max()) for v in result.labels.values()] == [1, 2, 3]
    assert len(result.outputs()) == 4


def test_labels_elsewhere_are_refused() -> None:
    volume = body((4, 8, 8))
    label = labels_on(volume, np.zeros(volume.shape, np.uint8))
    moved = label.ijkToRAS.copy()
    moved[0, 3] += 0.01
    for wrong in (
        dataclasses.replace(label, ijkToRAS=moved),
        dataclasses.replace(label, array=label.array[1:]),
    ):
        with pytest.raises(GeometryError, match="another grid"):
            resample(volume, wrong)


# ---- odd images
@pytest.mark.parametrize("shape", [(1, 20, 20), (20, 1, 20), (20, 20, 1)])
def test_a_single_slice_stays_one(shape) -> None:
    volume = Volume(np.arange(400, dtype=np.int16).reshape(shape), matrix((2.0, 2.0, 5.0)))
    result = resample(volume, spacing=1.0).images["image"]
    assert sorted(result.shape)[0] == 1 and result.array.size > 1000
    axis = shape[::-1].index(1)
    assert result.spacing[axis] == volume.spacing[axis]


def test_absurd_sizes_are_refused_before_any_work() -> None:
    volume = body((20, 64, 64), spacing=(5, 5, 5))
    with pytest.raises(ParameterError) as error:
        resample(volume, spacing=0.05)
    assert "GB" in str(error.value) and "larger spacing" in error.value.advice


def test_shear_is_refused() -> None:
    skewed = matrix((1, 1, 2))
    skewed[1, 2] = 0.5
    with pytest.raises(GeometryError, match="sheared"):
        resample(Volume(body((4, 8, 8)).array, skewed))


@pytest.mark.parametrize("spacing", [0, -1, 0.01, 51, (1, 1), (1, 1, 1, 1), "1", float("nan"), (1, 1, None)])
def test_wrong_spacing(spacing) -> None:
    with pytest.raises(ParameterError):
        create("resample", spacing=spacing)


def test_not_finite_is_refused() -> None:
    array = np.zeros((4, 4, 4), np.float32)
    array[1, 1, 1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        resample(Volume(array, np.eye(4)))
