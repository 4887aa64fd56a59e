"""Local mean 0 and deviation 1: what slow changes of brightness and contrast leave of an image."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..core.job import Job
from ..core.parallel import along_axis

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
    center = float(array.mean(dtype=np.float64))
    # Three float32 arrays at most, and besides them one slice: all else is done in place.
    mean, square = np.empty(array.shape, np.float32), np.empty(array.shape, np.float32)
    weight = None if mask is None else np.empty(array.shape, np.float32)
    for k, values in enumerate(array):
        # Squares of what is near 0 keep their digits.
        np.subtract(values, center, out=mean[k], dtype=np.float64, casting="same_kind")
        if mask is not None and weight is not None:
            weight[k] = mask[k] != 0
            mean[k] *= weight[k]
        np.square(mean[k], out=square[k])
    fields = [mean, square] if weight is None else [mean, square, weight]
    for n, field in enumerate(fields):
        _smooth(field, spacing, size, window, job.part(0.9 * n / len(fields), 0.9 * (n + 1) / len(fields)))
    for k, (average, spread) in enumerate(zip(mean, square, strict=True)):
        if weight is not None:
            np.maximum(weight[k], np.float32(1e-6), out=weight[k])
            average /= weight[k]
            spread /= weight[k]
        spread -= average * average
        np.sqrt(np.maximum(spread, (_FLOOR * deviation) ** 2, out=spread), out=spread)
        # From the center as above: float32 would round a large value's mean.
        np.subtract(
            np.subtract(array[k], center, dtype=np.float64), average, out=average, casting="same_kind"
        )
        average /= spread
        if mask is not None:
            average *= mask[k] != 0
    job.report(1.0)
    return mean


def _smooth(
    values: np.ndarray, spacing: tuple[float, float, float], size: float, window: str, job: Job
) -> None:
    """Average over the window, in place."""
    axes = [axis for axis, n in enumerate(values.shape) if n > 1]
    for done, axis in enumerate(axes):
        count, voxels = values.shape[axis], size / spacing[axis]

        def average(part: np.ndarray, axis: int = axis, count: int = count, voxels: float = voxels) -> None:
            if window == "gaussian":
                ndimage.gaussian_filter1d(part, voxels / 12**0.5, axis, output=part)
            else:
                width = min(2 * round((voxels - 1) / 2) + 1, count - 1 + count % 2)
                ndimage.uniform_filter1d(part, width, axis, output=part)

        along_axis(values, axis, average, job.part(done / len(axes), (done + 1) / len(axes)))
