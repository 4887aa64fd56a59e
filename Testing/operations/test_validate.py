"""Validate: what preparation did to an image's values, against what was done to them."""

import dataclasses

import numpy as np
import pytest
from ctimages import body, labels_on, matrix
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from scipy.spatial.distance import jensenshannon

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import GeometryError, InputError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.geometry import regrid
from MedPrepCommonLib.numeric import distribution


@pytest.fixture(scope="module")
def image():
    return body((16, 40, 44), spacing=(4.0, 4.0, 5.0))


def validate(image, after, mask=None, **parameters):
    return engine.run(create("validate", **parameters), {"image": image, "after": after, "mask": mask})


def verdicts(result):
    return {check.name: check.verdict for check in result.checks}


def test_an_unchanged_image_agrees_with_itself(image):
    found = validate(image, image)
    assert set(verdicts(found).values()) == {"pass"}
    m = found.metrics
    assert m["correlation"] == pytest.approx(1) and m["ssim"] == pytest.approx(1, abs=1e-6)
    assert m["wasserstein"] == pytest.approx(0, abs=1e-6) and m["jensenShannon"] == pytest.approx(0, abs=1e-6)
    assert m["explained"] == pytest.approx(1, abs=1e-3) and m["information"] == pytest.approx(1)
    assert m["levelsBefore"] == m["levelsAfter"] == np.unique(image.array).size and m["psnr"] == 200


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 50), st.floats(-500, 500), st.booleans())
def test_a_line_changes_nothing_but_slope_and_intercept(slope, intercept, inverted):
    image = body((6, 20, 22), spacing=(8.0, 8.0, 12.0))
    slope = -slope if inverted else slope
    after = image.with_array(image.array * slope + intercept)
    m = validate(image, after).metrics
    assert m["slope"] == pytest.approx(1 / slope, rel=1e-4)
    assert m["intercept"] == pytest.approx(-intercept / slope, rel=1e-3, abs=0.1)
    assert abs(m["correlation"]) == pytest.approx(1, abs=1e-6) and (m["correlation"] < 0) == inverted
    assert m["ssim"] == pytest.approx(1, abs=1e-3) and m["information"] > 0.95


def test_statistics_are_those_of_numpy(image):
    mask = labels_on(image, (image.array < -500).astype(np.uint8))
    table = validate(image, image.with_array(image.array / 7), mask).tables["values"]
    assert [row[:2] for row in table.rows] == [
        ("whole image", "before"), ("whole image", "after"), ("mask", "before"), ("mask", "after"),
    ]  # fmt: skip
    for row in table.rows:
        values = image.array[mask.mask()] if row[0] == "mask" else image.array.ravel()
        values = values / 7 if row[1] == "after" else values
        found = dict(zip(table.columns, row, strict=True))
        assert found["voxels"] == values.size and found["levels"] == np.unique(values).size
        assert found["minimum"] == values.min() and found["maximum"] == values.max()
        assert found["mean"] == pytest.approx(values.mean())
        assert found["standard deviation"] == pytest.approx(values.std())
        for name, q in (("1 %", 1), ("median", 50), ("99 %", 99)):
            assert found[name] == pytest.approx(np.percentile(values, q), abs=np.ptp(values) / 1000)
        assert found["at minimum (%)"] == pytest.approx(100 * (values == values.min()).mean())
        counts = np.unique(values, return_counts=True)[1]
        assert found["entropy (bits)"] == pytest.approx(stats.entropy(counts, base=2))


def test_distances_are_those_of_scipy():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 200, (4, 20, 20)), rng.integers(50, 300, (4, 20, 20))
    one, two = (distribution.distribution(x.astype(np.int16)) for x in (a, b))
    assert distribution.wasserstein(one, two) == pytest.approx(
        stats.wasserstein_distance(a.ravel(), b.ravel())
    )
    assert distribution.wasserstein(one, two, 2.0, -5.0) == pytest.approx(
        stats.wasserstein_distance(a.ravel(), 2 * b.ravel() - 5)
    )
    low, high = one.quantile(0.001), two.quantile(0.999)
    hists = [np.histogram(np.clip(x, low, high), 64, (low, high))[0] for x in (a, b)]
    assert distribution.jensen_shannon(one, two, bins=64) == pytest.approx(
        jensenshannon(*hists, base=2), abs=0.01
    )


def test_correlation_is_measured_in_the_mask(image):
    rng = np.random.default_rng(7)
    inside = np.zeros(image.shape, bool)
    inside[4:12, 10:30, 10:30] = True
    after = image.array.astype(np.float32)
    after[~inside] = rng.normal(0, 300, (~inside).sum())
    found = validate(image, image.with_array(after), labels_on(image, inside.astype(np.uint8)))
    whole = np.corrcoef(image.array.ravel(), after.ravel())[0, 1]
    assert found.metrics["correlation"] == pytest.approx(whole)
    assert found.metrics["correlationInMask"] == pytest.approx(1)
    assert found.metrics["ssim"] < 0.3 < 0.5 < found.metrics["ssimInMask"]


def test_clipping_and_quantising_are_counted(image):
    clipped = image.with_array(image.array.clip(-200, 200))
    lost = (image.array <= -200).mean() + (image.array >= 200).mean()
    found = validate(image, clipped)
    before = (image.array == image.array.min()).mean() + (image.array == image.array.max()).mean()
    assert found.metrics["clipped"] == pytest.approx(lost - before, abs=1e-3)
    assert verdicts(found)["Clipped by preparation"] == "warn"
    few = image.with_array((image.array // 100 * 100).astype(np.int16))
    found = validate(image, few)
    assert verdicts(found)["Grey levels"] == "warn"
    assert found.metrics["levelsAfter"] == np.unique(few.array).size
    window = engine.run(create("normalize"), {"image": image}).images["image"]
    assert set(verdicts(validate(image, window)).values()) == {"pass"}


def test_what_goes_wrong_is_flagged(image):
    noise = image.with_array(np.random.default_rng(7).normal(0, 1, image.shape))
    assert verdicts(validate(image, noise))["Same content"] == "fail"
    flat = image.with_array(np.zeros(image.shape, np.uint8))
    assert verdicts(validate(image, flat))["Same content"] == "fail"
    inverted = image.with_array(-image.array)
    assert verdicts(validate(image, inverted))["Correlation"] == "warn"
    spiked = image.array.astype(np.float32)
    spiked[8, 20, 20] = 1e5
    assert verdicts(validate(image, image.with_array(spiked)))["Outliers"] == "warn"
    blurred = image.with_array(ndimage.gaussian_filter(image.array.astype(np.float32), 4))
    assert (
        verdicts(validate(image, blurred, intensities="asTheyAre", minimumSimilarity=0.9))[
            "Structural similarity"
        ]
        == "warn"
    )


def test_a_resampled_and_cropped_image_is_brought_back(image):
    fine = engine.run(create("resample", spacing=2.5), {"image": image}).images["image"]
    origin = fine.ijkToRAS.copy()
    origin[:3, 3] += fine.ijkToRAS[:3, :3] @ [10, 8, 4]
    cropped = dataclasses.replace(fine, array=fine.array[4:-4, 8:-8, 10:-10].copy(), ijkToRAS=origin)
    found = validate(image, cropped)
    assert found.metrics["correlation"] > 0.98 and 0.3 < found.metrics["coverage"] < 0.8
    assert "resampled" in found.notes[0]
    far = dataclasses.replace(image, ijkToRAS=matrix((4, 4, 5), (5000, 0, 0)))
    with pytest.raises(InputError, match="no place in common"):
        validate(image, far)
    mask = labels_on(fine, np.ones(fine.shape, np.uint8))
    with pytest.raises(GeometryError, match="another grid"):
        validate(image, fine, mask)


def axes(order, flips):
    """A rotation of the axes as they are stored."""
    result = np.zeros((3, 3))
    for column, (row, sign) in enumerate(zip(order, flips, strict=True)):
        result[row, column] = sign
    return result


@settings(max_examples=20, deadline=None)
@given(st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([-1, 1])] * 3))
def test_the_stored_orientation_does_not_matter(order, flips):
    image = body((8, 24, 20), spacing=(6.0, 6.0, 9.0))
    # Axis n of the stored image is axis `order[n]` of the original, backwards where flips[n] is -1.
    array = image.array.transpose(2, 1, 0).transpose(order)[tuple(slice(None, None, f) for f in flips)]
    turn = np.eye(4)
    turn[:3, :3] = axes(order, flips)
    turn[:3, 3] = [
        sum((image.shape[::-1][o] - 1) * (f < 0) * (o == row) for o, f in zip(order, flips, strict=True))
        for row in range(3)
    ]
    stored = Volume(np.ascontiguousarray(array.transpose(2, 1, 0)), image.ijkToRAS @ turn)
    values, inside = regrid.onto(stored, image)
    assert inside.all() and np.abs(values - image.array).max() < 1e-3
    assert validate(image, stored).metrics["correlation"] == pytest.approx(1)


@settings(max_examples=15, deadline=None)
@given(st.floats(-40, 40), st.floats(0.6, 2.0))
def test_a_linear_image_is_itself_on_a_turned_grid(angle, scale):
    k, j, i = np.indices((12, 14, 16), dtype=float)
    source = Volume(2.0 * i - 3 * j + 5 * k, matrix((2.0, 2.0, 2.0)))
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(np.radians(angle)), -np.sin(np.radians(angle))],
                      [np.sin(np.radians(angle)), np.cos(np.radians(angle))]]  # fmt: skip
    centre = source.ijkToRAS @ [7.5, 6.5, 5.5, 1]
    grid = turned @ np.diag([2 * scale, 2 * scale, 2.0, 1])
    grid[:3, 3] = centre[:3] - grid[:3, :3] @ [2.5, 2.5, 2.5]
    target = Volume(np.zeros((6, 6, 6)), grid)
    values, inside = regrid.onto(source, target)
    places = np.indices((6, 6, 6))[::-1].reshape(3, -1)
    x = (np.linalg.inv(source.ijkToRAS) @ grid @ np.vstack([places, np.ones(216)]))[:3]
    wanted = (2 * x[0] - 3 * x[1] + 5 * x[2]).reshape(6, 6, 6)
    safe = ((x > 4.5) & (x < np.array([[10.5], [8.5], [6.5]]))).all(axis=0).reshape(6, 6, 6)
    assert inside[safe].all() and np.abs(values - wanted)[safe].max(initial=0) < 0.2
