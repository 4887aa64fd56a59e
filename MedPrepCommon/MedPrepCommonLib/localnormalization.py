"""Local mean 0 and deviation 1: what slow changes of brightness and contrast leave of an image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from .job import Job

# Local deviations below this share of the whole image's are taken for noise, which is not raised to 1.
_FLOOR = 0.05


def normalize_locally(
    array: np.ndarray,
    mask: np.ndarray | None,
    spacing: tuple[float, float, float],
    size: float,
    window: str,
    deviation: float,
    job: Job,
) -> np.ndarray:
    """``(x - local mean) / local standard deviation``, float32.

    With a mask, only voxels inside count, and those outside become 0. Beyond its border the image is
    continued by reflection.

    Parameters
    ----------
    array, mask : (k, j, i). spacing : mm along k, j, i.
    size : mm; width of the box, or of the box that varies as much as the Gaussian (sigma = size / sqrt(12)).
    window : "box" or "gaussian".
    deviation : of the whole image; local ones below 5 % of it are raised to that.
    """
    smooth = _smoother(array.shape, spacing, size, window)
    center = float(array.mean(dtype=np.float64))
    # Squares of what is near 0 keep their digits.
    values = np.empty(array.shape, np.float32)
    np.subtract(array, center, out=values, dtype=np.float64, casting="same_kind")
    if mask is not None:
        values *= mask != 0
    mean = values.copy()
    square = np.square(values, out=values)
    smooth(mean, job.part(0.0, 0.4))
    smooth(square, job.part(0.4, 0.8))
    if mask is not None:
        weight = (mask != 0).astype(np.float32)
        smooth(weight, job.part(0.8, 0.95))
        np.maximum(weight, np.float32(1e-6), out=weight)
        mean /= weight
        square /= weight
    square -= mean * mean
    np.sqrt(np.maximum(square, (_FLOOR * deviation) ** 2, out=square), out=square)
    mean += np.float32(center)
    np.subtract(array, mean, out=mean, casting="same_kind")
    mean /= square
    if mask is not None:
        mean *= mask != 0
    job.report(1.0)
    return mean


def _smoother(
    shape: tuple[int, ...], spacing: tuple[float, float, float], size: float, window: str
) -> Callable[[np.ndarray, Job], None]:
    """A function that averages an array in place over the window."""

    def smooth(values: np.ndarray, job: Job) -> None:
        for axis, (n, step) in enumerate(zip(shape, spacing, strict=True)):
            job.report(axis / 3)
            if n == 1:
                continue
            if window == "gaussian":
                ndimage.gaussian_filter1d(values, size / step / 12**0.5, axis, output=values)
            else:
                width = min(2 * round(size / step / 2) + 1, n - 1 + n % 2)
                ndimage.uniform_filter1d(values, width, axis, output=values)

    return smooth
