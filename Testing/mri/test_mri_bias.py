"""The simpler bias correctors, the field made visible, and all correctors side by side."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from mriimages import agreement, image_of, inner_white, mask_of, phantom, variation
from scipy import ndimage

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import GeometryError, InputError, ParameterError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepMRILib.bias import quality
from MedPrepMRILib.bias.lowpass import gaussian_field, homomorphic_field
from MedPrepMRILib.bias.polynomial import polynomial_field
from MedPrepMRILib.numeric.log_field import LogField, Term, interpolated

SIMPLE = ("mri.biasGaussian", "mri.biasHomomorphic", "mri.biasPolynomial")


def run(id: str, image: Volume, mask: np.ndarray | None = None, **inputs_and_parameters):
    inputs = {k: v for k, v in inputs_and_parameters.items() if isinstance(v, Volume)}
    parameters = {k: v for k, v in inputs_and_parameters.items() if k not in inputs}
    inputs |= {"image": image, "mask": None if mask is None else mask_of(image, mask)}
    return engine.run(create(id, **parameters), inputs)


def log_array(field: LogField, count: int) -> np.ndarray:
    read = field.reader()
    return np.stack([read(k) for k in range(count)])


# ---- what all correctors hold
@pytest.mark.parametrize("id", [*SIMPLE, "mri.n4"])
def test_field_times_corrected_is_the_input_and_the_mean_is_kept(id) -> None:
    made = phantom(0.8)
    image = image_of(made)
    result = run(id, image, made.brain)
    corrected, field = result.images["image"].array, result.images["biasField"].array
    assert corrected.dtype == field.dtype == np.float32 and field.min() > 0
    assert np.allclose(corrected * field, image.array, rtol=1e-5, atol=1e-3)
    wanted = image.array[made.brain].mean(dtype=np.float64)
    assert corrected[made.brain].mean(dtype=np.float64) == pytest.approx(wanted, rel=1e-6)
    assert set(result.outputs()) >= {"image", "biasField", "statistics", "histogram"}
    after = corrected[made.brain].astype(np.float64)
    assert result.metrics["cvAfter"] == pytest.approx(after.std() / after.mean(), rel=1e-5)


@pytest.mark.parametrize(("id", "least"), [(SIMPLE[0], 0.75), (SIMPLE[1], 0.75), (SIMPLE[2], 0.25)])
def test_a_known_field_mostly_goes(id, least) -> None:
    """What is left of the variation of white matter, as a share of what was there."""
    made = phantom(0.8)
    image = image_of(made)
    result = run(id, image, made.brain)
    assert agreement(result.images["biasField"].array, made.field, made.brain)[0] > 0.75
    white = inner_white(made)
    assert variation(result.images["image"].array, white) < least * variation(image.array, white)


def test_a_polynomial_field_is_found_exactly_where_there_is_no_noise() -> None:
    """Two tissues times exp(polynomial): degree 3 leaves next to nothing of it, degree 2 what is cubic."""
    rng = np.random.default_rng(4)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (40, 44, 36)), indexing="ij")
    tissue = np.where(ndimage.gaussian_filter(rng.normal(size=z.shape), 2.5) > 0, 500.0, 800.0)
    field = np.exp(0.12 * x - 0.1 * y * z + 0.08 * y**2 + 0.15 * (x**3 - 0.6 * x) - 0.05 * z)
    image = Volume((tissue * field).astype(np.float32), np.diag([4.0, 4.0, 4.0, 1.0]), modality="MR")
    everything = np.ones(image.shape, bool)
    rest = {}
    for degree in (2, 3, 4):
        found = np.exp(log_array(polynomial_field(image, everything, degree), len(z)))
        rest[degree] = agreement(found, field, everything)[1]
    assert rest[3] < 0.3 and rest[4] < 0.5 and rest[2] > 3 * rest[3]


def test_outliers_do_not_bend_the_polynomial() -> None:
    made = phantom(0.4)
    array = made.images["T1"].copy()
    rng = np.random.default_rng(0)
    array[20:26, 20:30, 20:30] = rng.uniform(5000, 9000, (6, 10, 10))  # a lesion or an artefact
    clean, spoilt = (
        np.exp(log_array(polynomial_field(image_of(made).with_array(a), made.brain, 3), len(a)))
        for a in (made.images["T1"], array)
    )
    inside = made.brain & (array == made.images["T1"])
    assert agreement(spoilt, clean, inside)[1] < 1.5


def test_a_polynomial_does_not_run_away_outside_the_mask() -> None:
    made = phantom(0.8)
    field = run("mri.biasPolynomial", image_of(made), made.brain, degree=4).images["biasField"].array
    inside = field[made.brain]
    assert field.min() > 0.9 * inside.min() and field.max() < 1.1 * inside.max()


def test_the_gaussian_is_a_normalized_convolution() -> None:
    """Against scipy at full resolution: local mean in the mask over the whole mean."""
    made = phantom(0.4)
    image = image_of(made)
    sigma = 30.0
    weights = made.brain.astype(np.float64)
    blurred = [
        ndimage.gaussian_filter(v, sigma / 3.0, mode="constant") for v in (image.array * weights, weights)
    ]
    wanted = blurred[0] / np.maximum(blurred[1], 1e-9)
    found = np.exp(log_array(gaussian_field(image, made.brain, sigma), len(wanted)))
    r, spread = agreement(found, wanted, made.brain)
    assert r > 0.995 and spread < 0.8


def test_the_homomorphic_filter_passes_slow_waves_and_stops_fast_ones() -> None:
    """A wave in a full image: its length decides how much of it is taken out; 100 mm is halved."""
    shape = (48, 50, 150)
    everything = np.ones(shape, bool)
    x = np.arange(shape[2]) * 4.0
    gains = []
    for wavelength in (400.0, 100.0, 25.0):
        wave = 0.1 * np.cos(2 * np.pi * x / wavelength)
        array = np.broadcast_to(np.exp(wave), shape).astype(np.float32) * 300
        image = Volume(array, np.diag([4.0, 4.0, 4.0, 1.0]), modality="MR")
        log = log_array(homomorphic_field(image, everything, 100.0), shape[0])[24, 25]
        inner = slice(40, 110)
        gains.append(np.dot(log[inner], wave[inner]) / np.dot(wave[inner], wave[inner]))
    assert gains[0] > 0.9 and 0.35 < gains[1] < 0.65 and abs(gains[2]) < 0.1


@pytest.mark.parametrize("id", SIMPLE)
@pytest.mark.parametrize("part", [np.s_[30:31], np.s_[:, 35:36], np.s_[:, :, 30:31], np.s_[28:34]])
def test_slices_and_slabs(id, part) -> None:
    made = phantom(0.8)
    image = image_of(made).with_array(made.images["T1"][part])
    brain = made.brain[part]
    result = run(id, image, brain)
    field = result.images["biasField"].array
    assert np.isfinite(field).all() and field.min() > 0 and field.shape == image.shape
    assert agreement(field, made.field[part], brain)[0] > 0.5


@pytest.mark.parametrize("id", SIMPLE)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_types_of_voxels_and_values_below_zero(id, dtype) -> None:
    made = phantom(0.8)
    array = np.round(made.images["T1"] * (0.12 if dtype == np.uint8 else 1)).astype(dtype)
    if dtype == np.int16:
        array[::6, ::4] = -20
    result = run(id, image_of(made).with_array(array), made.brain)
    assert np.isfinite(result.images["image"].array).all()
    assert result.metrics["cvReduction"] > 0


@pytest.mark.parametrize("id", [*SIMPLE, "mri.compareBias"])
def test_nothing_to_work_on(id) -> None:
    made = phantom()
    image = image_of(made)
    with pytest.raises(InputError, match="mask is empty"):
        run(id, image, np.zeros(image.shape, bool))
    zero = image.with_array(np.zeros(image.shape, np.int16))
    with pytest.raises(InputError, match="above zero"):
        run(id, zero, made.brain)
    with pytest.raises(InputError, match="Every voxel"):
        run(id, zero)
    elsewhere = dataclasses.replace(mask_of(image, made.brain), ijkToRAS=np.diag([3.0, 3.0, 3.0, 1.0]))
    with pytest.raises(GeometryError, match="another grid"):
        engine.run(create(id), {"image": image, "mask": elsewhere})


def test_a_polynomial_needs_voxels() -> None:
    made = phantom()
    few = np.zeros(made.labels.shape, bool)
    few[30, 30:33, 30:33] = True
    with pytest.raises(InputError, match="voxels above zero"):
        run("mri.biasPolynomial", image_of(made), few)


def test_a_mask_between_the_grid_lines_is_still_seen() -> None:
    made = phantom(0.4, spacing_kji=(1.5, 1.5, 1.5))  # the middle of the head only
    image = image_of(made)
    thin = np.zeros(image.shape, bool)
    thin[30] = made.brain[30]
    for id in SIMPLE:
        assert run(id, image, thin).metrics["fieldMaximum"] > 1


# ---- the field made visible
def test_division_gives_the_field_back() -> None:
    made = phantom(0.8)
    image = image_of(made)
    found = run("mri.n4", image, made.brain)
    corrected, field = found.images["image"], found.images["biasField"]
    shown = run("mri.biasField", image, made.brain, corrected=corrected)
    signal = (image.array > 1) & (corrected.array > 1)
    assert shown.images["biasField"].array[signal] == pytest.approx(field.array[signal], rel=1e-4)
    log = shown.images["logField"].array
    assert np.allclose(log, np.log(shown.images["biasField"].array), atol=1e-6)
    assert "corrected" not in shown.images
    for name in ("cvBefore", "cvAfter", "correlation", "fieldMaximum"):
        assert shown.metrics[name] == pytest.approx(found.metrics[name], rel=1e-3), name


def test_difference_of_logarithms_is_steady_in_air() -> None:
    made = phantom(0.8)
    image = image_of(made)
    corrected = image.with_array(made.images["T1"] / made.field)
    air = made.clean["T1"] == 0
    # Rounding leaves single grey levels in the air: their ratio is no field.
    rounded = [v.with_array(np.round(v.array * 0.1).astype(np.int16)) for v in (image, corrected)]
    spread = {}
    for method in ("division", "logDifference"):
        shown = run("mri.biasField", rounded[0], made.brain, corrected=rounded[1], method=method)
        field = shown.images["biasField"].array
        spread[method] = field[air].std()
        assert agreement(field, made.field, made.brain)[0] > 0.97
    assert spread["logDifference"] < 0.75 * spread["division"]


def test_low_pass_needs_no_corrected_image() -> None:
    made = phantom(0.8)
    image = image_of(made)
    shown = run("mri.biasField", image, made.brain, method="lowPass", sigma=35)
    same = run("mri.biasGaussian", image, made.brain, sigma=35)
    assert np.array_equal(shown.images["biasField"].array, same.images["biasField"].array)
    assert np.array_equal(shown.images["corrected"].array, same.images["image"].array)
    with pytest.raises(InputError, match="corrected image"):
        run("mri.biasField", image, made.brain)
    with pytest.raises(GeometryError, match="corrected image"):
        run("mri.biasField", image, made.brain, corrected=dataclasses.replace(image, ijkToRAS=np.eye(4)))


def test_the_figures_show_the_middle_of_the_mask() -> None:
    made = phantom(0.8)
    image = image_of(made)
    corrected = run("mri.n4", image, made.brain).images["image"]
    shown = run("mri.biasField", image, made.brain, corrected=corrected)
    k, j = (int((n.min() + n.max()) // 2) for n in np.nonzero(made.brain)[:2])
    before, after = shown.figures["profile"].curves
    assert before.y == pytest.approx(image.array[k, j]) and after.y == pytest.approx(corrected.array[k, j])
    assert before.x == pytest.approx(np.arange(60) * 3.0)
    (field,) = shown.figures["fieldProfile"].curves
    assert field.y == pytest.approx(shown.images["biasField"].array[k, j])
    assert len(shown.figures["histogram"].curves) == 2


def test_blanked_voxels_have_no_field() -> None:
    made = phantom(0.8)
    array = made.images["T1"].copy()
    array[:10] = 0
    image = image_of(made).with_array(array)
    corrected = image.with_array(array / made.field)
    field = run("mri.biasField", image, made.brain, corrected=corrected).images["biasField"].array
    assert np.all(field[:10] == 1)


# ---- side by side
def test_all_methods_with_a_reference() -> None:
    made = phantom(0.8)
    image = image_of(made)
    result = run("mri.compareBias", image, made.brain, reference=image.with_array(made.clean["T1"]))
    table = result.tables["comparison"]
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert list(rows) == ["none", "n4", "polynomial", "gaussian", "homomorphic"]
    for name in ("n4", "polynomial"):
        assert rows[name]["mean squared error"] < 0.3 * rows["none"]["mean squared error"]
        assert rows[name]["PSNR (dB)"] > rows["none"]["PSNR (dB)"] + 5
        assert rows[name]["SSIM"] > rows["none"]["SSIM"]
    alone = run("mri.n4", image, made.brain)
    assert rows["n4"]["reduction (%)"] == pytest.approx(100 * alone.metrics["cvReduction"], rel=1e-6)
    assert result.metrics["n4CVReduction"] == pytest.approx(alone.metrics["cvReduction"], rel=1e-6)
    assert [c.name for c in result.figures["histogram"].curves] == [
        "before", "n4", "polynomial", "gaussian", "homomorphic",
    ]  # fmt: skip
    assert not result.images


def test_chosen_methods_and_their_images() -> None:
    made = phantom(0.4)
    image = image_of(made)
    result = run("mri.compareBias", image, made.brain, methods="gaussian,polynomial", keepImages=True)
    assert list(result.images) == ["gaussian", "polynomial"]
    same = run("mri.biasGaussian", image, made.brain).images["image"]
    assert np.array_equal(result.images["gaussian"].array, same.array)
    assert "SSIM" not in result.tables["comparison"].columns
    with pytest.raises(GeometryError, match="reference"):
        run("mri.compareBias", image, made.brain, reference=dataclasses.replace(image, ijkToRAS=np.eye(4)))


@pytest.mark.parametrize(("methods", "words"), [("", "some of"), ("n4, n3", "n4"), ("n4, n4", "each once")])
def test_methods_that_do_not_exist(methods, words) -> None:
    with pytest.raises(ParameterError, match=words):
        create("mri.compareBias", methods=methods)


# ---- quality measures beside scikit-image
@pytest.mark.parametrize("shape", [(30, 34, 32), (1, 40, 44), (4, 30, 30)])
def test_quality_equals_scikit_image(shape) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(6)
    reference = ndimage.gaussian_filter(rng.normal(size=shape), 2) * 300 + 500
    image = reference * 1.0 + rng.normal(0, 12, shape)
    mask = np.zeros(shape, bool)
    mask[tuple(slice(n // 4, n - n // 4) if n > 8 else slice(None) for n in shape)] = True
    image *= reference[mask].mean() / image[mask].mean()
    found = quality.compare(image * 3.7, reference, mask)
    peak = np.ptp(reference[mask])
    assert found.mse == pytest.approx(metrics.mean_squared_error(reference[mask], image[mask]))
    wanted = metrics.peak_signal_noise_ratio(reference[mask], image[mask], data_range=peak)
    assert found.psnr == pytest.approx(wanted)
    if min(shape) >= 7:
        _mean, similarity = metrics.structural_similarity(reference, image, data_range=peak, full=True)
        assert found.ssim == pytest.approx(similarity[mask].mean(), rel=1e-6)
    elif shape[0] == 1:
        _mean, similarity = metrics.structural_similarity(reference[0], image[0], data_range=peak, full=True)
        assert found.ssim == pytest.approx(similarity[mask[0]].mean(), rel=1e-6)
    assert 0.3 < found.ssim < 1


def test_equal_images_are_perfect() -> None:
    made = phantom()
    found = quality.compare(2 * made.clean["T1"], made.clean["T1"], made.brain)
    assert found.mse == pytest.approx(0, abs=1e-9) and found.ssim == pytest.approx(1.0)
    assert found.psnr > 100 or math.isinf(found.psnr)


# ---- fields from a few coefficients
def test_interpolation_passes_through_its_samples() -> None:
    rng = np.random.default_rng(7)
    shape, samples = (1, 29, 41), (slice(0, 1, 1), slice(2, 27, 4), slice(1, 41, 3))
    values = rng.normal(size=np.empty(shape)[samples].shape)
    full = log_array(interpolated(values, samples, shape), 1)
    assert full[samples] == pytest.approx(values, abs=1e-5)
    assert np.array_equal(full[:, :2], np.repeat(full[:, 2:3], 2, axis=1))


def test_limits_hold() -> None:
    rng = np.random.default_rng(8)
    matrices = tuple(rng.normal(size=(n, 3)) for n in (4, 5, 6))
    term = Term(rng.normal(size=(3, 3, 3)), matrices)
    free, kept = (log_array(LogField((term,), limits), 4) for limits in (None, (-0.5, 0.25)))
    assert np.array_equal(kept, free.clip(-0.5, 0.25))
    assert free == pytest.approx(
        np.einsum("abc,ka,jb,ic->kji", term.coefficients, *matrices), rel=1e-4, abs=1e-4
    )


def test_cancel_is_asked_often() -> None:
    made = phantom()
    image, mask = image_of(made), mask_of(image_of(made), made.brain)
    for id in SIMPLE:
        asked: list[int] = []
        create(id)(image, mask, Job(cancelled=lambda asked=asked: asked.append(1) and False))
        assert len(asked) >= 4, id
