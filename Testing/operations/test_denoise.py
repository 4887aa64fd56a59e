"""Noise is measured and taken away; edges and small structures stay, or it is said that they do not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from ctimages import body, matrix, read
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import Cancelled, InputError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.numeric import weighted_means
from MedPrepCommonLib.numeric.noise import noise_left, noise_level
from MedPrepCommonLib.numeric.small_detail import detail_kept
from MedPrepCommonLib.operations import denoise as denoising

METHODS = ("nonLocalMeans", "bilateral", "diffusion")


def denoise(volume: Volume, **parameters):
    return engine.run(create("denoise", **parameters), {"image": volume})


def scene(shape=(12, 40, 44), noise=20.0, seed=0, contrast=200.0) -> tuple[np.ndarray, np.ndarray]:
    """Two tissues with an edge, nodules of two voxels' radius in one, and the same with white noise."""
    clean = np.zeros(shape, np.float32)
    clean[..., shape[2] // 2 :] = contrast
    k, j, i = np.indices(shape)
    for row, column in itertools.product((8, 20, 32), (7, 15)):
        clean[(k - shape[0] // 2) ** 2 + (j - row) ** 2 + (i - column) ** 2 <= 4] += 150
    return clean, clean + np.random.default_rng(seed).normal(0, noise, shape).astype(np.float32)


# ---- how much noise
@pytest.mark.parametrize("sigma", [3.0, 20.0, 80.0])
@pytest.mark.parametrize("shape", [(20, 70, 80), (1, 200, 180), (60, 1, 150)])
def test_white_noise_is_measured(sigma, shape) -> None:
    noise = np.random.default_rng(1).normal(0, sigma, shape)
    image = ndimage.gaussian_filter(np.random.default_rng(2).normal(0, 1, shape), 6) * 3000 + noise
    assert noise_level(image, (2.0, 1.0, 1.0)) == pytest.approx(sigma, rel=0.06)


def test_air_and_padding_are_no_measure() -> None:
    volume = body((10, 96, 96), noise=25, padding=-2000)
    clipped = volume.with_array(np.maximum(volume.array, -1000))
    for image in (volume, clipped):
        assert noise_level(image.array, image.spacing_kji) == pytest.approx(25, rel=0.1)


def test_structure_is_no_noise(shared_data) -> None:
    """A real CT with known noise on top; its own is about 13 HU in even tissue."""
    scan = read(shared_data / "ct/lidc0314-2mm/ct.nii.gz")
    array = scan.array[40:100:3].astype(np.float64)
    own = noise_level(array, scan.spacing_kji)
    assert 9 < own < 18
    more = array + np.random.default_rng(0).normal(0, 40, array.shape)
    assert noise_level(more, scan.spacing_kji) == pytest.approx(np.hypot(own, 40), rel=0.1)


def test_what_is_left_is_measured_where_the_image_was_even(shared_data) -> None:
    scan = read(shared_data / "ct/lidc0314-2mm/ct.nii.gz")
    volume = scan.with_array(scan.array[60:76].copy(), modality="CT")
    for method in METHODS:
        metrics = denoise(volume, method=method).metrics
        assert metrics["noiseAfter"] < 0.8 * metrics["noiseBefore"]
    own = metrics["noiseBefore"]
    same = noise_left(volume.array, volume.array, volume.spacing_kji, own)
    half = noise_left(volume.array, volume.array / 2, volume.spacing_kji, own)
    assert (same, half) == (pytest.approx(own), pytest.approx(own / 2))


def test_no_noise_and_too_little_image() -> None:
    assert noise_level(np.full((4, 30, 30), 7, np.int16), (1, 1, 1)) == 0
    with pytest.raises(InputError, match="3 x 3"):
        noise_level(np.zeros((1, 2, 30)), (1, 1, 1))


# ---- filters against their definitions and other libraries
@pytest.mark.parametrize("shape", [(9, 13, 12), (1, 15, 14)])
def test_non_local_means_are_their_definition(shape) -> None:
    image = np.random.default_rng(0).normal(100, 20, shape)
    image[..., 6:] += 60
    search, patch, strength = 2, 1, 0.7
    found = weighted_means.non_local_means(image, 20.0, strength, search, patch, Job.quiet())
    reach, near = ([r if n > 1 else 0 for n in shape] for r in (search, patch))
    padded = np.pad(image, [(r + p, r + p) for r, p in zip(reach, near, strict=True)], mode="reflect")

    def around(place, shift):
        return padded[
            tuple(
                slice(x + r + s, x + r + s + 2 * p + 1)
                for x, r, p, s in zip(place, reach, near, shift, strict=True)
            )
        ]

    for place in [(0,) * 3, tuple(n // 2 for n in shape), tuple(n - 1 for n in shape), (shape[0] // 2, 3, 6)]:
        total = weights = 0.0
        for shift in itertools.product(*(range(-r, r + 1) for r in reach)):
            other = around(place, shift)
            square = np.mean((around(place, (0, 0, 0)) - other) ** 2)
            weight = np.exp(-max(0, square - 2 * 20**2) / (strength * 20) ** 2)
            total += weight * other[tuple(n // 2 for n in other.shape)]
            weights += weight
        assert found[place] == pytest.approx(total / weights, abs=1e-2)


@pytest.mark.parametrize(
    ("shape", "spacing"), [((10, 30, 28), (2.0, 1.0, 1.0)), ((1, 50, 44), (1.0, 0.5, 0.5))]
)
def test_the_bilateral_filter_equals_simpleitk(shape, spacing) -> None:
    image = scene((12, 50, 44))[1][: shape[0], : shape[1], : shape[2]]
    found = weighted_means.bilateral(image, spacing, 1.2, 50.0, Job.quiet())
    source = sitk.GetImageFromArray(image.squeeze())
    source.SetSpacing([s for s, n in zip(spacing, shape, strict=True) if n > 1][::-1])
    wanted = sitk.GetArrayFromImage(sitk.Bilateral(source, 1.2, 50.0)).reshape(shape)
    inside = tuple(slice(5, -5) if n > 12 else slice(3, -3) if n > 6 else slice(None) for n in shape)
    # ITK looks its weights up in a table.
    assert np.abs(found - wanted)[inside].max() < 1.5
    assert np.abs(found - wanted)[inside].mean() < 0.1 < np.abs(found - image)[inside].mean()


def test_pieces_and_threads_change_nothing(monkeypatch) -> None:
    image = scene((20, 60, 40))[1]
    results = []
    for threads, pixels in (("1", 1 << 16), ("3", 1 << 16), ("2", 1)):
        monkeypatch.setenv("MEDPREP_THREADS", threads)
        monkeypatch.setattr(weighted_means, "_PIXELS", pixels)
        results.append(weighted_means.non_local_means(image, 20.0, 0.6, 2, 1, Job.quiet()))
    assert results[0].tobytes() == results[1].tobytes()
    assert np.abs(results[0] - results[2]).max() < 1e-3


@pytest.mark.parametrize("shape", [(12, 40, 44), (1, 40, 44)])
def test_diffusion_slows_down_at_a_gradient_given_in_noise(shape) -> None:
    """ITK's conductance is relative to the mean gradient: more contrast elsewhere must not change it."""
    image = scene((12, 40, 44))[1][: shape[0]]
    much = image.copy()
    much[:, :, 40:] += 3000
    found = [
        denoise(Volume(a, np.eye(4)), method="diffusion", noise=20.0).images["image"].array
        for a in (image, much)
    ]
    assert np.abs(found[0] - found[1])[:, :, :30].max() < 0.5


def test_diffusion_in_parts_is_diffusion_of_the_whole(monkeypatch) -> None:
    volume = Volume(scene((40, 36, 32))[1], matrix((1.0, 1.0, 2.0)))
    volume = volume.with_array(np.where(np.arange(40)[:, None, None] < 20, 7, volume.array))  # a part is even
    found = []
    for slab in (40, 8):
        monkeypatch.setattr(denoising, "_SLAB", slab)
        monkeypatch.setattr(denoising, "_PARTS", 8)
        found.append(denoise(volume, method="diffusion", noise=20.0).images["image"].array)
    assert np.abs(found[0] - found[1]).max() < 1e-3
    assert np.abs(found[0] - volume.array)[20:].max() > 20


# ---- what it is for
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(12, 40, 44), (1, 160, 176)])
def test_noise_goes_and_edges_and_nodules_stay(method, shape) -> None:
    clean, noisy = scene((12, 40, 44))
    if shape[0] == 1:
        clean = np.kron(clean[6:7], np.ones((1, 4, 4), np.float32))
        noisy = clean + np.random.default_rng(1).normal(0, 20, shape).astype(np.float32)
    result = denoise(Volume(noisy, np.eye(4)), method=method)
    found = result.images["image"].array
    assert result.metrics["noiseBefore"] == pytest.approx(20, rel=0.1)
    assert result.metrics["noiseAfter"] < 8
    assert np.sqrt(np.mean((found - clean) ** 2)) < 0.45 * 20
    middle = shape[2] // 2
    step = found[:, :, middle].mean() - found[:, :, middle - 1].mean()
    assert step > 0.85 * 200
    assert result.metrics["smallStructuresLost"] == 0 and result.checks[0].verdict == "pass"
    # Nothing is shifted: the error is the same on both sides of zero.
    assert abs((found - clean).mean()) < 1


def test_it_says_when_small_structures_vanish() -> None:
    volume = Volume(scene()[1], np.eye(4))
    result = denoise(volume, method="bilateral", strength=5)
    (check,) = result.checks
    assert check.verdict == "warn" and "strength" in check.advice
    assert result.metrics["smallStructuresLost"] >= 4 and result.metrics["smallStructures"] >= 6


def test_structures_are_told_from_noise() -> None:
    clean, noisy = scene()
    only_noise = noisy - clean
    quiet = Job.quiet()
    assert detail_kept(only_noise, np.zeros_like(only_noise), 20.0, quiet).found == 0
    same = detail_kept(noisy, noisy, 20.0, quiet)
    assert same.found >= 6 and same.lost == 0 and same.share == 0
    gone = detail_kept(noisy, ndimage.gaussian_filter(noisy, 3), 20.0, quiet)
    assert gone.found == same.found and gone.share > 0.8
    flipped = detail_kept(-noisy[:, ::-1], -noisy[:, ::-1], 20.0, quiet)
    assert flipped.found == same.found  # dark ones count like bright ones


def test_an_image_without_noise_stays_as_it_is() -> None:
    array = np.zeros((4, 20, 20), np.int16)
    array[:, 5:9, 5:9] = 100
    result = denoise(Volume(array, np.eye(4)))
    assert np.array_equal(result.images["image"].array, array)
    assert "No noise" in result.notes[0]


# ---- properties
@settings(max_examples=12)
@given(st.sampled_from(METHODS), st.floats(0.05, 40), st.floats(-5000, 5000), st.integers(0, 99))
def test_it_goes_with_scale_and_offset(method, scale, offset, seed) -> None:
    image = scene((6, 20, 22), seed=seed)[1].astype(np.float64)
    one = denoise(Volume(image, np.eye(4)), method=method, noise=20)
    other = denoise(Volume(scale * image + offset, np.eye(4)), method=method, noise=20 * scale)
    found = (other.images["image"].array - offset) / scale
    assert np.abs(found - one.images["image"].array).max() < 0.05 + 0.002 * abs(offset) / scale


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.int32])
def test_noise_on_a_large_offset_is_found_and_taken(method, dtype) -> None:
    """float32, in which the filters work, has steps of 64 there."""
    image = np.rint(scene((6, 20, 22))[1]).astype(dtype)
    one, other = (
        denoise(Volume(image + offset, np.eye(4)), method=method, noise=20).images["image"].array
        for offset in (dtype(0), dtype(2**30))
    )
    assert other.dtype == dtype
    assert np.abs(other.astype(np.float64) - 2**30 - one).max() <= (1 if dtype == np.int32 else 0.01)


@pytest.mark.parametrize("method", METHODS)
def test_it_does_not_matter_how_the_image_is_stored(method) -> None:
    image = scene((14, 20, 24))[1]
    wanted = denoise(Volume(image, matrix((1.0, 2.0, 1.5))), method=method, noise=20).images["image"].array
    turned = np.ascontiguousarray(image.transpose(2, 0, 1)[::-1, :, ::-1])
    found = denoise(Volume(turned, matrix((2.0, 1.5, 1.0))), method=method, noise=20).images["image"].array
    assert np.abs(found - wanted.transpose(2, 0, 1)[::-1, :, ::-1]).max() < 0.01


@pytest.mark.parametrize("method", METHODS)
def test_type_and_place_stay(method) -> None:
    volume = body((8, 40, 44))
    image = denoise(volume, method=method).images["image"]
    assert image.array.dtype == np.int16 and image.same_grid(volume)


@pytest.mark.parametrize("method", METHODS)
def test_a_cancel_stops_it_soon(method) -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 6

    with pytest.raises(Cancelled):
        engine.run(create("denoise", method=method), {"image": body((16, 60, 60))}, Job(cancelled=cancelled))
    assert len(asked) < 20
