"""Percentiles, robust scale, histogram matching, local normalization, and learning from training cases."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ctimages import body, labels_on, matrix
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import InputError, ParameterError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.numeric import histogram_matching, landmarks
from MedPrepCommonLib.numeric.quantiles import counts, quantiles

VALUES = hnp.arrays(np.int32, (3, 4, 5), elements=st.integers(-4000, 4000))
TYPES = st.sampled_from([np.int16, np.int32, np.float32, np.float64, ">i2"])


def normalize(volume: Volume, mask=None, reference=None, **parameters):
    inputs = {"image": volume, "mask": mask, "reference": reference}
    return engine.run(create("normalize", **parameters), inputs)


# ---- quantiles
@given(VALUES, TYPES, st.booleans())
def test_quantiles_equal_numpy(array, dtype, masked) -> None:
    mask = (array % 2 == 0) if masked else None
    assume(mask is None or mask.any())
    chosen = array if mask is None else array[mask]
    shares = (0, 0.005, 0.25, 0.5, 0.9, 1)
    wanted = np.quantile(chosen.astype(np.float64), shares)
    assert quantiles(array.astype(dtype), shares, mask) == pytest.approx(wanted, abs=1e-9)
    values, found = counts(array.astype(dtype), mask)
    assert found.sum() == chosen.size and (np.diff(values) > 0).all()
    assert (values[0], values[-1]) == (chosen.min(), chosen.max())


# ---- percentile and robust
@given(st.integers(0, 999), TYPES, st.sampled_from(["[0, 1]", "[-1, 1]"]))
def test_percentile_equals_numpy(seed, dtype, span) -> None:
    array = np.random.default_rng(seed).integers(-4000, 4000, (3, 4, 5))
    low, high = np.quantile(array, (0.1, 0.8))
    result = normalize(
        Volume(array.astype(dtype), np.eye(4)),
        method="percentile",
        lowPercentile=10,
        highPercentile=80,
        range=span,
    )
    wanted = (np.clip(array, low, high) - low) / (high - low)
    wanted = wanted if span == "[0, 1]" else 2 * wanted - 1
    assert np.abs(result.images["image"].array - wanted).max() < 1e-5
    assert (result.metrics["low"], result.metrics["high"]) == pytest.approx((low, high))
    assert result.metrics["below"] == pytest.approx((array < low).mean())


@given(st.integers(0, 999), TYPES)
def test_robust_equals_its_definition(seed, dtype) -> None:
    rng = np.random.default_rng(seed)
    array, mask = rng.integers(-4000, 4000, (3, 4, 5)), rng.integers(0, 2, (3, 4, 5)).astype(np.uint8)
    low, median, high = np.quantile(array[mask > 0], (0.25, 0.5, 0.75))
    volume = Volume(array.astype(dtype), np.eye(4))
    found = normalize(volume, labels_on(volume, mask), method="robust").images["image"].array
    wanted = (array - median) / (high - low)
    assert np.abs(found - wanted).max() < 1e-5 * max(1, np.abs(wanted).max())
    given_ones = normalize(
        volume, method="robust", statistics="given", median=median, interquartileRange=high - low
    )
    assert np.array_equal(given_ones.images["image"].array, found)


@pytest.mark.parametrize("offset", [0, 500])
def test_robust_does_not_mind_a_few_voxels_of_metal(offset) -> None:
    volume = body((8, 40, 40))
    metal = volume.array.copy()
    metal[0, :4, :4] = 20000
    plain, with_metal = (
        normalize(volume.with_array((a + offset).astype(np.int16)), method="robust").metrics
        for a in (volume.array, metal)
    )
    assert with_metal["median"] == pytest.approx(plain["median"], abs=30)
    assert with_metal["interquartileRange"] == pytest.approx(plain["interquartileRange"], rel=0.03)


# ---- histogram matching
@given(VALUES, hnp.arrays(np.int32, (2, 6, 4), elements=st.integers(-500, 900)), TYPES)
def test_matching_equals_scikit_image(array, other, dtype) -> None:
    exposure = pytest.importorskip("skimage.exposure")
    assume(np.ptp(other) > 0)
    result = normalize(
        Volume(array.astype(dtype), np.eye(4)),
        reference=Volume(other.astype(dtype), np.eye(4)),
        method="histogram",
    )
    wanted = exposure.match_histograms(array, other)
    # Wider types are counted in 65536 bins.
    exact = np.dtype(dtype).itemsize == 2
    off = np.abs(result.images["image"].array - wanted)
    assert off.max() < 1e-3 if exact else off.max() <= 0.02 * np.ptp(other)


def test_matching_gives_the_distribution_of_the_reference() -> None:
    rng = np.random.default_rng(0)
    image = Volume(rng.gamma(2.0, 300, (12, 60, 60)).astype(np.float32), np.eye(4))
    reference = Volume(rng.normal(50, 200, (14, 50, 40)).astype(np.float32), np.eye(4))
    found = normalize(image, reference=reference, method="histogram").images["image"].array
    shares = np.linspace(0.01, 0.99, 50)
    assert np.quantile(found, shares) == pytest.approx(np.quantile(reference.array, shares), abs=3)
    order = np.argsort(image.array.ravel())
    assert (np.diff(found.ravel()[order]) >= 0).all()
    # Saved quantiles of the reference do nearly the same.
    text = landmarks.Landmarks(
        histogram_matching.PERCENTILES, histogram_matching.profile(reference.array)
    ).text
    saved = normalize(image, method="histogram", statistics="given", quantiles=text).images["image"].array
    inner = (found > np.quantile(found, 0.01)) & (found < np.quantile(found, 0.99))
    off = np.abs(saved - found)[inner]
    assert off.max() < 10 and off.mean() < 1


def test_matching_an_image_to_itself_changes_nothing() -> None:
    volume = body((6, 40, 40))
    found = normalize(volume, reference=volume, method="histogram").images["image"].array
    assert np.array_equal(found, volume.array)
    with pytest.raises(InputError, match="no reference"):
        normalize(volume, method="histogram")
    with pytest.raises(ParameterError, match="no quantiles"):
        create("normalize", method="histogram", statistics="given")
    with pytest.raises(InputError, match="very voxel"):
        normalize(volume, reference=volume.with_array(np.zeros((6, 40, 40), np.int16)), method="histogram")


# ---- local
@pytest.mark.parametrize("window", ["box", "gaussian"])
@pytest.mark.parametrize("shape", [(9, 30, 34), (1, 40, 44)])
def test_local_equals_its_definition(window, shape) -> None:
    rng = np.random.default_rng(1)
    array = 1000 + ndimage.gaussian_filter(rng.normal(0, 1, shape), 2) * 3000 + rng.normal(0, 30, shape)
    volume = Volume(array.astype(np.float32), matrix((1.0, 1.0, 2.0)))
    found = normalize(volume, method="local", localSize=9, localWindow=window).images["image"].array
    if window == "box":
        size = [min(w, n) for w, n in zip((5, 9, 9), shape, strict=True)]

        def smooth(values):
            return ndimage.uniform_filter(values, size)
    else:
        sigma = [0 if n == 1 else 9 / s / 12**0.5 for n, s in zip(shape, (2, 1, 1), strict=True)]

        def smooth(values):
            return ndimage.gaussian_filter(values, sigma)

    exact = volume.array.astype(np.float64)
    mean = smooth(exact)
    deviation = np.sqrt(np.maximum(smooth(exact**2) - mean**2, (0.05 * exact.std()) ** 2))
    assert np.abs(found - (exact - mean) / deviation).max() < 1e-3


@pytest.mark.parametrize(("size", "width"), [(1, 1), (3, 3), (6.9, 7), (7, 7), (13.3, 13), (15, 15)])
def test_the_local_box_is_as_wide_as_asked_for(size, width) -> None:
    array = np.random.default_rng(1).normal(100, 30, (1, 40, 44))
    image = Volume(array, np.eye(4))
    found = normalize(image, method="local", localSize=size).images["image"].array
    mean, square = (ndimage.uniform_filter(v, (1, width, width)) for v in (array, array**2))
    deviation = np.sqrt(np.maximum(square - mean**2, (0.05 * array.std()) ** 2))
    assert np.abs(found - (array - mean) / deviation).max() < 1e-3


def test_local_heeds_small_contrast_on_a_large_offset() -> None:
    array = np.random.default_rng(1).normal(0, 30, (9, 20, 24))
    one, other = (
        normalize(Volume(array + offset, np.eye(4)), method="local", localSize=9).images["image"].array
        for offset in (0, 2.0**30)
    )
    assert np.abs(one - other).max() < 1e-4


def test_local_removes_a_bias_field_and_heeds_the_mask() -> None:
    rng = np.random.default_rng(2)
    texture = rng.normal(0, 1, (20, 60, 60))
    field = np.exp(np.linspace(-0.7, 0.7, 60))
    array = ((100 + 10 * texture) * field).astype(np.float32)
    mask = np.zeros(array.shape, np.uint8)
    mask[4:16, 10:50, 10:50] = 1
    array[mask == 0] = 5000  # what lies outside must not count
    volume = Volume(array, np.eye(4))
    found = normalize(volume, labels_on(volume, mask), method="local", localSize=9).images["image"].array
    assert (found[mask == 0] == 0).all()
    parts = [found[..., part][mask[..., part] > 0] for part in (slice(10, 20), slice(40, 50))]
    assert abs(parts[0].mean() - parts[1].mean()) < 0.3  # the mask's edge lies across the field
    assert parts[0].std() == pytest.approx(parts[1].std(), rel=0.1)


# ---- learned from training cases
def training() -> list[Volume]:
    return [body((6, 30, 30), seed=n, noise=10 + 5 * n) for n in range(3)]


@pytest.mark.parametrize(("method", "values"), [
    ("zscore", ("mean", "standardDeviation")), ("percentile", ("low", "high")),
    ("robust", ("median", "interquartileRange")), ("histogram", ("quantiles",)),
])  # fmt: skip
def test_numbers_are_learned_and_then_given(method, values) -> None:
    op = create("normalize", method=method, statistics="training")
    assert op.needs_fit()
    with pytest.raises(ParameterError, match="not been learned"):
        engine.run(op, {"image": training()[0]})
    measured = [json.loads(json.dumps(op.measure(v, None, None, Job.quiet()))) for v in training()]
    learned = op.fit(measured)
    assert set(learned) == {*values, "statistics"} and json.loads(json.dumps(learned)) == learned
    fitted = create("normalize", method=method, **learned)
    assert not fitted.needs_fit()
    found = engine.run(fitted, {"image": training()[0]}).images["image"].array
    everything = np.concatenate([v.array.ravel() for v in training()]).astype(np.float64)
    if method == "zscore":
        assert learned["mean"] == pytest.approx(everything.mean(), rel=1e-8)
        assert learned["standardDeviation"] == pytest.approx(everything.std(), rel=1e-8)
    elif method == "percentile":
        bounds = np.mean([np.quantile(v.array, (0.005, 0.995)) for v in training()], axis=0)
        assert [learned["low"], learned["high"]] == pytest.approx(bounds)
        assert found.min() == 0 and found.max() == 1
    elif method == "robust":
        assert learned["median"] == pytest.approx(np.mean([np.median(v.array) for v in training()]))
    else:
        middle = np.mean([np.quantile(v.array, 0.95) for v in training()])
        assert np.quantile(found, 0.95) == pytest.approx(middle, abs=8)


def test_only_the_mask_is_learned_from() -> None:
    volume = training()[0]
    mask = labels_on(volume, (volume.array > -300).astype(np.uint8))
    op = create("normalize", method="zscore", statistics="training")
    learned = op.fit([op.measure(volume, mask, None, Job.quiet())])
    assert learned["mean"] == pytest.approx(volume.array[volume.array > -300].mean(), rel=1e-6)


@pytest.mark.parametrize(
    "parameters", [{}, {"method": "zscore"}, {"method": "local", "statistics": "training"}]
)
def test_the_others_need_no_fit(parameters) -> None:
    assert not create("normalize", **parameters).needs_fit()


def test_mri_landmarks_are_learned() -> None:
    pytest.importorskip("MedPrepMRILib.operations.normalize")
    op = create("mri.normalize", method="nyul", region="image", learn=True)
    images = [v.with_array((v.array + 1100).astype(np.int16), modality="MR") for v in training()]
    assert op.needs_fit()
    with pytest.raises(ParameterError, match="not been learned"):
        engine.run(op, {"image": images[0]})
    measured = [json.loads(json.dumps(op.measure(v, None, Job.quiet()))) for v in images]
    learned = op.fit(measured)
    wanted = landmarks.standard_scale(landmarks.measure(v.array) for v in images)
    assert learned == {"landmarks": wanted.text, "learn": False}
    fitted = create("mri.normalize", method="nyul", region="image", **learned)
    assert not fitted.needs_fit()
    engine.run(fitted, {"image": images[0]})
