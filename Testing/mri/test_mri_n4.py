"""N4: against ITK's filter, against known fields, and on everything that an image can be."""

from __future__ import annotations

import dataclasses
import time
import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk
from ctimages import read
from hypothesis import given
from hypothesis import strategies as st
from mriimages import agreement, image_of, inner_white, mask_of, phantom, stored, variation

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import GeometryError, InputError, ParameterError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepMRILib.bias import n4
from MedPrepMRILib.bias.correction import divide
from MedPrepMRILib.numeric import shrink
from MedPrepMRILib.numeric.lattice import LatticeFit, basis, gather, spread


def correct(image: Volume, mask: np.ndarray | None = None, weight: Volume | None = None, **parameters):
    inputs = {"image": image, "weight": weight, "mask": None if mask is None else mask_of(image, mask)}
    return engine.run(create("mri.n4", **parameters), inputs)


def itk_field(image: Volume, mask: np.ndarray, factor: int, levels=(50, 50, 50, 50), convergence=1e-3):
    """The field of SimpleITK used in the usual way: shrink, correct, evaluate at full resolution."""
    whole = sitk.Cast(image.to_sitk(), sitk.sitkFloat32)
    inside = sitk.GetImageFromArray((mask & (image.array > 0)).astype(np.uint8))
    inside.CopyInformation(whole)
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(list(levels))
    corrector.SetConvergenceThreshold(convergence)
    corrector.Execute(sitk.Shrink(whole, [factor] * 3), sitk.Shrink(inside, [factor] * 3))
    return np.exp(sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(whole)))


# ---- beside ITK
def test_one_iteration_is_itks() -> None:
    made = phantom()
    image = image_of(made)
    expected = itk_field(image, made.brain, 3, (1,))
    result = correct(image, made.brain, shrinkFactor=3, iterations="1")
    r, spread_of_ratio = agreement(result.images["biasField"].array, expected, made.brain)
    assert r > 1 - 1e-8 and spread_of_ratio < 1e-4


@pytest.mark.parametrize(("amount", "least"), [(0.2, 0.9), (0.4, 0.95), (0.8, 0.98)])
def test_whole_runs_agree_with_itk_and_come_as_near_the_truth(amount, least) -> None:
    made = phantom(amount)
    image = image_of(made)
    theirs = itk_field(image, made.brain, 2)
    ours = correct(image, made.brain, shrinkFactor=2).images["biasField"].array
    r, spread_of_ratio = agreement(ours, theirs, made.brain)
    assert r >= 0.999 and spread_of_ratio <= 0.5
    known = {name: agreement(field, made.field, made.brain) for name, field in (("o", ours), ("t", theirs))}
    assert known["o"][0] >= known["t"][0] - 0.002 and known["o"][1] <= known["t"][1] + 0.05
    assert known["o"][0] > least
    white = inner_white(made)
    cleaned = [variation(image.array / field, white) for field in (ours, theirs)]
    assert abs(cleaned[0] - cleaned[1]) <= 0.05


def test_the_itk_engine_is_itk() -> None:
    made = phantom()
    image = image_of(made)
    result = correct(image, made.brain, shrinkFactor=4, iterations="8, 4", engine="itk")
    r, spread_of_ratio = agreement(
        result.images["biasField"].array, itk_field(image, made.brain, 4, (8, 4)), made.brain
    )
    assert r > 1 - 1e-6 and spread_of_ratio < 1e-3
    assert [row[:2] for row in result.tables["iterations"].rows] == [
        (level, n + 1) for level, most in ((1, 8), (2, 4)) for n in range(most)
    ]


def test_the_itk_engine_takes_the_mesh_too() -> None:
    made = phantom()
    image = image_of(made)
    parameters = {"shrinkFactor": 4, "iterations": "6, 3", "meshResolution": (2, 1, 3), "convergence": 0}
    fields = [
        correct(image, made.brain, engine=e, **parameters).images["biasField"].array
        for e in ("itk", "medprep")
    ]
    r, spread_of_ratio = agreement(*fields, made.brain)
    assert r > 0.9999 and spread_of_ratio < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adi T1", "norm 20 %", "norm 40 %", "norm 80 %"])
def test_real_images_agree_with_itk(name, shared_data) -> None:
    known = None
    if name == "adi T1":
        image = read(shared_data / "mri/adi-t1-t2/t1-mprage.nii.gz")
        mask = sitk.GetArrayFromImage(sitk.OtsuThreshold(image.to_sitk(), 0, 1, 200)) > 0
    else:
        image = read(shared_data / "mri/fs-norm-wm/norm.nii.gz")
        mask = image.array > 0
        known = waves(image, mask, float(name.split()[1]) / 100)
        white = (image.array > 98) & (image.array < 118)
        image = image.with_array(image.array * known)
    theirs = itk_field(image, mask, 4)
    start = time.perf_counter()
    ours = correct(image, mask, shrinkFactor=4).images["biasField"].array
    assert time.perf_counter() - start < 5
    r, spread_of_ratio = agreement(ours, theirs, mask)
    assert r >= 0.999 and spread_of_ratio <= 0.5
    if known is not None:
        (our_r, our_rest), (their_r, their_rest) = (agreement(f, known, mask) for f in (ours, theirs))
        assert our_r >= their_r - 0.002 and our_rest <= their_rest + 0.05
        assert variation(image.array / ours, white) <= variation(image.array / theirs, white) + 0.05


def waves(image: Volume, mask: np.ndarray, amount: float) -> np.ndarray:
    """A smooth field on any grid, from 1 - amount / 2 to 1 + amount / 2 in the mask."""
    k, j, i = (np.arange(n) * s for n, s in zip(image.shape, image.spacing_kji, strict=True))
    field = np.cos(2 * np.pi * (k[:, None, None] / 350 + 0.1)) + np.cos(2 * np.pi * (j[:, None] / 420 - 0.2))
    field = (field + np.cos(2 * np.pi * (i / 380 + 0.3))).astype(np.float32)
    low, high = field[mask].min(), field[mask].max()
    return 1 - amount / 2 + amount * (field - low) / (high - low)


# ---- what the result says
def test_field_times_corrected_is_the_input_and_the_mean_is_kept() -> None:
    made = phantom(0.8)
    image = image_of(made)
    result = correct(image, made.brain)
    corrected, field = result.images["image"].array, result.images["biasField"].array
    assert corrected.dtype == field.dtype == np.float32 and np.isfinite(corrected).all()
    assert np.allclose(corrected * field, image.array, rtol=1e-5, atol=1e-3)
    wanted = image.array[made.brain].mean(dtype=np.float64)
    assert corrected[made.brain].mean(dtype=np.float64) == pytest.approx(wanted, rel=1e-6)
    assert variation(corrected, inner_white(made)) < 0.35 * variation(image.array, inner_white(made))


def test_statistics_equal_numpy() -> None:
    made = phantom()
    image = image_of(made)
    result = correct(image, made.brain)
    corrected, field = result.images["image"].array, result.images["biasField"].array
    inside = field[made.brain].astype(np.float64)
    before, after = (a[made.brain].astype(np.float64) for a in (image.array, corrected))
    wanted = {
        "cvBefore": before.std() / before.mean(),
        "cvAfter": after.std() / after.mean(),
        "correlation": np.corrcoef(before, after)[0, 1],
        "fieldMinimum": inside.min(),
        "fieldMaximum": inside.max(),
        "fieldMean": inside.mean(),
        "fieldStandardDeviation": inside.std(),
    }
    for name, value in wanted.items():
        assert result.metrics[name] == pytest.approx(value, rel=1e-5), name
    assert result.metrics["cvReduction"] == pytest.approx(
        1 - wanted["cvAfter"] / wanted["cvBefore"], abs=1e-5
    )
    rows = dict(result.tables["statistics"].rows)
    assert rows["voxels in the mask"] == made.brain.sum()
    assert rows["coefficient of variation after (%)"] == pytest.approx(100 * wanted["cvAfter"], rel=1e-5)


def test_iterations_and_histogram() -> None:
    made = phantom()
    result = correct(image_of(made), made.brain, iterations="7, 3", convergence=0)
    rows = result.tables["iterations"].rows
    assert len(rows) == result.metrics["iterations"] == 10
    assert all(level in (1, 2) and 0 < measure < 1 for level, _n, measure in rows)
    before, after = result.figures["histogram"].curves
    assert before.x == after.x and len(before.x) == 128
    assert sum(after.y) == pytest.approx(1.0, abs=0.01)


def test_the_histogram_shows_white_matter_sharper() -> None:
    made = phantom(0.8)
    white = inner_white(made)
    before, after = correct(image_of(made), white).figures["histogram"].curves
    assert max(after.y) > 2 * max(before.y)


def test_a_bias_free_image_stays_as_it_is(shared_data) -> None:
    image = read(shared_data / "mri/fs-norm-wm/norm.nii.gz")
    for mask in (None, image.array > 0):
        result = correct(image, mask)
        field = result.images["biasField"].array[image.array > 0]
        assert field.min() > 0.98 and field.max() < 1.02
        assert any("No bias field" in note for note in result.notes)


def test_a_field_that_is_there_is_never_called_none(shared_data) -> None:
    image = read(shared_data / "mri/adi-t1-t2/t2-fse.nii.gz")
    result = correct(image)
    assert not any("No bias field" in note for note in result.notes)
    assert max(row[0] for row in result.tables["iterations"].rows) == 4


def test_real_t1_loses_its_bias(shared_data) -> None:
    """The same volunteer's T1: brightness falls by a third from the coil to the middle of the head."""
    image = read(shared_data / "mri/adi-t1-t2/t1-mprage.nii.gz")
    brain = engine.run(create("mri.brainMask"), {"image": image}).labels["mask"]
    result = engine.run(create("mri.n4"), {"image": image, "mask": brain})
    # Most of what is left is the difference between tissues.
    assert result.metrics["cvReduction"] > 0.06
    assert result.metrics["fieldMaximum"] / result.metrics["fieldMinimum"] > 1.5


# ---- parameters
def test_the_grid_is_of_four_millimetres_and_never_too_thin() -> None:
    def factors(shape, spacing, factor=0):
        place = np.diag([*spacing[::-1], 1.0])
        return shrink.factors(Volume(np.zeros(shape, np.uint8), place), factor)

    assert factors((160, 256, 256), (1, 1, 1)) == (4, 4, 4)
    assert factors((18, 256, 256), (5, 0.9, 0.9)) == (1, 4, 4)
    assert factors((1, 256, 256), (5, 0.5, 0.5)) == (1, 8, 8)
    assert factors((160, 256, 256), (1, 1, 1), 2) == (2, 2, 2)
    assert factors((18, 256, 256), (1, 1, 1), 4) == (2, 4, 4)
    assert factors((3, 5, 9), (1, 1, 1)) == (1, 1, 1)


@given(
    st.tuples(*[st.integers(1, 40)] * 3),
    st.integers(1, 7),
    st.tuples(*[st.floats(0.3, 6)] * 3),
    st.tuples(*[st.floats(-200, 200)] * 3),
)
def test_the_samples_are_those_of_itk(shape, factor, spacing, origin) -> None:
    place = np.diag([*spacing, 1.0])
    place[:3, 3] = origin
    values = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    image = Volume(values, place)
    taken = values[shrink.samples(image, (factor,) * 3)]
    assert np.array_equal(taken, sitk.GetArrayFromImage(sitk.Shrink(image.to_sitk(), [factor] * 3)))


def test_spline_distance_covers_the_image() -> None:
    mesh = n4.Mesh.of_distance(180.0, 200.0)
    assert mesh.spans == 1 and mesh.margin == pytest.approx(1 / 18)
    assert n4.Mesh.of_distance(180.0, 60.0) == n4.Mesh(3, 0.0)
    assert n4.Mesh.of_distance(181.0, 60.0).spans == 4
    assert n4.Mesh.of_distance(0.0, 60.0) == n4.Mesh(1, 0.0)
    places = mesh.place(181)
    # The image's ends lie 10 mm inside a mesh of 200 mm.
    assert places[[0, -1]] == pytest.approx([0.05, 0.95])
    made = phantom()
    field = correct(image_of(made), made.brain, splineDistance=200).images["biasField"].array
    assert agreement(field, made.field, made.brain)[0] > 0.97


def test_a_finer_mesh_follows_finer_fields() -> None:
    made = phantom(0.0)
    place = np.arange(made.labels.shape[2]) * 3.0
    ripple = np.exp(0.25 * np.cos(2 * np.pi * place / 60.0)).astype(np.float32)
    image = image_of(made).with_array(made.images["T1"] * ripple)
    truth = np.broadcast_to(ripple, image.shape)
    coarse, fine = (
        correct(image, made.brain, iterations="50", meshResolution=mesh).images["biasField"].array
        for mesh in ((1, 1, 1), (8, 2, 2))
    )
    assert agreement(fine, truth, made.brain)[1] < 0.6 * agreement(coarse, truth, made.brain)[1]


def test_weights_of_zero_leave_voxels_out() -> None:
    made = phantom()
    image = image_of(made)
    half = np.zeros(image.shape, np.float32)
    half[:, :, : image.shape[2] // 2] = 3.5
    weighted = correct(image, made.brain, image.with_array(half), shrinkFactor=2)
    masked = correct(image, made.brain & (half > 0), shrinkFactor=2)
    r, spread_of_ratio = agreement(
        weighted.images["biasField"].array, masked.images["biasField"].array, made.brain & (half > 0)
    )
    assert r > 1 - 1e-6 and spread_of_ratio < 1e-3


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"iterations": ""}, "iterations"),
        ({"iterations": "50, many"}, "iterations"),
        ({"iterations": "0"}, "iterations"),
        ({"iterations": "1, 1, 1, 1, 1, 1, 1"}, "1 to 6"),
        ({"meshResolution": (1.5, 1, 1)}, "whole numbers"),
        ({"convergence": -1}, "convergence"),
        ({"engine": "ants"}, "engine"),
    ],
)
def test_wrong_parameters(parameters, words) -> None:
    with pytest.raises(ParameterError, match=words):
        create("mri.n4", **parameters)


def test_what_itk_does_not_have() -> None:
    made = phantom()
    image = image_of(made)
    with pytest.raises(ParameterError, match="mesh resolution"):
        correct(image, made.brain, engine="itk", splineDistance=100)
    with pytest.raises(InputError, match="weight image"):
        correct(image, made.brain, image, engine="itk")


# ---- images of every kind
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float64, ">i2"])
def test_types_of_voxels(dtype) -> None:
    made = phantom()
    scale = 0.15 if dtype == np.uint8 else 1.0
    array = np.round(made.images["T1"] * scale).astype(dtype)
    field = correct(image_of(made).with_array(array), made.brain).images["biasField"].array
    assert agreement(field, made.field, made.brain)[0] > 0.98


def test_negative_values_are_left_out_but_kept() -> None:
    made = phantom()
    array = np.round(made.images["T1"]).astype(np.int16)
    array[::5, ::3] = -37
    image = image_of(made).with_array(array)
    result = correct(image, made.brain)
    assert np.isfinite(result.images["image"].array).all()
    assert (result.images["image"].array[::5, ::3] < 0).all()
    inside = made.brain & (array > 0)
    assert agreement(result.images["biasField"].array, made.field, inside)[0] > 0.97


def test_slices_without_signal() -> None:
    made = phantom()
    array = made.images["T1"].copy()
    array[:20] = array[40:44] = 0
    result = correct(image_of(made).with_array(array), made.brain)
    inside = made.brain & (array > 0)
    assert agreement(result.images["biasField"].array, made.field, inside)[0] > 0.95
    assert not result.images["image"].array[:20].any()


@pytest.mark.parametrize(
    "part", [np.s_[30:31], np.s_[:, 35:36], np.s_[:, :, 30:31], np.s_[24:42], np.s_[:, :, 20:26]]
)
def test_slices_and_slabs(part) -> None:
    made = phantom(0.8)
    image = image_of(made).with_array(made.images["T1"][part])
    brain, truth = made.brain[part], made.field[part]
    for mask in (brain, None):
        result = correct(image, mask)
        assert result.images["biasField"].shape == image.shape
        field = result.images["biasField"].array
        assert np.isfinite(field).all() and field.min() > 0
        assert agreement(field, truth, brain)[0] > 0.75
        if mask is not None:
            assert agreement(field, truth, brain)[1] < variation(truth, brain)


def test_thick_slices() -> None:
    made = phantom(0.8, shape=(32, 108, 90), spacing_kji=(5.0, 2.0, 2.0))
    result = correct(image_of(made), made.brain)
    assert agreement(result.images["biasField"].array, made.field, made.brain)[0] > 0.98
    assert result.notes[0].startswith("Shrink factor 2 x 2 x 1")


def test_thick_slices_of_t2_with_a_brain_that_was_found() -> None:
    """White matter ends as even as noise and partial volume leave it."""
    made = phantom(0.4, shape=(18, 108, 90), spacing_kji=(5.0, 2.0, 2.0), sequences=("T2",))
    image, white = image_of(made, "T2"), inner_white(made)
    brain = engine.run(create("mri.brainMask"), {"image": image}).labels["mask"]
    result = engine.run(create("mri.n4"), {"image": image, "mask": brain})
    least = variation(image.array / made.field, white)
    assert variation(image.array, white) > 2.5 * least
    assert variation(result.images["image"].array, white) < least + 0.3


def test_stored_orientation_hardly_matters() -> None:
    """Only which voxels the working grid takes may differ: ITK rounds its first one."""
    made = phantom(0.8)
    image = image_of(made)
    wanted = correct(image, made.brain).images["biasField"]
    axes, flips = (2, 0, 1), (True, False, True)
    turned = stored(image, axes, flips)
    mask = mask_of(image, made.brain)
    found = engine.run(create("mri.n4"), {"image": turned, "mask": stored(mask, axes, flips)})
    field = found.images["biasField"]
    assert np.array_equal(field.ijkToRAS, turned.ijkToRAS)
    back = np.flip(field.array, [n for n in range(3) if flips[n]]).transpose(np.argsort(axes))
    assert agreement(back, wanted.array, made.brain)[0] > 0.998


def test_nothing_to_work_on() -> None:
    made = phantom()
    image = image_of(made)
    nothing = np.zeros(image.shape, bool)
    with pytest.raises(InputError, match="mask is empty"):
        correct(image, nothing)
    with pytest.raises(InputError, match="above zero"):
        correct(image.with_array(np.zeros(image.shape, np.int16)), made.brain)
    with pytest.raises(InputError, match="Every voxel"):
        correct(image.with_array(np.zeros(image.shape, np.int16)))
    with pytest.raises(InputError, match="above zero"):
        correct(image.with_array(-made.images["T1"] - 1), made.brain)
    few = nothing.copy()
    few[30, 30:33, 30:33] = True
    for name in ("medprep", "itk"):
        with pytest.raises(InputError, match="voxels above zero"):
            correct(image, few, engine=name)
    moved = image.ijkToRAS.copy()
    moved[0, 3] += 1
    elsewhere = dataclasses.replace(mask_of(image, made.brain), ijkToRAS=moved)
    with pytest.raises(GeometryError, match="another grid"):
        engine.run(create("mri.n4"), {"image": image, "mask": elsewhere})
    with pytest.raises(GeometryError, match="weight"):
        correct(image, made.brain, dataclasses.replace(image, ijkToRAS=moved))
    with pytest.raises(InputError, match="weight"):
        correct(image, made.brain, image.with_array(-made.images["T1"]))


def test_a_constant_image_has_no_bias() -> None:
    made = phantom()
    image = image_of(made).with_array(np.full(made.labels.shape, 7, np.int16))
    result = correct(image, made.brain)
    assert np.allclose(result.images["image"].array, 7)
    assert result.metrics["cvBefore"] == result.metrics["cvAfter"] == 0


# ---- manners
def test_any_number_of_threads_gives_the_same_bytes(monkeypatch) -> None:
    made = phantom()
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("MEDPREP_THREADS", threads)
        result = correct(image_of(made), made.brain)
        found.append((result.images["image"].array.tobytes(), result.metrics))
    assert found[0] == found[1]


def test_cancel_is_noticed_within_a_tenth_of_a_second() -> None:
    """The longest time between two questions whether to stop."""
    made = phantom(0.8, shape=(128, 144, 120), spacing_kji=(1.5, 1.5, 1.5))
    image, mask = image_of(made), mask_of(image_of(made), made.brain)
    asked: list[float] = []

    def cancelled() -> bool:
        asked.append(time.thread_time())
        return False

    create("mri.n4")(image, mask, None, Job(cancelled=cancelled))
    assert len(asked) > 40
    assert max(np.diff(asked)) < 0.1


def test_progress_tells_every_iteration() -> None:
    made = phantom()
    told: list[tuple[float, str]] = []
    job = Job(lambda fraction, text: told.append((fraction, text)))
    result = create("mri.n4")(image_of(made), mask_of(image_of(made), made.brain), None, job)
    lines = {text for _f, text in told if text.startswith("N4 level")}
    assert len(lines) == result.metrics["iterations"]
    fractions = [f for f, _text in told]
    assert fractions == sorted(fractions)


def test_memory_stays_below_twelve_bytes_per_voxel() -> None:
    made = phantom(0.8, shape=(128, 144, 120), spacing_kji=(1.5, 1.5, 1.5))
    image, mask = image_of(made), mask_of(image_of(made), made.brain)
    tracemalloc.start()
    result = create("mri.n4")(image, mask, None, Job.quiet())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.images and peak < 12 * image.array.size


# ---- the numerics beneath
@given(st.integers(1, 12), st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_basis_is_a_partition_of_one(spans, places) -> None:
    matrix = basis(spans + 3, np.array(places))
    assert matrix.min() >= -1e-15
    assert matrix.sum(axis=1) == pytest.approx(np.ones(len(places)))
    # A cubic B-spline whose control points lie on a line is that line.
    line = (np.arange(spans + 3) - 1) / spans
    assert matrix @ line == pytest.approx(np.array(places), abs=1e-12)


def test_gather_is_the_transpose_of_spread() -> None:
    rng = np.random.default_rng(3)
    bases = [rng.normal(size=shape) for shape in ((7, 4), (8, 5), (9, 6))]
    values, lattice = rng.normal(size=(7, 8, 9)), rng.normal(size=(4, 5, 6))
    assert np.sum(gather(bases, values) * lattice) == pytest.approx(np.sum(values * spread(bases, lattice)))


def test_the_fit_is_that_of_lee() -> None:
    """Against the definition, sample by sample (Lee, Wolberg and Shin 1997, equations 3 to 5)."""
    rng = np.random.default_rng(5)
    places = [np.linspace(0, 1, n) for n in (5, 6, 4)]
    weights = rng.uniform(0, 1, (5, 6, 4)) * (rng.uniform(size=(5, 6, 4)) > 0.3)
    values = rng.normal(size=(5, 6, 4))
    fit = LatticeFit((4, 5, 4), places, weights)
    top, bottom = np.zeros((4, 5, 4)), np.zeros((4, 5, 4))
    for index in np.ndindex(values.shape):
        w = np.einsum("a,b,c->abc", *(b[n] for b, n in zip(fit.bases, index, strict=True)))
        top += weights[index] * w**3 * values[index] / (w**2).sum()
        bottom += weights[index] * w**2
    assert fit(values) == pytest.approx(top / bottom)


def test_sharpening_finds_the_peaks() -> None:
    """Two tissues blurred by a field come out nearer to their true values."""
    rng = np.random.default_rng(1)
    true = np.repeat([5.0, 5.6], 20000)
    seen = true + rng.normal(0, 0.06, true.size)
    found = n4.sharpened(seen)
    assert np.abs(found - true).mean() < 0.5 * np.abs(seen - true).mean()
    assert np.array_equal(n4.sharpened(np.full(9, 2.5)), np.full(9, 2.5))


def test_division_keeps_the_product_for_any_field() -> None:
    rng = np.random.default_rng(2)
    image = rng.integers(-50, 900, (9, 30, 31)).astype(np.int16)
    mask = image > 0
    log = rng.normal(0, 0.4, image.shape).astype(np.float32)
    found = divide(image, mask, log.__getitem__)
    assert np.allclose(found.image * found.field, image, atol=2e-3)
    assert found.image[mask].mean(dtype=np.float64) == pytest.approx(image[mask].mean(), rel=1e-6)
    assert found.measures.correlation == pytest.approx(np.corrcoef(image[mask], found.image[mask])[0, 1])
