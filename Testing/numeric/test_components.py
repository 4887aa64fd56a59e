"""Components of what is above a threshold, against scipy, SimpleITK, scikit-image and a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from MedPrepCommonLib.core.errors import Cancelled, InputError, ParameterError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.numeric import components
from MedPrepCommonLib.numeric.components import connect_runs, find_runs, sparse_components

RANK = {6: 1, 18: 2, 26: 3}


def by_loop(array, chosen, connectivity, minimum=1):
    """One component after the other, as (count, centroid, maximum, mean, box, flat indices), in our order."""
    label, number = ndimage.label(chosen, ndimage.generate_binary_structure(3, RANK[connectivity]))
    found = []
    for n in range(1, number + 1):
        index = np.argwhere(label == n)
        if len(index) < minimum:
            continue
        values = array[label == n].astype(np.float64)
        box = np.stack([index.min(axis=0), index.max(axis=0) + 1], axis=1)
        flat = np.flatnonzero(label == n)
        found.append((len(index), index.mean(axis=0), values.max(), values.mean(), box, flat))
    return sorted(found, key=lambda one: (-one[0], one[5][0]))


def assert_same(got, wanted):
    assert len(got) == len(wanted)
    for n, (count, centroid, maximum, mean, box, flat) in enumerate(wanted):
        assert got.count[n] == count and got.maximum[n] == maximum
        np.testing.assert_allclose(got.centroid[n], centroid, atol=1e-9)
        assert got.mean[n] == pytest.approx(mean, rel=1e-9)
        np.testing.assert_array_equal(got.box[n], box)
        np.testing.assert_array_equal(got.indices(n), flat)
    label = got.labels()
    assert label.shape == got.shape
    np.testing.assert_array_equal(got.mask(), label > 0)
    for n in range(len(wanted)):
        np.testing.assert_array_equal(np.flatnonzero(label == n + 1), wanted[n][5])


@pytest.mark.parametrize("connectivity", [6, 18, 26])
@given(data=st.data())
def test_random_images_equal_a_plain_loop(connectivity, data):
    shape = data.draw(st.tuples(*[st.integers(1, 9)] * 3))
    share = data.draw(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]))
    minimum = data.draw(st.integers(0, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    array = np.where(
        rng.random(shape) < share, rng.integers(2501, 3072, shape), rng.integers(-1024, 2501, shape)
    )
    array = array.astype(data.draw(st.sampled_from([np.int16, np.int32, np.float32])))
    got = sparse_components(array, 2500, connectivity=connectivity, minimum_voxels=minimum)
    assert_same(got, by_loop(array, array > 2500, connectivity, minimum))


@pytest.mark.parametrize("connectivity", [6, 18, 26])
@pytest.mark.parametrize("share", [0.001, 0.05, 0.4])
def test_graph_and_dense_labelling_agree(connectivity, share, monkeypatch):
    array = np.random.default_rng(3).random((21, 40, 37)).astype(np.float32)
    results = []
    for most in (0.0, 1.0):
        monkeypatch.setattr(components, "MOST_RUNS", most)
        results.append(sparse_components(array, 1 - share, connectivity=connectivity))
    for one, other in zip(vars(results[0]).items(), vars(results[1]).items(), strict=True):
        if one[0] != "_runs":
            np.testing.assert_array_equal(one[1], other[1])
    assert_same(results[0], by_loop(array, array > 1 - share, connectivity))


def scan_with_metal(shape=(60, 128, 130), seed=5):
    """Noise of a CT with balls, a wire and single bright voxels."""
    rng = np.random.default_rng(seed)
    array = rng.normal(-200, 300, shape).clip(-1024, 2000).astype(np.int16)
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    for _ in range(12):
        centre, radius = rng.integers(5, np.array(shape) - 5), rng.uniform(1.5, 4)
        ball = (k - centre[0]) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2 <= radius**2
        array[ball] = rng.integers(2600, 3072, np.count_nonzero(ball))
    along = np.arange(10, 50)
    array[along, (60 + 20 * np.sin(along / 9)).astype(int), 100 - along] = 3071
    array.reshape(-1)[rng.integers(0, array.size, 300)] = 2700
    return array


def test_equals_simpleitk():
    array = scan_with_metal()
    image = sitk.GetImageFromArray(array)
    label = sitk.ConnectedComponent(sitk.BinaryThreshold(image, 2501, 32767), True)
    statistics = sitk.LabelIntensityStatisticsImageFilter()
    statistics.Execute(sitk.RelabelComponent(label, 20), image)
    got = sparse_components(array, 2500, minimum_voxels=20)
    assert len(got) == len(statistics.GetLabels()) > 5
    theirs = sorted(
        (
            statistics.GetNumberOfPixels(n),
            statistics.GetCentroid(n)[::-1],
            statistics.GetMean(n),
            statistics.GetMaximum(n),
        )
        for n in statistics.GetLabels()
    )
    ours = sorted(zip(got.count.tolist(), map(tuple, got.centroid), got.mean, got.maximum, strict=True))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.hstack(one), np.hstack(other), atol=1e-6)


def test_equals_skimage():
    from skimage import measure

    array = scan_with_metal(seed=6)
    regions = measure.regionprops(measure.label(array > 2500, connectivity=3), array)
    got = sparse_components(array, 2500)
    assert len(got) == len(regions)
    assert sorted(got.count) == sorted(int(region.area) for region in regions)
    boxes = {tuple(region.bbox) for region in regions}
    assert boxes == {(*box[:, 0], *box[:, 1]) for box in got.box.tolist() for box in [np.array(box)]}


@pytest.mark.parametrize("how", ["plain", "reversed axes", "gaps", "backwards", "other byte order"])
def test_any_layout(how):
    array = scan_with_metal((60, 90, 95))
    laid = {
        "plain": array,
        "reversed axes": np.asfortranarray(array),
        "gaps": np.repeat(array, 2, axis=2)[..., ::2],
        "backwards": array[::-1, :, ::-1].copy()[::-1, :, ::-1],
        "other byte order": array.astype(">i2"),
    }[how]
    before = laid.copy()
    assert_same(sparse_components(laid, 2500, minimum_voxels=2), by_loop(array, array > 2500, 26, 2))
    np.testing.assert_array_equal(laid, before)


def test_several_thresholds_equal_one_by_one():
    array = scan_with_metal()
    runs = find_runs(array, [3000, 2000, 4000, 2000.5])
    together = [connect_runs(above, minimum_voxels=3) for above in runs]
    for threshold, got in zip((3000, 2000, 4000, 2000.5), together, strict=True):
        assert_same(got, by_loop(array, array > threshold, 26, 3))
    assert (
        len(together[2]) == 0 and together[2].centroid.shape == (0, 3) and together[2].box.shape == (0, 3, 2)
    )
    assert find_runs(array, []) == []


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int64, np.float32, np.float64, bool]
)
@pytest.mark.parametrize("threshold", [-1e6, -128.5, -1, 0, 0.5, 1, 99.999, 126, 32767, 1e6, np.inf, -np.inf])
def test_thresholds_compare_exactly(dtype, threshold):
    values = np.array(
        [0, 1, 2, 99, 100, 126, 127] + ([] if np.dtype(dtype).kind in "ub" else [-128, -127, -1])
    )
    array = values.astype(dtype).reshape(1, 1, -1)
    chosen = array.astype(np.float64) > threshold
    assert_same(
        sparse_components(array, threshold),
        by_loop(array.view(np.uint8) if dtype is bool else array, chosen, 26),
    )
    above = array.astype(np.float64) > -1e9
    below = above & (array.astype(np.float64) <= threshold)
    got = sparse_components(array, -1e9, upper=threshold)
    np.testing.assert_array_equal(got.mask(), below)


def test_float32_thresholds_that_float32_cannot_hold():
    value = np.float32(0.1)  # a little more than 0.1
    array = np.array([[[np.nextafter(value, np.float32(0)), 0, value]]], np.float32)
    np.testing.assert_array_equal(sparse_components(array, 0.1).mask(), [[[False, False, True]]])
    np.testing.assert_array_equal(sparse_components(array, -1, upper=0.1).mask(), [[[True, True, False]]])


def test_nan_is_never_above_and_hides_nothing():
    array = np.zeros((3, 4, 5), np.float32)
    array[0, 0, 0], array[0, 0, 1], array[2, 3, 4] = np.nan, 10, 20
    got = sparse_components(array, 5)
    assert got.count.tolist() == [1, 1] and sorted(got.maximum) == [10, 20]


def test_a_component_across_many_blocks_stays_one(monkeypatch):
    array = np.zeros((30, 40, 50), np.int16)
    array[:, 20, 25] = array[15, :, 25] = array[15, 20, :] = 3000
    for block in (1, 50, 173, 1 << 15):
        monkeypatch.setattr(components, "BLOCK", block)
        got = sparse_components(array, 2500, connectivity=6)
        assert got.count.tolist() == [30 + 40 + 50 - 2]
        np.testing.assert_array_equal(got.box[0], [[0, 30], [0, 40], [0, 50]])


def test_opposite_sides_of_the_image_are_no_neighbours():
    array = np.zeros((4, 4, 4), np.int16)
    array[0, 0, 3] = array[0, 1, 0] = array[1, 0, 0] = array[2, 3, 3] = array[3, 0, 0] = 3000
    assert_same(sparse_components(array, 2500), by_loop(array, array > 2500, 26))


def test_the_result_does_not_depend_on_the_threads():
    array = scan_with_metal()
    one = sparse_components(array, 2500, workers=1)
    for workers in (2, 5):
        other = sparse_components(array, 2500, workers=workers)
        assert other.mean.tobytes() == one.mean.tobytes()
        np.testing.assert_array_equal(other.labels(), one.labels())


def test_label_maps_that_cannot_hold_all_components_are_refused():
    array = np.zeros((1, 1, 600), np.int16)
    array[..., ::2] = 3000
    got = sparse_components(array, 2500)
    assert len(got) == 300 and got.labels(np.uint16).max() == 300
    with pytest.raises(ParameterError, match="300 components"):
        got.labels(np.uint8)


def test_cancel_stops_the_scan():
    seen = []
    job = Job(progress=lambda fraction, message: seen.append(fraction), cancelled=lambda: len(seen) >= 2)
    with pytest.raises(Cancelled):
        sparse_components(np.zeros((20, 200, 200), np.int16), 2500, workers=1, job=job)
    assert len(seen) == 2


def test_impossible_input_is_refused():
    array = np.zeros((2, 2, 2), np.int16)
    with pytest.raises(ParameterError, match="connectivity"):
        sparse_components(array, 0, connectivity=8)
    with pytest.raises(ParameterError, match="not a number"):
        sparse_components(array, float("nan"))
    for wrong in (np.zeros((2, 2), np.int16), np.zeros((0, 2, 2)), np.zeros((2, 2, 2), np.complex64)):
        with pytest.raises(InputError):
            sparse_components(wrong, 0)
