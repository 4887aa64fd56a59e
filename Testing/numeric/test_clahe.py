"""CLAHE against OpenCV (bit for bit at 8 bits), a plain loop, and what nobody must see: seams and steps."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedPrepCommonLib.core.errors import Cancelled, InputError, ParameterError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.numeric.clahe import clahe, clahe_stack

cv2 = pytest.importorskip("cv2", reason="OpenCV, the oracle of CLAHE, is not installed")


def by_opencv(image, clip_limit, tiles):
    """OpenCV's result; its tile grid is (along i, along j)."""
    return cv2.createCLAHE(clip_limit, (tiles[1], tiles[0])).apply(np.ascontiguousarray(image))


def to_8_bits(image):
    """The occupied range on 0..255, as one has to do for OpenCV."""
    low, high = int(image.min()), int(image.max())
    return ((image.astype(np.int64) - low) * np.float32(255 / (high - low))).astype(np.uint8)


def psnr(one, other):
    """Peak signal-to-noise ratio in dB of pictures on 0..255."""
    return 20 * math.log10(255 / math.sqrt(np.mean((one - other) ** 2)))


def radiograph(shape=(700, 640), bits=12, seed=1):
    """Ribs, a mediastinum and photon noise."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    thickness = 0.2 + 0.9 * np.exp(-((x / 0.22) ** 2))
    for side in (-1, 1):
        lung = ((x - side * 0.45) / 0.36) ** 2 + ((y + 0.05) / 0.68) ** 2 < 1
        thickness += np.where(lung, 0, 0.75) + 0.2 * (np.abs(np.sin(y * 11 + side * x * 2.6)) > 0.93)
    photons = rng.poisson(1.6e4 * np.exp(-1.6 * thickness))
    return np.rint(photons / photons.max() * (2**bits - 1)).astype(np.uint16)


def ct_slice(shape=(512, 512), seed=2):
    """Air, a body of fat and muscle, lungs and bone in Hounsfield units, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    body = (x / 0.9) ** 2 + (y / 0.7) ** 2
    image = np.where(body < 1, -90.0, -1000.0)
    image[body < 0.8] = 50
    for side in (-1, 1):
        image[((x - side * 0.42) / 0.3) ** 2 + (y / 0.45) ** 2 < 1] = -850
    image[(x / 0.1) ** 2 + ((y - 0.5) / 0.1) ** 2 < 1] = 500
    return np.clip(np.rint(image + rng.normal(0, 20, shape)), -1024, 3071).astype(np.int16)


# ---- OpenCV
@given(data=st.data())
def test_8_bit_images_equal_opencv_bit_for_bit(data):
    shape = data.draw(st.tuples(st.integers(1, 120), st.integers(1, 120)))
    tiles = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    clip_limit = data.draw(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.7, 40.0]))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    spread = data.draw(st.sampled_from([0.0, 5.0, 60.0]))
    image = np.clip(rng.normal(data.draw(st.integers(0, 255)), spread, shape), 0, 255).astype(np.uint8)
    got = clahe(image, clip_limit, tiles, dtype=np.uint8)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, by_opencv(image, clip_limit, tiles))


@pytest.mark.parametrize("shape", [(700, 640), (701, 640), (700, 643), (333, 500)])
@pytest.mark.parametrize("clip_limit", [1.0, 2.0, 8.0])
def test_8_bit_radiographs_equal_opencv_bit_for_bit(shape, clip_limit):
    image = radiograph(shape, bits=8).astype(np.uint8)
    np.testing.assert_array_equal(
        clahe(image, clip_limit, dtype=np.uint8), by_opencv(image, clip_limit, (8, 8))
    )


@pytest.mark.parametrize(
    ("image", "tiles"),
    [
        (radiograph(), 8),
        (radiograph(bits=14), 8),
        (radiograph((900, 700)), 4),
        (ct_slice(), 8),
        (np.clip(ct_slice(), -200, 400), 8),
        (np.clip(ct_slice(), -1200, 600), 8),
    ],
)
def test_12_bits_look_like_opencvs_8_bits_with_many_more_levels(image, tiles):
    got = clahe(image, 2.0, tiles)
    assert got.dtype == np.uint16
    theirs = by_opencv(to_8_bits(image), 2.0, (tiles, tiles))
    assert psnr(got / 257.0, theirs.astype(np.float64)) >= 40
    assert len(np.unique(got)) > 4000


def test_opencvs_own_16_bits_hardly_equalize_what_ours_does():
    image = radiograph()
    plain = (image - image.min()) / (image.max() - image.min())
    theirs = cv2.createCLAHE(2.0, (8, 8)).apply(image) / 65535
    ours = clahe(image, dtype=np.float64)

    def local_contrast(picture):
        return np.mean([tile.std() for rows in np.split(picture, 10) for tile in np.split(rows, 10, axis=1)])

    assert local_contrast(ours) > 1.15 * local_contrast(plain)
    assert local_contrast(theirs) < 0.5 * local_contrast(ours)


# ---- seams, steps, order
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("clip_limit", [1.0, 2.0])
def test_a_ramp_has_no_seams(axis, clip_limit):
    ramp = np.broadcast_to(np.linspace(-1000, 3000, 640, dtype=np.float32), (320, 640))
    got = clahe(ramp if axis == 1 else ramp.T, clip_limit, dtype=np.float32)
    line = got[160] if axis == 1 else got[:, 160]
    steps = np.diff(line)
    # Local mappings differ: at a limit of 2 a ramp that crosses all tiles may fall by a hair (as in OpenCV).
    assert steps.min() >= (0 if clip_limit == 1 else -0.001)
    assert steps.max() < (clip_limit + 1) / 640
    assert line[-1] - line[0] > 0.95
    across = got - (line if axis == 1 else line[:, None])
    assert np.abs(across).max() < 1e-6


def test_a_ramp_within_each_tile_stays_in_order():
    ramp = np.tile(np.arange(0, 4096, 16, dtype=np.int16), (256, 8))  # 8 tiles that each see the whole range
    got = clahe(ramp, 2.0).astype(int).reshape(256, 8, 256)
    assert np.diff(got, axis=2).min() > 0
    np.testing.assert_allclose(got, np.broadcast_to(np.arange(1, 257) * 65535 / 256, got.shape), atol=300)


@given(seed=st.integers(0, 999), clip_limit=st.sampled_from([0.0, 1.0, 2.0, 10.0]))
def test_at_one_place_brighter_stays_brighter(seed, clip_limit):
    rng = np.random.default_rng(seed)
    image = rng.integers(-1000, 3000, (64, 64)).astype(np.int16)
    image[20:40, 20:40] = rng.integers(0, 80, (20, 20))
    base = clahe(image, clip_limit, 4)
    for place in rng.integers(0, 64, (5, 2)):
        brighter = image.copy()
        brighter[tuple(place)] = min(image[tuple(place)] + 300, image.max())
        # One pixel of 256 in a tile hardly changes the mapping: allow for that.
        after = clahe(brighter, clip_limit, 4, value_range=(image.min(), image.max()))
        assert after[tuple(place)] >= base[tuple(place)] - 65535 / 256 * 2


def test_bins_as_fine_as_the_levels_equal_a_plain_loop():
    """The definition, written as a loop over tiles and pixels, in float64."""
    rng = np.random.default_rng(7)
    image = rng.gamma(4, 12, (48, 40)).astype(np.int16)
    low, levels = int(image.min()), int(np.ptp(image)) + 1
    tiles, size, clip_limit = (4, 5), (12, 8), 3.0
    limit = max(1, int(clip_limit * 96 / levels))
    mapping = np.zeros((4, 5, levels))
    for j in range(4):
        for i in range(5):
            counts = np.zeros(levels, int)
            for value in image[j * 12 : j * 12 + 12, i * 8 : i * 8 + 8].ravel():
                counts[value - low] += 1
            over = sum(max(n - limit, 0) for n in counts)
            counts = [min(n, limit) + over // levels for n in counts]
            rest, place = over % levels, 0
            step = max(levels // max(rest, 1), 1)
            while rest:
                counts[place] += 1
                place, rest = place + step, rest - 1
            mapping[j, i] = np.cumsum(counts) / 96 * 65535
    got = clahe(image, clip_limit, tiles)
    for y in range(0, 48, 5):
        for x in range(0, 40, 3):
            v, u = (y / size[0] - 0.5), (x / size[1] - 0.5)
            j, i = math.floor(v), math.floor(u)
            j0, j1, i0, i1 = max(j, 0), min(j + 1, 3), max(i, 0), min(i + 1, 4)
            level = image[y, x] - low
            upper = mapping[j0, i0, level] * (1 - u + i) + mapping[j0, i1, level] * (u - i)
            lower = mapping[j1, i0, level] * (1 - u + i) + mapping[j1, i1, level] * (u - i)
            assert got[y, x] == pytest.approx(upper * (1 - v + j) + lower * (v - j), abs=2)


# ---- types and ranges
def test_output_types():
    image = ct_slice((128, 128))
    whole = clahe(image)
    np.testing.assert_allclose(clahe(image, dtype=np.float32) * 65535, whole, atol=2)
    np.testing.assert_allclose(clahe(image, dtype=np.uint8), whole / 257, atol=1.1)
    np.testing.assert_allclose(clahe(image, out_levels=4095), whole / 65535 * 4095, atol=1.1)
    assert clahe(image, out_levels=4095).max() <= 4095


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.int32, np.int64])
def test_an_offset_of_the_values_changes_nothing(dtype):
    image = np.random.default_rng(3).integers(0, 100, (64, 72))
    np.testing.assert_array_equal(clahe((image + 20).astype(dtype)), clahe(image))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_scale_of_floating_point_values_changes_nothing(dtype):
    image = ct_slice().astype(np.float64)
    wanted = clahe(image)
    assert np.abs(clahe((image / 4096).astype(dtype)).astype(int) - wanted).max() < 65535 / 256
    assert np.abs(clahe(ct_slice()).astype(int) - wanted).max() < 65535 * 0.02


def test_any_layout():
    image = ct_slice((160, 130))
    wanted = clahe(image)
    for laid in (np.asfortranarray(image), np.repeat(image, 2, axis=1)[:, ::2], image.astype(">i2")):
        before = laid.copy()
        np.testing.assert_array_equal(clahe(laid), wanted)
        np.testing.assert_array_equal(laid, before)


def test_nan_and_infinity():
    image = ct_slice((64, 64)).astype(np.float32)
    image[3, 4], image[5, 6], image[7, 8] = np.nan, -np.inf, np.inf
    finite = image.copy()
    finite[3, 4] = finite[5, 6] = image[np.isfinite(image)].min()
    finite[7, 8] = image[np.isfinite(image)].max()
    np.testing.assert_array_equal(clahe(image), clahe(finite))


def test_values_beyond_the_given_range_count_as_its_ends():
    image = ct_slice((96, 96))
    wanted = clahe(np.clip(image, -200, 400), value_range=(-200, 400))
    np.testing.assert_array_equal(clahe(image, value_range=(-200, 400)), wanted)
    small = (image // 32).astype(np.int8)
    assert clahe(small, value_range=(-1000, 1000)).shape == small.shape


@pytest.mark.parametrize("value", [0, 117, -1024])
def test_an_image_of_one_value_becomes_zero(value):
    image = np.full((30, 40), value, np.int16)
    np.testing.assert_array_equal(clahe(image), 0)
    np.testing.assert_array_equal(clahe_stack(np.stack([image, image]), dtype=np.float32), 0)


def test_more_levels_than_bits_are_resolved_into_bits():
    image = radiograph(bits=16)
    fine, coarse = clahe(image, bits=16), clahe(image, bits=12)
    assert np.abs(fine.astype(int) - coarse).max() < 65535 * 0.02
    assert psnr(fine / 257.0, coarse / 257.0) > 50


# ---- stacks, threads, memory, cancel, errors
def test_a_stack_is_its_slices_with_common_levels():
    stack = np.stack([ct_slice((120, 128), seed=n) for n in range(4)])
    stack[2] = -1000  # a slice of air
    ends = (stack.min(), stack.max())
    got = clahe_stack(stack)
    for k in range(4):
        np.testing.assert_array_equal(got[k], clahe(stack[k], value_range=ends))
    assert got[2].max() < 0.05 * 65535
    eight = np.stack([radiograph((90, 100), bits=8, seed=n).astype(np.uint8) for n in range(3)])
    for k in range(3):
        np.testing.assert_array_equal(clahe_stack(eight, dtype=np.uint8)[k], by_opencv(eight[k], 2.0, (8, 8)))


def test_the_result_does_not_depend_on_the_threads():
    image, stack = radiograph(), np.stack([ct_slice((100, 110), seed=n) for n in range(5)])
    for workers in (2, 5):
        assert clahe(image, workers=workers).tobytes() == clahe(image, workers=1).tobytes()
        assert clahe_stack(stack, workers=workers).tobytes() == clahe_stack(stack, workers=1).tobytes()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_memory_stays_below_12_bytes_per_pixel(dtype):
    image = radiograph((1500, 1600)).astype(dtype)
    tracemalloc.start()
    clahe(image, workers=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak / image.size < 12


def test_cancel_stops_the_work():
    seen = []
    job = Job(progress=lambda fraction, message: seen.append(fraction), cancelled=lambda: len(seen) >= 2)
    with pytest.raises(Cancelled):
        clahe_stack(np.stack([ct_slice((64, 64))] * 40), workers=1, job=job)
    assert len(seen) == 2
    seen.clear()
    with pytest.raises(Cancelled):
        clahe(radiograph(), workers=1, job=job)


@pytest.mark.parametrize(
    "wrong",
    [
        {"clip_limit": -1},
        {"clip_limit": float("nan")},
        {"tiles": 0},
        {"tiles": (8, 8, 8)},
        {"tiles": 2.5},
        {"dtype": np.int32},
        {"dtype": np.uint8, "out_levels": 300},
        {"out_levels": 0},
        {"bits": 4},
        {"bits": 20},
        {"value_range": (5, 1)},
        {"value_range": (float("nan"), 1)},
    ],
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ParameterError):
        clahe(np.arange(100, dtype=np.int16).reshape(10, 10), **wrong)


def test_what_is_no_image_is_refused():
    for wrong in (np.zeros((2, 2, 2)), np.zeros((0, 3)), np.zeros((3, 3), np.complex64)):
        with pytest.raises(InputError):
            clahe(wrong)
    with pytest.raises(InputError):
        clahe_stack(np.zeros((3, 3)))
    with pytest.raises(InputError, match="finite"):
        clahe(np.full((4, 4), np.nan))
