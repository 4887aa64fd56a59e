"""Mean squared error, peak signal to noise and structural similarity beside scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from MedPrepCommonLib.core.errors import Cancelled, InputError, ParameterError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.numeric import similarity

metrics = pytest.importorskip("skimage.metrics")

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def pair(shape, dtype=np.float32, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth image with values of a CT, and the same with noise and a little more contrast."""
    rng = np.random.default_rng(seed)
    reference = ndimage.gaussian_filter(rng.normal(size=shape), 1.5) * 2500 - 400
    image = 1.05 * reference + rng.normal(0, 40, shape)
    return image.astype(dtype), reference.astype(dtype)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64, ">i2"])
@pytest.mark.parametrize("window", ["uniform", "gaussian"])
@pytest.mark.parametrize("shape", [(19, 40, 33), (1, 150, 130)])
def test_ssim_equals_scikit_image(dtype, window, shape) -> None:
    image, reference = pair(shape, dtype)
    span = float(np.ptp(reference.astype(float)))
    options = GAUSSIAN if window == "gaussian" else {}
    exact = [a.astype(np.float64).squeeze() for a in (image, reference)]
    wanted, full = metrics.structural_similarity(*exact, data_range=span, full=True, **options)
    found = similarity.ssim(image, reference, data_range=span, window=window)
    assert found == pytest.approx(wanted, abs=1e-6)
    mask = np.zeros(shape, np.uint8)
    mask[:, : shape[1] // 2, 5:] = 3  # to three edges of the image
    found = similarity.ssim(image, reference, mask, data_range=span, window=window)
    assert found == pytest.approx(full.reshape(shape)[mask > 0].mean(), abs=1e-6)
    assert 0.2 < found < 0.999


@given(st.tuples(*[st.integers(1, 12)] * 3), st.sampled_from(["uniform", "gaussian"]), st.integers(0, 99))
def test_ssim_of_short_axes_is_its_definition(shape, window, seed) -> None:
    """Widths that fit, odd, and the images continued by reflection: against scipy's filters."""
    image, reference = (a.astype(np.float64) for a in pair(shape, seed=seed))
    span, c1, c2 = 3000.0, 30.0**2, 90.0**2
    if window == "uniform":
        size = [min(7, n - 1 + n % 2) for n in shape]
        ratio = math.prod(size) / max(1, math.prod(size) - 1)

        def mean(values):
            return ndimage.uniform_filter(values, size)
    else:
        radius, ratio = tuple(min(5, (n - 1) // 2) for n in shape), 1.0

        def mean(values):
            for axis, r in enumerate(radius):
                values = ndimage.gaussian_filter1d(values, 1.5, axis, radius=r)
            return values

    x, y = mean(image), mean(reference)
    vx, vy, vxy = (
        ratio * (mean(a) - b)
        for a, b in ((image**2, x * x), (reference**2, y * y), (image * reference, x * y))
    )
    full = (2 * x * y + c1) * (2 * vxy + c2) / ((x * x + y * y + c1) * (vx + vy + c2))
    mask = np.random.default_rng(seed).integers(0, 2, shape)
    mask.flat[0] = 1
    found = similarity.ssim(image, reference, mask, data_range=span, window=window)
    assert found == pytest.approx(full[mask > 0].mean(), abs=1e-6)


def test_values_far_from_zero_lose_no_digits() -> None:
    image, reference = pair((12, 30, 30), np.float64)
    wanted = metrics.structural_similarity(image, reference, data_range=2000)
    # Far from zero means hardly differ, so only contrast and structure are left; both need the variances.
    far = similarity.ssim(image + 1e7, reference + 1e7, data_range=2000)
    x, y = (ndimage.uniform_filter(a, 7)[3:-3, 3:-3, 3:-3] for a in (image, reference))
    luminance = (2 * x * y + 400) / (x * x + y * y + 400)
    assert far > wanted and luminance.min() < 1
    swapped = similarity.ssim(reference + 1e7, image + 1e7, data_range=2000)
    assert far == pytest.approx(swapped, abs=1e-9)


def test_equal_and_opposite_images() -> None:
    image, _reference = pair((10, 20, 20))
    assert similarity.ssim(image, image, data_range=100) == pytest.approx(1, abs=1e-12)
    assert similarity.psnr(image, image, data_range=100) == math.inf
    assert similarity.ssim(9000 + image, 9000 + 2 * image.mean() - image, data_range=100) < -0.5
    flat = np.full((5, 9, 9), 7, np.int16)
    assert similarity.ssim(flat, flat, data_range=1) == 1


@given(
    st.sampled_from([np.uint8, np.int16, np.int32, np.float32, np.float64]), st.booleans(), st.integers(0, 99)
)
def test_mse_and_psnr_equal_scikit_image(dtype, masked, seed) -> None:
    image, reference = pair((7, 20, 31), dtype, seed)
    mask = np.random.default_rng(seed).integers(0, 2, image.shape).astype(bool) if masked else None
    chosen = slice(None) if mask is None else mask
    wanted = metrics.mean_squared_error(reference[chosen], image[chosen])
    assert similarity.mse(image, reference, mask) == pytest.approx(wanted, rel=1e-6)
    wanted = metrics.peak_signal_noise_ratio(reference[chosen], image[chosen], data_range=4000)
    assert similarity.psnr(image, reference, mask, data_range=4000) == pytest.approx(wanted, abs=1e-5)


def test_threads_and_memory_layout_change_nothing() -> None:
    image, reference = pair((6, 300, 260))
    mask = reference > -400
    one = similarity.ssim(image, reference, mask, data_range=2000, workers=1)
    assert similarity.ssim(image, reference, mask, data_range=2000, workers=5) == one
    assert similarity.mse(image, reference, workers=1) == similarity.mse(image, reference, workers=5)
    turned = [np.asfortranarray(a) for a in (image, reference)]
    assert similarity.ssim(*turned, mask, data_range=2000) == one
    assert similarity.mse(*turned) == pytest.approx(similarity.mse(image, reference), rel=1e-6)


def test_what_cannot_be_compared_is_refused() -> None:
    image, reference = pair((6, 12, 12))
    with pytest.raises(InputError, match="shape"):
        similarity.ssim(image, reference[1:], data_range=1)
    for measure in (similarity.ssim, similarity.psnr):
        with pytest.raises(InputError, match="empty"):
            measure(image, reference, np.zeros(image.shape), data_range=1)
        for span in (0, -1, math.nan):
            with pytest.raises(ParameterError, match="range"):
                measure(image, reference, data_range=span)
    with pytest.raises(ParameterError, match="gaussian"):
        similarity.ssim(image, reference, data_range=1, window="round")
    with pytest.raises(InputError, match="dimensions"):
        similarity.ssim(image[0], reference[0], data_range=1)


def test_cancel_stops_a_comparison() -> None:
    image, reference = pair((6, 40, 40))
    with pytest.raises(Cancelled):
        similarity.ssim(image, reference, data_range=1, job=Job(cancelled=lambda: True))
