"""Clip, linear maps, standardizing and statistics against float64, fractions, pydicom and SimpleITK."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from MedPrepCommonLib.core import parallel
from MedPrepCommonLib.core.errors import Cancelled, InputError, ParameterError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.numeric import block_plan, blocks, voxel_statistics

ALL_INT16 = np.arange(-32768, 32768, dtype=np.int32).astype(np.int16)
# More than 65536 voxels, so that the fast way is chosen.
MANY_INT16 = np.concatenate([ALL_INT16, ALL_INT16[::-1]]).reshape(64, 2, 1024)


def formula(x, low, high, out_low, out_high):
    """The documented float64 formula, before rounding."""
    y = out_low + (np.asarray(x, np.float64) - low) * (out_high - out_low) / (high - low)
    return np.clip(y, min(out_low, out_high), max(out_low, out_high))


def strided(rng, shape, dtype, how):
    """The same kind of values laid out in memory in different ways."""
    if np.dtype(dtype).kind == "f":
        values = rng.normal(0, 900, shape)
    else:
        info = np.iinfo(dtype)
        values = rng.integers(max(info.min, -2000), min(info.max, 4000), shape, endpoint=True)
    array = values.astype(dtype)
    if how == "reversed axes":
        return np.ascontiguousarray(array.T).T
    if how == "gaps":
        wide = np.zeros((*shape[:-1], shape[-1] * 2 + 1), dtype)
        wide[..., 1::2] = array
        return wide[..., 1::2]
    if how == "backwards":
        return np.ascontiguousarray(array[::-1, :, ::-1])[::-1, :, ::-1]
    if how == "other byte order":
        return array.astype(array.dtype.newbyteorder("S"))
    return array


# ---- exhaustive over all int16 values
@pytest.mark.parametrize(
    ("low", "high"),
    [
        (-1350.0, 150.0),
        (-1350.5, 150.0),
        (-600 - 0.5 - 1499 / 2, -600 - 0.5 + 1499 / 2),
        (40 - 0.5 - 79 / 2, 40 - 0.5 + 79 / 2),
        (-1200.25, 600.75),
        (-200.0, 400.0),
        (-32768.0, 32767.0),
        (-1e6, 1e6),
        (-40000.0, -33000.0),
        (33000.0, 40000.0),
        (-0.25, 0.25),
        (0.0, 1.0),
        (10.0, 10.0 + 1 / 3),
        (-1024.0, 3071.0),
        (-123.4, 5678.9),
    ],
)
@pytest.mark.parametrize(
    ("out_low", "out_high", "dtype"),
    [
        (0, 255, np.uint8),
        (255, 0, np.uint8),
        (0, 65535, np.uint16),
        (-1000, 1000, np.int16),
        (0, 1, np.float32),
        (-1, 1, np.float32),
        (0.1, 0.7, np.float32),
    ],
)
def test_every_int16_value_equals_the_rounded_float64_formula(low, high, out_low, out_high, dtype):
    wanted = formula(MANY_INT16, low, high, out_low, out_high)
    wanted = np.floor(wanted + 0.5).astype(dtype) if np.dtype(dtype).kind != "f" else wanted.astype(dtype)
    got = blocks.linear_map(MANY_INT16, low, high, out_low, out_high, dtype=dtype, count=True)
    assert got.array.dtype == dtype
    np.testing.assert_array_equal(got.array, wanted)
    assert got.below == int((MANY_INT16.astype(np.float64) < low).sum())
    assert got.above == int((MANY_INT16.astype(np.float64) > high).sum())


@pytest.mark.parametrize(
    ("level", "width"), [(-600, 1500), (50, 350), (40, 80), (300, 2000), (-650, 1500), (2, 3)]
)
def test_rounding_follows_exact_fractions(level, width):
    low, high = (
        Fraction(2 * level - 1, 2) - Fraction(width - 1, 2),
        Fraction(2 * level - 1, 2) + Fraction(width - 1, 2),
    )
    wanted = [
        math.floor(min(max((int(x) - low) * 255 / (high - low), 0), 255) + Fraction(1, 2)) for x in ALL_INT16
    ]
    got = blocks.linear_map(MANY_INT16, float(low), float(high), 0, 255, dtype=np.uint8).array
    np.testing.assert_array_equal(got.reshape(-1)[:65536], wanted)


def test_the_usual_windows_take_the_fast_way():
    for low, high, out_high, dtype in ((-1350, 150, 255, np.uint8), (-1350, 150, 1, np.float32)):
        target, source = np.dtype(dtype), np.dtype(np.int16)
        reference = block_plan.reference_plan(target, low, high - low, 0, out_high, True)
        candidates = block_plan.fast_plans(source, reference, low, high - low, 0, out_high)
        assert block_plan.proven_plan(source, target, reference, candidates).work == np.float32


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT"])
@pytest.mark.parametrize(("level", "width"), [(-600, 1500), (50, 350), (40.5, 81.5), (0, 1), (100, 2)])
def test_dicom_windows_equal_pydicom(function, level, width):
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_windowing

    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored, dataset.PixelRepresentation = 16, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = level, width, function
    theirs = np.asarray(apply_windowing(ALL_INT16, dataset), np.float64)  # to -32768 .. 32767
    theirs = (theirs + 32768) / 65535 * 255
    centre, half = (level - 0.5, (width - 1) / 2) if function == "LINEAR" else (level, width / 2)
    ours = blocks.linear_map(ALL_INT16, centre - half, centre + half, 0, 255, dtype=np.float64).array
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    rounded = blocks.linear_map(ALL_INT16, centre - half, centre + half, 0, 255, dtype=np.uint8).array
    assert np.abs(rounded - theirs).max() <= 0.5 + 1e-9


def test_a_range_of_no_width_is_a_step_after_the_level():
    got = blocks.linear_map(MANY_INT16, 7.0, 7.0, 0, 255, dtype=np.uint8, count=True)
    np.testing.assert_array_equal(got.array, np.where(MANY_INT16 > 7, 255, 0))
    tiny = np.array([7.0, np.nextafter(7.0, 8.0), -np.inf, np.inf])
    np.testing.assert_array_equal(blocks.linear_map(tiny, 7, 7, dtype=np.float64).array, [0, 1, 0, 1])


# ---- any type, shape and strides
@pytest.mark.parametrize("how", ["plain", "reversed axes", "gaps", "backwards", "other byte order"])
@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64]
)
def test_any_type_and_layout(how, dtype):
    array = strided(np.random.default_rng(3), (37, 65, 91), dtype, how)
    before = array.copy()
    wanted = formula(array, -210.5, 390.25, 0, 255)
    got = blocks.linear_map(array, -210.5, 390.25, 0, 255, dtype=np.uint8, count=True, workers=3)
    np.testing.assert_array_equal(got.array, np.floor(wanted + 0.5))
    assert (got.below, got.above) == (int((array < -210.5).sum()), int((array > 390.25).sum()))
    np.testing.assert_array_equal(
        blocks.linear_map(array, -210.5, 390.25).array, (wanted / 255).astype(np.float32)
    )
    single = blocks.standardize(array, 12.5, 345.6)
    np.testing.assert_array_equal(single, ((array.astype(np.float64) - 12.5) / 345.6).astype(np.float32))
    limited = blocks.clip(array, -100, 100, count=True)
    assert limited.array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(limited.array, np.clip(array.astype(np.float64), -100, 100))
    if how in ("plain", "reversed axes"):
        assert got.array.strides == tuple(np.array(array.strides) // array.itemsize)
    np.testing.assert_array_equal(array, before)


@given(
    array=hnp.arrays(
        st.sampled_from([np.int16, np.uint8, np.float32, np.float64]),
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=6),
    ),
    low=st.floats(-4e4, 4e4),
    width=st.floats(0.01, 8e4),
    ends=st.sampled_from([(0, 1), (0, 255), (-1, 1), (255, 0)]),
)
def test_random_maps(array, low, width, ends):
    high = low + width
    with np.errstate(all="ignore"):
        wanted = formula(array, low, high, *ends)
        wide = np.where(np.isnan(wanted), np.nan, wanted)
    np.testing.assert_array_equal(blocks.linear_map(array, low, high, *ends, dtype=np.float64).array, wide)
    if min(ends) >= 0:
        whole = np.floor(np.where(np.isnan(wide), ends[0], wide) + 0.5)
        got = blocks.linear_map(array, low, high, *ends, dtype=np.uint8, count=True)
        np.testing.assert_array_equal(got.array, whole)
        exact = array.astype(np.float64)
        assert (got.below, got.above) == (int((exact < low).sum()), int((exact > high).sum()))


@given(
    low=st.floats(allow_nan=False, width=32),
    high=st.floats(allow_nan=False, width=32),
    dtype=st.sampled_from([np.int16, np.uint8, np.int32]),
)
def test_clip_of_integers_is_the_rounded_clip(low, high, dtype):
    low, high = min(low, high), max(low, high)
    info = np.iinfo(dtype)
    values = [info.min, info.min + 1, -1351, -1, 0, 1, 99, 150, 151, info.max - 1, info.max]
    array = np.array([v for v in values if info.min <= v <= info.max], dtype)
    got = blocks.clip(array, low, high, count=True)
    exact = np.clip(array.astype(np.float64), low, high)
    wanted = np.clip(np.where(np.isfinite(exact), np.floor(exact + 0.5), exact), info.min, info.max)
    np.testing.assert_array_equal(got.array.astype(np.float64), wanted)
    assert (got.below, got.above) == (
        int((array < np.float64(low)).sum()),
        int((array > np.float64(high)).sum()),
    )


def test_clip_equals_simpleitk():
    rng = np.random.default_rng(0)
    array = rng.integers(-3024, 3072, (40, 96, 97)).astype(np.int16)
    theirs = sitk.GetArrayFromImage(sitk.Clamp(sitk.GetImageFromArray(array), sitk.sitkInt16, -1024, 1000))
    np.testing.assert_array_equal(blocks.clip(array, -1024, 1000).array, theirs)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.int32])
def test_one_value_is_counted_apart(dtype):
    array = np.random.default_rng(0).integers(-2003, -1990, (11, 90, 700)).astype(dtype)
    got = blocks.clip(array, -1995, 600, count=True, apart=-2000)
    assert (got.below, got.above, got.apart) == ((array < -1995).sum(), 0, (array == -2000).sum())
    assert blocks.clip(array, -1995, 600, count=True).apart is None


def test_float32_bounds_that_float32_cannot_hold_are_counted_exactly():
    value = np.float32(0.1)  # a little more than 0.1
    array = np.array([np.nextafter(value, np.float32(0)), value, np.nextafter(value, np.float32(1))])
    got = blocks.clip(array, 0.1, 0.1, count=True)
    assert (got.below, got.above) == (1, 2)


def test_nan_and_infinity():
    array = np.array([[np.nan, -np.inf, np.inf, 0.5]], np.float32)
    np.testing.assert_array_equal(blocks.linear_map(array, 0, 1).array, [[np.nan, 0, 1, 0.5]])
    np.testing.assert_array_equal(
        blocks.linear_map(array, 0, 1, 0, 255, dtype=np.uint8).array, [[0, 0, 255, 128]]
    )
    np.testing.assert_array_equal(
        blocks.linear_map(array, 0, 1, 255, 0, dtype=np.uint8).array, [[255, 255, 0, 128]]
    )
    np.testing.assert_array_equal(blocks.clip(array, -2, 2).array, [[np.nan, -2, 2, 0.5]])
    assert blocks.clip(array, -2, 2, count=True)[1:3] == (1, 1)


def test_without_clip_integers_saturate():
    array = np.array([-300, -1, 0, 1, 300], np.int16)
    np.testing.assert_array_equal(
        blocks.linear_map(array, 0, 1, 0, 100, dtype=np.uint8, clip=False).array, [0, 0, 0, 100, 255]
    )
    np.testing.assert_array_equal(
        blocks.linear_map(array, 0, 2, 0, 1, dtype=np.int8, clip=False).array, [-128, 0, 0, 1, 127]
    )


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (1, 1, 1)])
def test_tiny_arrays(shape):
    array = np.full(shape, 5, np.int16)
    got = blocks.linear_map(array, 0, 10, 0, 255, dtype=np.uint8, count=True)
    assert got.array.shape == shape and (got.array == 128).all() and got[1:3] == (0, 0)
    assert blocks.clip(array, 6, 7).array.shape == shape


def test_the_result_does_not_depend_on_the_threads():
    array = np.random.default_rng(1).normal(size=(9, 300, 301)).astype(np.float32)
    for call in (
        lambda n: blocks.linear_map(array, -1, 1, workers=n).array.tobytes(),
        lambda n: blocks.standardize(array, 0.3, 0.7, workers=n).tobytes(),
        lambda n: voxel_statistics.statistics(array, workers=n),
    ):
        assert call(1) == call(2) == call(5)


@pytest.mark.parametrize(
    "call",
    [
        lambda a: blocks.linear_map(a, 3, 1),
        lambda a: blocks.linear_map(a, float("nan"), 1),
        lambda a: blocks.linear_map(a, -math.inf, 1),
        lambda a: blocks.linear_map(a, 0, 1, 2, 2),
        lambda a: blocks.linear_map(a, 0, 1, 0, 256, dtype=np.uint8),
        lambda a: blocks.linear_map(a, 0, 1, -1, 1, dtype=np.uint8),
        lambda a: blocks.linear_map(a, 5, 5, clip=False),
        lambda a: blocks.clip(a, 2, -2),
        lambda a: blocks.standardize(a, 0, 0),
        lambda a: blocks.standardize(a, float("nan"), 1),
    ],
)
def test_impossible_parameters_are_refused(call):
    with pytest.raises(ParameterError):
        call(np.zeros((2, 2), np.int16))


def test_complex_images_are_refused():
    with pytest.raises(InputError):
        blocks.clip(np.zeros(4, np.complex64), 0, 1)


# ---- memory, cancel, threads
def test_a_window_needs_one_byte_per_voxel():
    array = np.zeros((48, 512, 512), np.int16)
    tracemalloc.start()
    blocks.linear_map(array, -1350, 150, 0, 255, dtype=np.uint8, workers=2)
    extra = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert extra < array.size + 8 * parallel.BLOCK * 2 + 2e6


def test_cancel_stops_the_work():
    array = np.zeros((40, 512, 512), np.int16)
    seen = []
    job = Job(progress=lambda fraction, message: seen.append(fraction), cancelled=lambda: len(seen) >= 2)
    with pytest.raises(Cancelled):
        blocks.clip(array, 0, 1, workers=1, job=job)
    assert len(seen) == 2 and 0 < seen[0] < seen[1] <= 1
    started = []
    with parallel.Crew(4) as crew, pytest.raises(Cancelled):
        crew.run(lambda piece, worker: started.append(piece), 10**6, Job(cancelled=lambda: True))
    assert len(started) < 10**6


def test_an_error_in_any_thread_reaches_the_caller():
    def task(piece, worker):
        if piece == 7:
            raise InputError("piece seven")

    with parallel.Crew(4) as crew, pytest.raises(InputError, match="piece seven"):
        crew.run(task, 100)


def test_every_piece_is_done_once():
    done = []
    with parallel.Crew(4) as crew:
        crew.run(lambda piece, worker: done.append((piece, worker)), 1000)
    assert sorted(piece for piece, worker in done) == list(range(1000))
    assert {worker for piece, worker in done} <= set(range(4))


def test_the_environment_sets_the_threads(monkeypatch):
    monkeypatch.setenv("MEDPREP_THREADS", "3")
    assert parallel.default_workers() == 3
    monkeypatch.setenv("MEDPREP_THREADS", "no number")
    assert 1 <= parallel.default_workers() <= parallel.MOST_WORKERS


@given(shape=hnp.array_shapes(min_dims=1, max_dims=4, max_side=7), size=st.integers(1, 60))
def test_blocks_cover_each_element_once(shape, size):
    hits = np.zeros(shape, int)
    for index in parallel.block_indices(shape, size):
        hits[index] += 1
        assert hits[index].size <= size or hits[index].size == 1
    assert (hits == 1).all()


# ---- statistics
@pytest.mark.parametrize("how", ["plain", "reversed axes", "gaps", "backwards", "other byte order"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("masked", [False, True])
def test_statistics_equal_numpy(how, dtype, masked):
    rng = np.random.default_rng(5)
    array = strided(rng, (37, 65, 91), dtype, how)
    mask = rng.random(array.shape) < 0.3 if masked else None
    values = (array[mask] if masked else array).astype(np.float64)
    got = voxel_statistics.statistics(array, mask, workers=2)
    assert (got.count, got.notFinite) == (values.size, 0)
    assert (got.minimum, got.maximum) == (values.min(), values.max())
    assert got.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-9)
    assert got.standardDeviation == pytest.approx(values.std(), rel=1e-12)
    assert voxel_statistics.extremes(array) == (array.min(), array.max())


def test_int16_statistics_are_exact():
    array = np.full((300, 1000), 32767, np.int16)
    array[0, 0] = 32766
    got = voxel_statistics.statistics(array)
    assert got.mean == float(Fraction(32767 * 300000 - 1, 300000))
    assert got.standardDeviation == pytest.approx(math.sqrt((1 / 300000) * (1 - 1 / 300000)), rel=1e-12)


def test_a_large_offset_keeps_the_standard_deviation():
    array = (np.random.default_rng(2).normal(size=400000) + 1e8).astype(np.float64)
    assert voxel_statistics.statistics(array).standardDeviation == pytest.approx(array.std(), rel=1e-9)


def test_only_finite_voxels_count():
    array = np.random.default_rng(4).normal(size=(3, 300, 301)).astype(np.float32)
    array[1, 5, 7], array[2, 0, 0], array[0, 1, 1] = np.nan, np.inf, -np.inf
    values = array[np.isfinite(array)].astype(np.float64)
    got = voxel_statistics.statistics(array)
    assert (got.count, got.notFinite) == (values.size, 3)
    assert got.mean == pytest.approx(values.mean(), rel=1e-9)
    assert got.standardDeviation == pytest.approx(values.std(), rel=1e-9)
    assert voxel_statistics.extremes(array) == (values.min(), values.max())


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_extremes_without_one_value(dtype):
    rng = np.random.default_rng(0)
    array = rng.integers(-1000, 1500, (9, 300, 400)).astype(dtype)
    array[:4] = -2000  # whole blocks, and parts of others
    array[5, :, :200] = -2000
    for without, wanted in ((-2000, (-1000, 1499)), (1499, (-2000, 1498)), (7, (-2000, 1499))):
        assert voxel_statistics.extremes(array, without=without) == wanted
        assert voxel_statistics.extremes(array.T, without=without, workers=3) == wanted
    if dtype is np.float32:
        array[6, 0, :2] = np.nan, np.inf
        assert voxel_statistics.extremes(array, without=-2000) == (-1000, 1499)
    with pytest.raises(InputError):
        voxel_statistics.extremes(np.full((3, 4, 5), 8, dtype), without=8)


@pytest.mark.parametrize("array", [np.full((2, 2), np.nan), np.zeros((0, 3))])
def test_nothing_to_measure_is_an_error(array):
    with pytest.raises(InputError, match="no finite voxel"):
        voxel_statistics.statistics(array)
    with pytest.raises(InputError, match="no finite voxel"):
        voxel_statistics.extremes(array)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(InputError, match="shape"):
        voxel_statistics.statistics(np.zeros((2, 3)), np.ones((3, 2)))
