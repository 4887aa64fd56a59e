"""Augmentation: identity, repeatability, orientation, no folds, volumes as the Jacobian says, intensities."""

from __future__ import annotations

import dataclasses
import gc
import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk
from ctimages import THING, body, labels_on, matrix
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from scipy.spatial.transform import Rotation

from MedPrepCommonLib.core import engine, recipe, runner
from MedPrepCommonLib.core.errors import GeometryError, ParameterError, RecipeError
from MedPrepCommonLib.core.integers import put_rounded
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.geometry import augment_draw
from MedPrepCommonLib.geometry.deformation import INJECTIVE, Deformation, control_points, rotation
from MedPrepCommonLib.geometry.orientation import orientation
from MedPrepCommonLib.geometry.warping import warp
from MedPrepCommonLib.numeric import intensity_augment
from MedPrepCommonLib.numeric.intensity_augment import Intensities
from MedPrepCommonLib.operations.augment import Augment

STILL = {"rotation": 0, "scale": 0, "translation": 0, "elasticDisplacement": 0}
EVERYTHING = {"flip": "all", "blur": 0.8, "gamma": 0.3, "biasField": 0.3, "noise": 2.0}


def augment(volume: Volume, *labels, preset=None, **parameters):
    return engine.run(create("augment", preset, **parameters), {"image": volume, "labels": labels})


def small(shape=(9, 14, 17), spacing=(2.0, 2.5, 4.0), dtype=np.int16, seed=0, modality="CT") -> Volume:
    rng = np.random.default_rng(seed)
    array = ndimage.gaussian_filter(rng.normal(0, 1, shape), 1.0) * 3000
    return Volume(array.astype(dtype), matrix(spacing, (10, -20, 30)), modality=modality)


def thirds(volume: Volume, dtype=np.uint8):
    return labels_on(volume, np.digitize(volume.array, np.quantile(volume.array, (0.5, 0.8))).astype(dtype))


# ---- nothing asked for, and the same asked for twice
@given(
    hnp.arrays(np.int32, (3, 4, 5), elements=st.integers(-4000, 4000)),
    st.sampled_from([np.int16, np.int32, np.float32, np.float64, ">i2", "<f4"]),
    st.integers(0, 100),
)
def test_ranges_of_zero_are_the_identity(array, dtype, seed) -> None:
    volume = Volume(array.astype(dtype), matrix(), modality="CT")
    label = labels_on(volume, (array % 3).astype(np.uint16))
    result = augment(volume, label, seed=seed, variants=2, **STILL)
    for name in ("image", "image2"):
        assert np.array_equal(result.images[name].array, volume.array)
        assert result.images[name].array.dtype == volume.array.dtype.newbyteorder("=")
        assert np.array_equal(result.images[name].ijkToRAS, volume.ijkToRAS)
    for name in ("thing", "thing2"):
        assert np.array_equal(result.labels[name].array, label.array)
        assert result.labels[name].segments == (THING,)
    assert result.metrics["smallestJacobian"] == 1


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_small_float_images_stored_towards_right_anterior_superior_are_read_only_too(zero) -> None:
    """Nothing has to be reordered or converted then, so that draws were made from the image's own memory."""
    array = np.full((6, 7, 8), zero, np.float32)
    array[2:4, 2:5, 3:6] = 100
    before = array.tobytes()
    volume = Volume(array, matrix(directions=np.eye(3)), modality="MR")
    turned = Volume(array[:, ::-1, ::-1] + 0, matrix(origin=(7, 6, 0)), modality="MR")
    found, other = (augment(v).images["image"].array for v in (volume, turned))
    assert np.array_equal(found, other[:, ::-1, ::-1])
    assert array.tobytes() == before


def test_one_seed_gives_one_result_whatever_the_threads(monkeypatch) -> None:
    volume = small((12, 40, 40))
    label = thirds(volume)
    results = []
    for threads in ("1", "3"):
        monkeypatch.setenv("MEDPREP_THREADS", threads)
        results.append(augment(volume, label, variants=2, seed=7, **EVERYTHING))
    for name, found in results[0].volumes().items():
        assert found.array.tobytes() == results[1].volumes()[name].array.tobytes()
    assert results[0].tables == results[1].tables
    assert not np.array_equal(results[0].images["image"].array, results[0].images["image2"].array)
    other = augment(volume, label, variants=2, seed=8, **EVERYTHING)
    assert not np.array_equal(other.images["image"].array, results[0].images["image"].array)


def test_a_variant_does_not_depend_on_the_others_or_on_what_is_left_out() -> None:
    volume = small()
    three, two = (augment(volume, variants=n, **EVERYTHING) for n in (3, 2))
    for name in ("image", "image2"):
        assert np.array_equal(three.images[name].array, two.images[name].array)
    rows = three.tables["drawn"].rows
    bare = augment(volume, variants=3, rotation=0, **EVERYTHING).tables["drawn"].rows
    for row, other in zip(rows, bare, strict=True):
        assert other[1:4] == (0, 0, 0) and row[1:4] != (0, 0, 0)
        assert other[4:10] == row[4:10] and other[11:16] == row[11:16]


def test_images_get_draws_of_their_own_unless_told_otherwise() -> None:
    one, other = small(seed=1), small(seed=2)
    for own in (True, False):
        first, second = (augment(v, perImage=own).tables["drawn"].rows[0] for v in (one, other))
        assert (first[1:9] == second[1:9]) is not own


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.float64])
def test_the_type_changes_neither_draws_nor_values(dtype) -> None:
    volume = small()
    wanted, found = (
        augment(v, **EVERYTHING) for v in (volume, volume.with_array(volume.array.astype(dtype)))
    )
    drawn, again = (r.tables["drawn"].rows[0] for r in (wanted, found))
    assert [v for v in drawn if isinstance(v, float)] == pytest.approx(
        [v for v in again if isinstance(v, float)]
    )
    image = found.images["image"].array
    assert image.dtype == dtype and np.abs(image - wanted.images["image"].array).max() <= 1


# ---- orientation
@pytest.mark.parametrize(
    ("order", "signs"),
    [((0, 1, 2), (1, 1, 1)), ((2, 1, 0), (1, -1, 1)), ((1, 2, 0), (-1, 1, -1)), ((0, 2, 1), (1, 1, -1)),
     ((2, 0, 1), (-1, -1, -1))],
)  # fmt: skip
def test_it_does_not_matter_how_the_anatomy_is_stored(order, signs) -> None:
    volume = small()
    label = thirds(volume)
    wanted = augment(volume, label, variants=2, **EVERYTHING)
    flips = tuple(slice(None, None, s) for s in signs)

    def stored(array):
        return np.ascontiguousarray(array.transpose(order)[flips])

    directions = np.zeros((4, 4))
    directions[3, 3] = 1
    first = np.zeros(3)  # index (k, j, i) of the voxel that comes first now
    for axis, (source, sign) in enumerate(zip(order, signs, strict=True)):
        directions[:3, 2 - axis] = sign * volume.ijkToRAS[:3, 2 - source]
        first[source] = volume.shape[source] - 1 if sign < 0 else 0
    directions[:3, 3] = (volume.ijkToRAS @ [*first[::-1], 1])[:3]
    turned = Volume(stored(volume.array), directions, modality="CT")
    result = augment(turned, labels_on(turned, stored(label.array)), variants=2, **EVERYTHING)
    assert result.tables == wanted.tables
    for name, found in result.volumes().items():
        assert np.array_equal(found.array, stored(wanted.volumes()[name].array)), name


# ---- the resampling against other libraries
def bent(shape, spacing, seed=0, share=0.9, distance=12.0) -> Deformation:
    rng = np.random.default_rng(seed)
    counts = control_points(shape, spacing, distance)
    lattice = rng.uniform(-1, 1, (3, *counts)) * share * distance / INJECTIVE
    lattice[[n == 1 for n in shape]] = 0
    turn = rotation((0.2, 0.0, 0.0) if 1 in shape else (0.2, -0.1, 0.15))
    return Deformation(shape, spacing, turn * (1.0 if 1 in shape else 0.9), np.zeros(3), lattice, distance)


@pytest.mark.parametrize(
    "layout", [np.ascontiguousarray, np.asfortranarray, lambda a: np.repeat(a, 2, 1)[:, ::2]]
)
@pytest.mark.parametrize("shape", [(13, 20, 24), (1, 30, 26), (14, 1, 19), (2, 2, 50)])
@pytest.mark.parametrize("outside", [-7.0, None])
def test_values_equal_scipy(shape, layout, outside) -> None:
    image = layout(np.random.default_rng(1).normal(0, 1000, shape).astype(np.float32))
    label = layout((image > 500).astype(np.uint8) * 3)
    deformation = bent(shape, (3.0, 1.5, 1.0))
    results = [np.empty(shape, np.float32), np.empty(shape, np.uint8)]
    missed = warp(image, [label], deformation, outside, results, Job.quiet())
    read = deformation.reader()
    place = np.stack([read(k, 0, shape[1]) for k in range(shape[0])], 1).astype(np.float64)
    wanted = [ndimage.map_coordinates(a, place, order=n, mode="nearest") for a, n in ((image, 1), (label, 0))]
    limits = np.array(shape).reshape(3, 1, 1, 1) - 0.5
    gone = ((place < -0.5) | (place > limits)).any(axis=0)
    if outside is not None:
        wanted[0][gone] = outside
    wanted[1][gone] = 0
    assert np.abs(results[0] - wanted[0]).max() < 1
    assert (results[1] != wanted[1]).mean() < 1e-3 and set(np.unique(results[1])) <= {0, 3}
    assert missed == pytest.approx(gone.mean(), abs=1e-3)


def test_an_affine_map_equals_simpleitk() -> None:
    volume = small((20, 40, 44), dtype=np.float32)
    drawn = dataclasses.replace(
        augment_draw.Drawn((12, -7, 9), 1.08, (3.0, -4.0, 5.0), None, 1.0, (False,) * 3, Intensities(), 0.0)
    )
    turned = orientation(volume, "SAR")
    frame = augment_draw.Frame(volume.shape, turned.reorder(volume.spacing_kji), None, 0.0, 0.0, 1.0, False)
    found = np.empty(volume.shape, np.float32)
    warp(turned.view(volume.array), [], drawn.deformation(frame), -5.0, [turned.view(found)], Job.quiet())
    # The right-hand rule about superior, anterior, right, in this order, then scale, then shift; in LPS.
    turn = Rotation.from_euler("zyx", (12, -7, 9), degrees=True).as_matrix()
    to_lps = np.diag([-1.0, -1.0, 1.0])
    inverse = np.linalg.inv(1.08 * to_lps @ turn @ to_lps)
    image = volume.to_sitk()
    centre = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    shift = to_lps @ np.array([5.0, -4.0, 3.0])
    transform = sitk.AffineTransform(inverse.ravel().tolist(), (-inverse @ shift).tolist(), centre)
    wanted = sitk.GetArrayFromImage(sitk.Resample(image, image, transform, sitk.sitkLinear, -5.0))
    different = np.abs(found - wanted) > 0.5
    assert different.mean() < 1e-3  # at the image's border by rounding


def test_memory_is_that_of_the_results(monkeypatch) -> None:
    """Image and label map take 5 bytes per voxel, a thread 2 MB; nothing waits to be collected."""
    monkeypatch.setenv("MEDPREP_THREADS", "1")
    shape = (60, 160, 160)
    image, label = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    deformation = bent(shape, (1.0, 1.0, 1.0), distance=40.0)
    gc.disable()
    tracemalloc.start()
    try:
        warp(image, [label], deformation, 0.0, [np.empty_like(image), np.empty_like(label)], Job.quiet())
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert peak < 5 * image.size + (3 << 20)
    assert left < image.size / 4


# ---- no folds
def jacobian(deformation, k: int) -> np.ndarray:
    """Determinant of the map's derivative at the voxels of slice `k`, (rows, columns)."""
    return deformation._determinant([np.array([k]), *(np.arange(n) for n in deformation.shape[1:])])[0]


def test_the_jacobian_is_the_derivative_of_the_map() -> None:
    shape, spacing = (12, 15, 18), (2.0, 1.5, 1.0)
    deformation = bent(shape, spacing)
    read = deformation.reader()
    place = np.stack([read(k, 0, shape[1]) for k in range(shape[0])], 1).astype(np.float64)
    place *= np.array(spacing).reshape(3, 1, 1, 1)
    derivative = np.stack([np.stack(np.gradient(p, *spacing)) for p in place])
    wanted = np.linalg.det(np.moveaxis(derivative, (0, 1), (-2, -1)))[2:-2, 2:-2, 2:-2]
    found = np.stack([jacobian(deformation, k) for k in range(shape[0])])[2:-2, 2:-2, 2:-2]
    assert np.abs(found - wanted).max() < 0.05 and found.std() > 0.1
    assert deformation.smallest_jacobian() <= found.min() + 0.02


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([(10, 12, 14), (1, 30, 30), (30, 1, 3)]))
def test_control_points_at_their_limit_do_not_fold(seed, shape) -> None:
    spacing, distance = (2.0, 2.0, 2.0), 7.0
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (3, *control_points(shape, spacing, distance)))
    deformation = Deformation(shape, spacing, np.eye(3), np.zeros(3), signs * distance / INJECTIVE, distance)
    assert (
        min(deformation.smallest_jacobian(), *(jacobian(deformation, k).min() for k in range(shape[0]))) > 0
    )


def test_beyond_the_limit_they_can_and_it_is_seen() -> None:
    shape, spacing, distance = (12, 12, 12), (2.0, 2.0, 2.0), 7.0
    counts = control_points(shape, spacing, distance)
    lattice = np.indices(counts)[:, ::-1, ::-1] % 2 * 2.0 - 1
    far = Deformation(shape, spacing, np.eye(3), np.zeros(3), lattice * 1.5 * distance, distance)
    assert far.smallest_jacobian() < 0
    with pytest.raises(ParameterError, match="fold"):
        create("augment", elasticDisplacement=10.1, elasticSpacing=25)
    create("augment", elasticDisplacement=10, elasticSpacing=25)


def smallest_of(preset: str, variant: int) -> float:
    """The lowest determinant at every voxel of a small grid."""
    shape, spacing = (
        ((1, 24, 24), (1.0, 9.0, 9.0)) if preset == "xray" else ((14, 16, 16), (12.0, 12.0, 12.0))
    )
    frame = augment_draw.Frame(shape, spacing, 0 if preset == "xray" else None, 0.0, 0.0, 1.0, False)
    deformation = augment_draw.draw(create("augment", preset, seed=3), frame, 5, variant).deformation(frame)
    return min(
        deformation.smallest_jacobian(), *(jacobian(deformation, k).min() for k in range(0, shape[0], 3))
    )


@pytest.mark.parametrize("preset", list(Augment.presets))
def test_draws_of_the_presets_do_not_fold(preset) -> None:
    assert min(smallest_of(preset, n) for n in range(25)) > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("preset", list(Augment.presets))
def test_a_thousand_draws_of_the_presets_do_not_fold(preset) -> None:
    assert min(smallest_of(preset, n) for n in range(1000)) > 0.1


# ---- labels
@pytest.mark.parametrize("variant", range(3))
def test_volumes_change_as_the_jacobian_says(variant) -> None:
    """Over the voxels that show a ball, the volumes they came from add up to the ball's."""
    shape, spacing, radius = (72, 80, 76), (1.0, 1.0, 1.0), 22.0
    z, y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    ball = (z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 < radius**2).astype(np.uint8)
    op = create("augment", seed=11, elasticDisplacement=8, elasticSpacing=20)
    frame = augment_draw.Frame(shape, spacing, None, 0.0, 0.0, 1.0, False)
    deformation = augment_draw.draw(op, frame, 0, variant).deformation(frame)
    found = np.empty(shape, np.uint8)
    warp(ball.astype(np.float32), [ball], deformation, 0.0, [np.empty(shape, np.float32), found], Job.quiet())
    predicted = sum(float(jacobian(deformation, k)[found[k] > 0].sum()) for k in range(shape[0]))
    assert predicted == pytest.approx(ball.sum(), rel=0.01)
    assert int(found.sum()) != pytest.approx(int(ball.sum()), rel=0.01)  # so there was something to predict


def test_labels_keep_their_values_and_go_with_the_image() -> None:
    volume = body((16, 40, 44), padding=None, noise=0)
    values = np.digitize(volume.array, (-900, -500, 0, 500)).astype(np.int16) * 1000
    result = augment(volume, labels_on(volume, values, "parts"), labels_on(volume, values, "parts"), seed=4)
    found, image = result.labels["parts"].array, result.images["image"].array
    assert found.dtype == np.int16 and set(np.unique(found)) <= set(np.unique(values))
    assert np.array_equal(result.labels["parts 2"].array, found)
    # Inside the parts, away from their edges, the image shows what the labels say.
    inner = ndimage.maximum_filter(found, 5) == ndimage.minimum_filter(found, 5)
    for value, hu in ((1000, -850), (3000, 50)):
        here = inner & (found == value)
        assert here.any() and np.abs(image[here] - hu).max() <= 1


def test_mirroring_is_exact_and_said_where_labels_have_sides() -> None:
    volume = small()
    sides = tuple(
        dataclasses.replace(THING, value=n, name=name) for n, name in ((1, "right lung"), (2, "Left lung"))
    )
    label = labels_on(volume, (np.indices(volume.shape)[2] > 8).astype(np.uint8) + 1, segments=sides)
    result = augment(volume, label, variants=8, flip="leftRight", **STILL)
    mirrored = [row[8] for row in result.tables["drawn"].rows]
    assert set(mirrored) == {"", "right"}
    for n, row in enumerate(mirrored, 1):
        wanted = volume.array[:, :, ::-1] if row else volume.array
        assert np.array_equal(result.images[f"image{n if n > 1 else ''}"].array, wanted)
        assert any(f"Variant {n} is mirrored" in note for note in result.notes) is bool(row)
    assert all(row[8] == "" for row in augment(volume, variants=8).tables["drawn"].rows)


def test_a_label_map_elsewhere_is_refused() -> None:
    volume = small()
    label = dataclasses.replace(thirds(volume), ijkToRAS=matrix((2.0, 2.5, 4.0), (11, -20, 30)))
    with pytest.raises(GeometryError, match="another grid"):
        augment(volume, label)


# ---- slices
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_moves_within_its_plane(axis) -> None:
    volume = small((30, 32, 34))
    slab = volume.with_array(volume.array.take((5,), axis))
    result = augment(slab, preset="xray", variants=3, blur=0, noise=0, gamma=0)
    for row in result.tables["drawn"].rows:
        still = [row[1 + n] == 0 for n in range(3)]
        assert sum(still) == 2 and row[5 + axis] == 0  # this volume's axes are superior, anterior, right
    assert all(not np.array_equal(v.array, slab.array) for v in result.images.values())


def test_thick_slices_are_kept_apart() -> None:
    one = small((1, 30, 30))
    thick = Volume(np.repeat(one.array, 6, 0), matrix((1.0, 1.0, 5.0)), modality="CT")
    found = augment(thick, preset="ct", noise=0, inPlaneOnly=True, seed=2).images["image"].array
    assert (found == found[:1]).all() and not np.array_equal(found, thick.array)


# ---- beyond the image
def test_what_comes_in_from_beyond() -> None:
    shift = {**STILL, "translation": 40, "seed": 5}
    for lowest, modality, wanted in (
        (-1024, "CT", -1000),
        (-200, "CT", -200),
        (3, "MR", 3),
        (-1024, "", -1024),
    ):
        volume = small(modality=modality)
        volume = volume.with_array(np.maximum(volume.array, lowest - 1).clip(lowest).astype(np.int16))
        volume = volume.with_array(np.where(np.indices(volume.shape).sum(0) == 9, lowest, volume.array))
        result = augment(volume, thirds(volume), **shift)
        share = result.tables["drawn"].rows[0][-1] / 100
        assert 0.1 < share < 0.9
        assert (result.images["image"].array == wanted).mean() >= share - 1e-6
        assert (result.labels["thing"].array == 0).mean() >= share - 1e-6
    image = augment(volume, outside="value", outsideValue=1234, **shift).images["image"].array
    assert (image == 1234).mean() == pytest.approx(share, abs=1e-3)
    image = augment(volume.with_array(volume.array - 5000), outside="edge", **shift).images["image"].array
    assert image.max() < 0


# ---- intensities
def applied(array, dtype=np.float32, **wanted) -> np.ndarray:
    out = np.empty(array.shape, dtype)
    intensity_augment.apply(array.astype(np.float32), Intensities(**wanted), out, Job.quiet())
    return out


def test_gamma_keeps_the_ends_of_the_range_and_what_lies_beyond() -> None:
    ramp = np.linspace(-50, 150, 8 * 20 * 20).reshape(8, 20, 20)
    found = applied(ramp, gamma=1.7, low=0.0, high=100.0)
    inside = (ramp > 0) & (ramp < 100)
    assert np.abs(found - ramp)[~inside].max() < 1e-4
    assert np.abs(found - 100 * (ramp.clip(0, 100) / 100) ** 1.7)[inside].max() < 1e-3
    assert (np.diff(found.ravel()) >= -1e-4).all()


def test_a_bias_field_is_smooth_and_leaves_no_signal_alone() -> None:
    shape = (20, 24, 28)
    bias = np.random.default_rng(0).uniform(-0.4, 0.4, intensity_augment.bias_shape(shape))
    field = np.log(applied(np.full(shape, 100.0), bias=bias) / 100)
    assert 0.1 < np.abs(field).max() <= 0.4
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(3)) < 0.1
    assert (applied(np.zeros(shape), bias=bias) == 0).all()
    standardised = applied(np.full(shape, -1.5), bias=bias, floor=-1.5)
    assert np.abs(standardised + 1.5).max() < 1e-6
    assert intensity_augment.bias_shape((1, 9, 9))[0] == 1


@pytest.mark.parametrize("rician", [False, True])
def test_noise_has_its_distribution(rician) -> None:
    air, tissue = (applied(np.full((12, 60, 60), v), noise=5.0, rician=rician) for v in (0.0, 1000.0))
    mean, deviation = (5 * np.sqrt(np.pi / 2), 5 * np.sqrt(2 - np.pi / 2)) if rician else (0.0, 5.0)
    assert air.mean() == pytest.approx(mean, abs=0.1) and air.std() == pytest.approx(deviation, rel=0.02)
    assert tissue.mean() == pytest.approx(1000, abs=0.1) and tissue.std() == pytest.approx(5, rel=0.02)
    assert abs(np.corrcoef(air[0].ravel(), air[1].ravel())[0, 1]) < 0.06
    assert (air >= 0).all() or not rician


def test_noise_is_rician_in_magnitude_mri_only() -> None:
    for modality, low, wanted in (("MR", 0, True), ("MR", -3, False), ("CT", 0, False)):
        volume = small(modality=modality)
        volume = volume.with_array(np.abs(volume.array) + np.int16(low))
        result = augment(volume, preset="mr", seed=1)
        assert (result.tables["drawn"].rows[0][15] == "Rician") is wanted
    assert augment(volume, noiseKind="rician").tables["drawn"].rows[0][15] == "Rician"


def test_blur_is_in_millimetres() -> None:
    point = np.zeros((21, 31, 41))
    point[10, 15, 20] = 1e6
    found = applied(point, blur=(0.5, 1.0, 2.0)).astype(np.float64)
    wanted = ndimage.gaussian_filter(point, (0.5, 1.0, 2.0), mode="nearest")
    assert np.abs(found - wanted).max() < 1
    volume = small((9, 20, 20), spacing=(1.0, 1.0, 3.0))
    row = augment(volume, blur=2.0, **STILL).tables["drawn"].rows[0]
    sigma = row[11]
    assert 0 < sigma <= 2
    wanted = ndimage.gaussian_filter(
        volume.array.astype(np.float32), (sigma / 3, sigma, sigma), mode="nearest"
    )
    assert np.abs(augment(volume, blur=2.0, **STILL).images["image"].array - wanted).max() <= 0.501


@given(st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.uint32]), st.floats(-3e9, 6e9))
def test_whole_numbers_are_rounded_and_limited(dtype, value) -> None:
    out = np.empty((2, 2), dtype)
    put_rounded(np.full((2, 2), value, np.float64), out)
    limits = np.iinfo(dtype)
    assert (out == int(np.clip(np.floor(value + 0.5), limits.min, limits.max))).all()
    for kind in (np.float32, np.float64):
        put_rounded(np.array([[np.finfo(np.float32).max, -np.finfo(np.float32).max]], kind), out[:1])
        assert out[0, 1] == limits.min and out[0, 0] > 0.99 * limits.max


def test_hounsfield_units_keep_their_meaning_in_the_ct_preset() -> None:
    volume = body((16, 48, 48), noise=0)
    for row in augment(volume, preset="ct", variants=4).tables["drawn"].rows:
        assert row[12] == 1 and row[13] == 0
    image = augment(volume, preset="ct", seed=9).images["image"].array
    inner = ndimage.minimum_filter(np.abs(image - 50) < 100, 3)
    assert inner.any() and np.median(image[inner]) == pytest.approx(50, abs=3)  # muscle is still 50 HU


# ---- in a recipe
def test_a_recipe_names_every_variant() -> None:
    record = {
        "schema": recipe.SCHEMA,
        "version": recipe.VERSION,
        "name": "three",
        "inputs": {"image": {}, "lungs": {"kind": "labels"}},
        "steps": [
            {
                "operation": "augment",
                "inputs": {"image": "image", "labels": ["lungs"]},
                "parameters": {"variants": 3},
            }
        ],
        "outputs": {"first": "augment.image", "third": "augment.image3", "thirdLungs": "augment.lungs3"},
    }
    volume = small()
    found = runner.run(recipe.parse(record), {"image": volume, "lungs": thirds(volume)}).result
    wanted = augment(volume, thirds(volume), variants=3)
    assert np.array_equal(found.images["third"].array, wanted.images["image3"].array)
    assert np.array_equal(found.labels["thirdLungs"].array, wanted.labels["thing3"].array)
    record["outputs"]["fourth"] = "augment.image4"
    with pytest.raises(RecipeError, match="image4"):
        recipe.parse(record)


# ---- the record
def test_the_table_says_what_was_done() -> None:
    volume = body((24, 40, 44), noise=0)
    array = np.full(volume.shape, -1000, np.int16)
    array[10:14, 18:22, 20:24] = 1000
    volume = volume.with_array(array)
    result = augment(volume, seed=3, **{**STILL, "translation": 15})
    table = result.tables["drawn"]
    row = dict(zip(table.columns, table.rows[0], strict=True))
    centres = [
        (v.ijkToRAS @ [*ndimage.center_of_mass(v.array + 1000.0)[::-1], 1])[:3]
        for v in (volume, result.images["image"])
    ]
    moved = centres[1] - centres[0]
    wanted = [row[f"shift to {side} (mm)"] for side in ("right", "anterior", "superior")]
    assert moved == pytest.approx(wanted, abs=0.05) and np.abs(moved).max() > 1
    assert result.metrics["seed"] == 3 and result.checks[0].verdict == "pass"
