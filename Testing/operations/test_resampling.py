"""Resampling against scipy, SimpleITK, analytic phantoms and physical laws."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, special

from MedPrepCommonLib.core.errors import Cancelled, InputError, ParameterError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.geometry import resampling_kernels
from MedPrepCommonLib.geometry.resampling import (
    antialias_sigma,
    nearest_indices,
    output_grid,
    resample_grid,
)


def random_image(shape, dtype=np.int16, seed=0):
    """Noise between -1000 and 3000: the hardest image for an interpolator."""
    return np.random.default_rng(seed).uniform(-1000, 3000, shape).astype(dtype)


def by_scipy(array, starts, steps, shape, order):
    """map_coordinates in float64; its boundary mode that continues the image as ours does."""
    positions = [
        np.clip(s + d * np.arange(n), -0.5, size - 0.5)
        for s, d, n, size in zip(starts, steps, shape, array.shape, strict=True)
    ]
    mode = "nearest" if order == 1 else "mirror"
    # scipy cannot filter an axis of one sample: repeat it, which is its mirror image.
    repeats = [(0, 1 if n == 1 else 0) for n in array.shape]
    padded = np.pad(array.astype(np.float64), repeats, mode="edge")
    return ndimage.map_coordinates(padded, np.meshgrid(*positions, indexing="ij"), order=order, mode=mode)


def by_itk(array, starts, steps, shape, interpolator, default=-5000.0):
    """SimpleITK's resampler in index space, float64."""
    image = sitk.GetImageFromArray(array.astype(np.float64))
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([int(n) for n in shape[::-1]])
    resampler.SetOutputOrigin([float(s) for s in starts[::-1]])
    resampler.SetOutputSpacing([abs(float(d)) for d in steps[::-1]])
    resampler.SetInterpolator(interpolator)
    resampler.SetDefaultPixelValue(default)
    return sitk.GetArrayFromImage(resampler.Execute(image))


GRID = ((-0.3, 0.4, 1.0), (0.8, 1.43, 0.61), (18, 13, 30))


# ---- oracles
@pytest.mark.parametrize("order", [1, 3, 5])
@given(data=st.data())
def test_random_grids_equal_scipy(order, data):
    shape = data.draw(st.tuples(*[st.integers(1, 9)] * 3))
    starts = data.draw(st.tuples(*[st.floats(-2, 8)] * 3))
    steps = data.draw(st.tuples(*[st.floats(-3, 3).filter(lambda d: abs(d) > 1e-3)] * 3))
    out = data.draw(st.tuples(*[st.integers(1, 20)] * 3))
    array = random_image(shape, np.float64, seed=data.draw(st.integers(0, 99)))
    got = resample_grid(array, starts, steps, out, order=order)
    assert got.dtype == np.float64 and got.shape == out and got.flags.c_contiguous
    np.testing.assert_allclose(got, by_scipy(array, starts, steps, out, order), atol=1e-6)


@pytest.mark.parametrize(
    ("order", "interpolator", "tolerance"),
    [(1, sitk.sitkLinear, 1e-3), (3, sitk.sitkBSpline, 0.02), (5, sitk.sitkBSpline5, 0.02)],
)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_equals_itk_everywhere_in_the_buffer(order, interpolator, tolerance, dtype):
    array = random_image((15, 41, 37), dtype)
    starts, steps, shape = output_grid(array.shape, (1.25, 0.7, 0.7), (1.0, 1.0, 1.0))
    for grid in ((starts, steps, shape), ((-0.45,) * 3, (0.37, 0.9, 1.31), (41, 45, 28))):
        theirs = by_itk(array, *grid, interpolator)
        assert theirs.min() > -4999  # all inside
        single = resample_grid(array, *grid, order=order, out_dtype=np.float32)
        assert np.abs(single - theirs).max() < tolerance
        whole = resample_grid(array.astype(np.int16), *grid, order=order)
        integer = by_itk(array.astype(np.int16), *grid, interpolator)
        assert np.abs(whole - integer).max() < 0.5 + tolerance


def test_nearest_equals_itk_away_from_ties():
    array = np.random.default_rng(1).integers(0, 9, (15, 41, 37)).astype(np.uint8)
    grid = ((-0.3, 0.4, 0.9), (0.79, 1.43, 0.61), (18, 27, 58))
    got = resample_grid(array, *grid, order=0)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, by_itk(array, *grid, sitk.sitkNearestNeighbor))


def test_what_lies_outside_takes_the_given_value_as_in_itk():
    array = random_image((9, 10, 11))
    grid = ((-2.2, -0.7, 3.0), (0.9, 1.1, 1.0), (15, 12, 14))
    for order, interpolator in ((0, sitk.sitkNearestNeighbor), (1, sitk.sitkLinear), (3, sitk.sitkBSpline)):
        theirs = by_itk(array, *grid, interpolator, default=-1024)
        ours = resample_grid(array, *grid, order=order, outside=-1024)
        np.testing.assert_array_equal(ours == -1024, theirs == -1024)
        assert np.abs(ours - theirs).max() <= 0.51
    edge = resample_grid(array, *grid, order=1)
    np.testing.assert_array_equal(edge[:, :, 8:], np.repeat(edge[:, :, 7:8], 6, axis=2))


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("start", [-1e7, 1e7, 3.0])
@pytest.mark.parametrize("step", [1000.0, -1000.0, 0.0])
def test_samples_far_outside_repeat_the_edge_and_cost_nothing(order, start, step):
    array = random_image((6, 7, 8), np.float64)
    grid = ((start, 0, 0), (step, 1, 1), (500, 7, 8))
    tracemalloc.start()
    got = resample_grid(array, *grid, order=order)
    assert tracemalloc.get_traced_memory()[1] < 20 * got.nbytes
    tracemalloc.stop()
    positions = np.clip(start + step * np.arange(500), -0.5, 5.5)
    if order == 0:
        np.testing.assert_array_equal(got, array[nearest_indices(6, start, step, 500)])
    else:
        wanted = by_scipy(array, (-0.5, 0, 0), (1, 1, 1), (7, 7, 8), order)[[0, -1]]
        at_edge = np.isin(positions, (-0.5, 5.5))
        np.testing.assert_allclose(got[at_edge], wanted[(positions[at_edge] > 0).astype(int)], atol=1e-9)
        assert np.isfinite(got).all()


# ---- analytic phantom
def blurred_ball(positions_mm, centre, radius, sigma):
    """A ball of value 1 convolved with a Gaussian, in closed form."""
    z, y, x = np.meshgrid(*positions_mm, indexing="ij")
    r = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) + 1e-6
    near, far = (radius - r) / (sigma * math.sqrt(2)), (radius + r) / (sigma * math.sqrt(2))
    edge = sigma / (r * math.sqrt(2 * math.pi)) * (np.exp(-(near**2)) - np.exp(-(far**2)))
    return (special.erf(far) + special.erf(near)) / 2 - edge


def chest_of_balls(shape, spacing, origin=(0.0, 0.0, 0.0)):
    """Air, a body, lungs, vessels and bone as balls seen through a scanner's point spread of 2 mm FWHM."""
    positions = [o + s * np.arange(n) for o, s, n in zip(origin, spacing, shape, strict=True)]
    image = np.full(shape, -1000.0)
    for centre, radius, value in (
        ((30, 33, 33), 27, 1040),
        ((30, 33, 22), 9, -880),
        ((30, 33, 45), 9, -880),
        ((28, 31, 22), 3, 900),
        ((32, 35, 45), 2, 850),
        ((30, 50, 33), 5, 1200),
    ):
        image += value * blurred_ball(positions, centre, radius, 2.0 / 2.3548)
    return image


def psnr(a, b, peak=4095.0):
    """Peak signal-to-noise ratio in dB over the range of a CT."""
    return 20 * math.log10(peak / math.sqrt(np.mean((a.astype(np.float64) - b) ** 2)))


def test_phantom_at_1_mm_equals_its_formula():
    shape, spacing = (48, 94, 94), (1.25, 0.7, 0.7)
    image = np.rint(chest_of_balls(shape, spacing)).astype(np.int16)
    starts, steps, out = output_grid(shape, spacing, (1, 1, 1))
    truth = chest_of_balls(out, (1, 1, 1), [s * d for s, d in zip(starts, spacing, strict=True)])
    quality = {
        order: psnr(resample_grid(image, starts, steps, out, order=order), truth) for order in (0, 1, 3, 5)
    }
    assert quality[0] < quality[1] < quality[3] <= quality[5] + 0.5
    assert quality[3] >= 69
    assert quality[5] >= 72


# ---- what any interpolator must reproduce
@pytest.mark.parametrize("order", [0, 1, 3, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 3), (2, 1, 5), (3, 4, 1), (1, 40, 33), (7, 6, 5)])
def test_constants_stay(order, dtype, shape):
    sigma = None if order == 0 else (0.6, 0.0, 1.7)
    for steps in ((0.3, 0.7, 1.9), (-1.0, 2.5, 0.05)):
        got = resample_grid(
            np.full(shape, 117, dtype), (0.2, -0.4, 0.1), steps, (9, 8, 21), order=order, sigma=sigma
        )
        assert got.dtype == dtype
        np.testing.assert_allclose(got, 117, rtol=1e-6)


@pytest.mark.parametrize("order", [1, 3, 5])
@pytest.mark.parametrize("sigma", [0.0, 0.45, 1.2])
def test_ramps_stay_ramps(order, sigma):
    k, j, i = np.meshgrid(*[np.arange(60.0)] * 3, indexing="ij")
    array = (3.5 * k - 2.25 * j + 7.75 * i).astype(np.float32)
    starts, steps, shape = (22.3, 21.7, 20.9), (0.8, 1.43, 1.1), (12, 10, 14)  # far from the edges
    positions = [s + d * np.arange(n) for s, d, n in zip(starts, steps, shape, strict=True)]
    z, y, x = np.meshgrid(*positions, indexing="ij")
    got = resample_grid(array, starts, steps, shape, order=order, sigma=(sigma,) * 3)
    np.testing.assert_allclose(got, 3.5 * z - 2.25 * y + 7.75 * x, atol=2e-3)


@pytest.mark.parametrize("order", [0, 1, 3, 5])
def test_the_input_grid_gives_the_input(order):
    array = random_image((11, 20, 21))
    np.testing.assert_array_equal(resample_grid(array, (0, 0, 0), (1, 1, 1), array.shape, order=order), array)
    flipped = resample_grid(array, (10, 0, 20), (-1, 1, -1), array.shape, order=order)
    np.testing.assert_array_equal(flipped, array[::-1, :, ::-1])
    np.testing.assert_array_equal(
        resample_grid(array, (2, 3, 4), (1, 2, 3), (9, 8, 5), order=order), array[2:, 3:19:2, 4:19:3]
    )


def test_one_changed_axis_leaves_the_others_alone():
    array = random_image((9, 30, 31))
    for axis in range(3):
        starts, steps, shape = [0.0] * 3, [1.0] * 3, list(array.shape)
        starts[axis], steps[axis], shape[axis] = 0.25, 0.7, 8
        got = resample_grid(array, starts, steps, shape, out_dtype=np.float32)
        np.testing.assert_allclose(got, by_scipy(array, starts, steps, shape, 3), atol=0.02)


# ---- anti-aliasing
def test_antialias_sigma_is_cardosos():
    assert antialias_sigma(0.7, 1.0) == pytest.approx(
        math.sqrt((1 - 0.49) / (2 * math.sqrt(2 * math.log(2))) ** 2)
    )
    assert antialias_sigma(1.0, 1.0) == antialias_sigma(2.0, 1.0) == 0


@pytest.mark.parametrize("order", [3, 5])
@pytest.mark.parametrize(("spacing", "new"), [(0.7, 1.0), (0.7, 1.5), (1.0, 3.0)])
def test_a_point_spread_of_the_input_becomes_that_of_the_output(order, spacing, new):
    to_sd = 1 / (2 * math.sqrt(2 * math.log(2)))
    size = 201
    wide = 3.0  # the blob: wide enough that it is well sampled on both grids
    x = (np.arange(size) - 100) * spacing
    blob = np.exp(-0.5 * (x / (wide * spacing * to_sd)) ** 2) * 1000
    sigma = antialias_sigma(wide * spacing, wide * new) / spacing
    starts, steps, shape = output_grid((1, 1, size), (1, 1, spacing), (1, 1, new))
    got = resample_grid(blob[None, None], starts, steps, shape, order=order, sigma=(0, 0, sigma))[0, 0]
    position = (starts[2] + steps[2] * np.arange(shape[2]) - 100) * spacing
    mean = (got * position).sum() / got.sum()
    deviation = math.sqrt((got * (position - mean) ** 2).sum() / got.sum())
    assert deviation == pytest.approx(wide * new * to_sd, rel=2e-3)
    assert got.sum() * new == pytest.approx(blob.sum() * spacing, rel=1e-3)


@pytest.mark.parametrize("order", [1, 3, 5])
@pytest.mark.parametrize("sigma", [0.05, 0.433, 1.0, 2.5])
def test_the_blurred_kernel_is_the_convolution(order, sigma):
    t = np.linspace(-40, 40, 1_600_001)
    spline = resampling_kernels.spline_kernel(t, order, 0.0)
    x = np.array([0.0, 0.21, 0.5, 1.0, 1.7, 2.9, 4.4])
    gauss = np.exp(-0.5 * ((x[:, None] - t) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    wanted = (gauss * spline).sum(axis=1) * (t[1] - t[0])
    np.testing.assert_allclose(resampling_kernels.spline_kernel(x, order, sigma), wanted, atol=2e-8)


def test_stripes_finer_than_the_output_fade_instead_of_aliasing():
    x = np.arange(512)
    stripes = np.broadcast_to(1000 * np.cos(2 * np.pi * 0.4 * x), (1, 4, 512)).astype(np.float32)
    starts, steps, shape = output_grid((1, 4, 512), (1, 1, 1), (1, 1, 3))
    plain = resample_grid(stripes, starts, steps, shape)
    sigma = antialias_sigma(1, 3)
    smooth = resample_grid(stripes, starts, steps, shape, sigma=(0, 0, sigma))
    assert plain[..., 5:-5].std() > 400
    assert smooth[..., 5:-5].std() < 1000 / math.sqrt(2) * math.exp(-2 * (math.pi * 0.4 * sigma) ** 2)


# ---- geometry
@given(
    size=st.integers(1, 600),
    spacing=st.floats(0.1, 10),
    new=st.floats(0.1, 10),
)
def test_output_grid_keeps_the_centre(size, spacing, new):
    (start,), (step,), (count,) = output_grid((size,), (spacing,), (new,))
    assert start + step * (count - 1) / 2 == pytest.approx((size - 1) / 2, abs=1e-9 * size)
    assert step == new / spacing
    assert count >= 1 and abs(count * new - size * spacing) <= new * 0.5 * (1 + 1e-6) or count == 1
    if count > 1:  # all samples are inside the image
        assert start >= -0.5 and start + step * (count - 1) <= size - 0.5


def test_output_grid_rounds_half_away_from_zero():
    assert [output_grid((n,), (0.5,), (1.0,))[2][0] for n in (1, 2, 3, 4, 5, 7)] == [1, 1, 2, 2, 3, 4]
    assert output_grid((512, 300), (0.7, 1.25), (1, 1))[2] == (358, 375)
    with pytest.raises(ParameterError):
        output_grid((5,), (0.0,), (1.0,))
    with pytest.raises(ParameterError):
        output_grid((5,), (1.0,), (float("nan"),))


@pytest.mark.parametrize("order", [0, 1, 3])
@given(data=st.data())
def test_flipping_the_image_flips_the_result(order, data):
    shape = data.draw(st.tuples(*[st.integers(1, 12)] * 3))
    spacing = data.draw(st.tuples(*[st.sampled_from([0.5, 0.7, 1.0, 1.25, 2.0, 3.0])] * 3))
    array = random_image(shape, np.float32)
    starts, steps, out = output_grid(shape, spacing, (1.0, 1.0, 1.0))
    got = resample_grid(array, starts, steps, out, order=order)
    mirrored = resample_grid(array[::-1, ::-1, ::-1], starts, steps, out, order=order)[::-1, ::-1, ::-1]
    if order == 0:  # a sample midway at the very centre of an even axis has no symmetric answer
        for axis in range(3):
            if shape[axis] % 2 == 0 and out[axis] % 2 == 1:
                keep = np.arange(out[axis]) != out[axis] // 2
                got, mirrored = np.compress(keep, got, axis), np.compress(keep, mirrored, axis)
        np.testing.assert_array_equal(got, mirrored)
    else:
        np.testing.assert_allclose(got, mirrored, atol=0.01)


def test_nearest_ties_go_towards_the_centre():
    np.testing.assert_array_equal(nearest_indices(8, 0.5, 2, 4), [1, 3, 4, 6])
    np.testing.assert_array_equal(nearest_indices(8, 3.5, 1, 1), [3])
    np.testing.assert_array_equal(nearest_indices(5, -0.5, 1, 6), [0, 1, 2, 2, 3, 4])
    np.testing.assert_array_equal(nearest_indices(4, 10, -4, 4), [3, 3, 2, 0])


# ---- types, limits, layout
def test_integers_are_rounded_and_limited():
    step = np.zeros((1, 1, 40), np.uint8)
    step[..., 20:] = 255
    grid = ((0, 0, 0), (1, 1, 0.25), (1, 1, 157))
    exact = by_scipy(step, *grid, 3)
    assert exact.min() < -5 and exact.max() > 260  # a spline overshoots
    assert np.abs(resample_grid(step, *grid) - np.clip(exact, 0, 255)).max() < 0.501
    narrow = resample_grid(step.astype(np.int16) * 10, *grid, limits=(100.25, 2000))
    assert (narrow.min(), narrow.max()) == (100, 2000)
    wide = resample_grid(step, *grid, out_dtype=np.int16)
    assert np.abs(wide - exact).max() < 0.501
    labels = resample_grid(
        np.array([[[7, 300, 9]]], np.int16), (0, 0, 0), (1, 1, 1), (1, 1, 3), order=0, out_dtype=np.uint8
    )
    np.testing.assert_array_equal(labels, [[[7, 255, 9]]])


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
)
@pytest.mark.parametrize("order", [0, 1, 3])
def test_the_ends_of_each_integer_type_survive(dtype, order):
    info = np.iinfo(dtype)
    array = np.full((3, 4, 5), info.max, dtype)
    array[1] = info.min
    got = resample_grid(array, (0, 0, 0), (1, 1, 0.5), (3, 4, 9), order=order)
    slack = 2**11 if info.bits == 64 else 0  # float64 holds 53 bits
    assert got[0].min() >= info.max - slack and got[1].max() <= info.min + slack


@pytest.mark.parametrize("order", [0, 1, 3])
def test_any_layout_and_components(order):
    array = random_image((9, 14, 12))
    grid = ((0.1, 0.2, 0.3), (0.8, 1.3, 0.9), (9, 10, 12))
    wanted = resample_grid(array, *grid, order=order)
    layouts = [
        np.asfortranarray(array),
        np.repeat(array, 2, axis=2)[..., ::2],
        array[::-1][::-1],
        array.astype(">i2"),
    ]
    for layout in layouts:
        before = layout.copy()
        np.testing.assert_array_equal(resample_grid(layout, *grid, order=order), wanted)
        np.testing.assert_array_equal(layout, before)
    vector = np.stack([array, array[::-1], array + 5], axis=-1)
    got = resample_grid(vector, *grid, order=order)
    assert got.shape == (9, 10, 12, 3) and got.flags.c_contiguous
    np.testing.assert_array_equal(got[..., 0], wanted)
    np.testing.assert_array_equal(got[..., 1], resample_grid(array[::-1], *grid, order=order))
    mask = resample_grid(array > 0, *grid, order=0)
    np.testing.assert_array_equal(mask, resample_grid(array, *grid, order=0) > 0)


@pytest.mark.parametrize("order", [0, 1, 3, 5])
def test_the_same_bytes_for_any_number_of_threads(order):
    array = random_image((23, 190, 170))
    grid = output_grid(array.shape, (1.25, 0.7, 0.7), (1, 1, 1))
    single = resample_grid(array, *grid, order=order, workers=1)
    for workers in (2, 5):
        assert resample_grid(array, *grid, order=order, workers=workers).tobytes() == single.tobytes()


@pytest.mark.parametrize("new", [0.2, 1.0, 9.0])
@pytest.mark.parametrize("order", [1, 3])
def test_float32_is_close_to_float64(new, order):
    array = random_image((40, 90, 100), np.float32)
    starts, steps, shape = output_grid(array.shape, (1.25, 0.7, 0.7), (1.25, new, new))
    shape = (40, min(shape[1], 200), min(shape[2], 200))
    sigma = (0, antialias_sigma(0.7, new) / 0.7, antialias_sigma(0.7, new) / 0.7)
    single = resample_grid(array, starts, steps, shape, order=order, sigma=sigma)
    double = resample_grid(array.astype(np.float64), starts, steps, shape, order=order, sigma=sigma)
    assert np.abs(single - double).max() < 0.03


# ---- memory, cancel, errors
@pytest.mark.parametrize(("order", "most"), [(0, 2.6), (1, 2.6), (3, 6.0)])
def test_memory_stays_near_the_result(order, most):
    array = np.zeros((300, 512, 512), np.int16)
    grid = output_grid(array.shape, (1.25, 0.7, 0.7), (1, 1, 1))
    tracemalloc.start()
    result = resample_grid(array, *grid, order=order, workers=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak / result.size < most


def test_cancel_stops_the_work():
    array = np.zeros((60, 64, 64), np.int16)
    seen = []
    job = Job(progress=lambda fraction, message: seen.append(fraction), cancelled=lambda: len(seen) >= 2)
    for order in (0, 1, 3):
        seen.clear()
        with pytest.raises(Cancelled):
            resample_grid(array, (0, 0, 0), (0.5, 1, 1), (119, 64, 64), order=order, workers=1, job=job)
        assert len(seen) == 2 and 0 < seen[0] <= seen[1] <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"order": 2},
        {"order": 0, "sigma": (1, 0, 0)},
        {"sigma": (-1, 0, 0)},
        {"shape": (0, 3, 3)},
        {"shape": (3, 3)},
        {"steps": (1, float("inf"), 1)},
        {"starts": (float("nan"), 0, 0)},
        {"limits": (3, 1)},
    ],
)
def test_impossible_grids_are_refused(wrong):
    good = {"starts": (0, 0, 0), "steps": (1, 1, 1), "shape": (3, 3, 3)}
    with pytest.raises(ParameterError):
        resample_grid(np.zeros((3, 3, 3), np.int16), **{**good, **wrong})


@pytest.mark.parametrize("array", [np.zeros((3, 3)), np.zeros((0, 3, 3)), np.zeros((2, 2, 2), np.complex64)])
def test_what_is_no_image_is_refused(array):
    with pytest.raises(InputError):
        resample_grid(array, (0, 0, 0), (1, 1, 1), (3, 3, 3))
