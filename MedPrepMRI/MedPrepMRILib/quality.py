"""How near an image comes to a reference in a mask: mean squared error, peak signal to noise, similarity."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.job import Job

_WINDOW, _K1, _K2 = 7, 0.01, 0.03
# Slices at a time.
_SLAB = 8


class Quality(NamedTuple):
    """Mean squared error, peak signal-to-noise ratio (dB; infinite for equal images), similarity (SSIM)."""

    mse: float
    psnr: float
    ssim: float


def compare(image: np.ndarray, reference: np.ndarray, mask: np.ndarray, job: Job | None = None) -> Quality:
    """Compare in the mask, after scaling the image to the reference's mean there (a gain is no error).

    The peak is the reference's range in the mask. SSIM (Wang et al., IEEE TIP 13(4), 2004) uses cubes of 7
    voxels, fewer along short axes, unweighted, with the sample variance.

    Parameters
    ----------
    image, reference : (k, j, i), any real type. mask : bool, not empty.
    """
    job = job or Job.quiet()
    target = reference[mask].astype(np.float64)
    tested = image[mask].astype(np.float64)
    gain = target.mean() / tested.mean() if tested.mean() else 1.0
    mse = float(np.mean(np.square(tested * gain - target)))
    peak = float(np.ptp(target))
    psnr = 10 * math.log10(peak * peak / mse) if mse > 0 and peak > 0 else math.inf
    return Quality(mse, psnr, _mean_similarity(image, reference, mask, gain, peak, job))


def _mean_similarity(image, reference, mask, gain: float, peak: float, job: Job) -> float:
    """Mean SSIM of the mask's voxels, a few slices at a time."""
    reach = _WINDOW // 2
    (_slices, rows, columns) = ndimage.find_objects(mask.view(np.uint8))[0]
    around = tuple(slice(max(0, s.start - reach), s.stop + reach) for s in (rows, columns))
    size = [min(_WINDOW, n) for n in mask.shape]
    total = 0.0
    for start in range(0, len(mask), _SLAB):
        job.report(start / len(mask))
        inside = mask[start : start + _SLAB][(slice(None), *around)]
        if not inside.any():
            continue
        first = max(0, start - reach)
        slab = (slice(first, start + _SLAB + reach), *around)
        similarity = _similarity(
            image[slab].astype(np.float64) * gain, reference[slab].astype(np.float64), size, peak
        )
        total += float(similarity[start - first :][: len(inside)][inside].sum())
    return total / np.count_nonzero(mask)


def _similarity(x: np.ndarray, y: np.ndarray, size: list[int], peak: float) -> np.ndarray:
    """SSIM of every voxel, float64."""
    count = math.prod(size)
    unbiased = count / max(count - 1, 1)
    mean_x, mean_y = (ndimage.uniform_filter(v, size) for v in (x, y))
    variance_x = unbiased * (ndimage.uniform_filter(x * x, size) - mean_x * mean_x)
    variance_y = unbiased * (ndimage.uniform_filter(y * y, size) - mean_y * mean_y)
    covariance = unbiased * (ndimage.uniform_filter(x * y, size) - mean_x * mean_y)
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    bottom = (mean_x * mean_x + mean_y * mean_y + c1) * (variance_x + variance_y + c2)
    return np.divide(top, bottom, out=np.ones_like(top), where=bottom > 0)
