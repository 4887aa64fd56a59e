"""How near an image comes to a reference in a mask: mean squared error, peak signal to noise, similarity."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

_WINDOW, _K1, _K2 = 7, 0.01, 0.03


class Quality(NamedTuple):
    """Mean squared error, peak signal-to-noise ratio (dB; infinite for equal images), similarity (SSIM)."""

    mse: float
    psnr: float
    ssim: float


def compare(image: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> Quality:
    """Compare in the mask, after scaling the image to the reference's mean there (a gain is no error).

    The peak is the reference's range in the mask. SSIM (Wang et al., IEEE TIP 13(4), 2004) uses cubes of 7
    voxels, fewer along short axes, unweighted, with the sample variance.

    Parameters
    ----------
    image, reference : (k, j, i), any real type. mask : bool, not empty.
    """
    box = tuple(
        slice(max(0, s.start - _WINDOW // 2), s.stop + _WINDOW // 2)
        for s in ndimage.find_objects(mask.view(np.uint8))[0]
    )
    inside = mask[box]
    target = reference[box].astype(np.float64)
    tested = image[box].astype(np.float64)
    mean = tested[inside].mean()
    if mean:
        tested *= target[inside].mean() / mean
    difference = tested[inside] - target[inside]
    mse = float(np.mean(difference * difference))
    peak = float(np.ptp(target[inside]))
    psnr = 10 * math.log10(peak * peak / mse) if mse > 0 and peak > 0 else math.inf
    return Quality(mse, psnr, float(_similarity(tested, target, peak)[inside].mean()))


def _similarity(x: np.ndarray, y: np.ndarray, peak: float) -> np.ndarray:
    """SSIM of every voxel, float64."""
    size = [min(_WINDOW, n) for n in x.shape]
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
