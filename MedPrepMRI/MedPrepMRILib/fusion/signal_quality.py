"""Signal and contrast to noise of one image, from the image alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.i18n import _

_BINS = 256
# Side of the windows (about 125 voxels) in images of one, two and three axes, and the share without edges.
_WINDOW = {1: 125, 2: 11, 3: 5}
_SMOOTH = 0.05
# Shares of voxels left out on either side when tissue is told from tissue.
_LIMITED = 0.001


@dataclass(frozen=True)
class Quality:
    """Signal (mean in the mask above `zero`), noise (standard deviation) and contrast of two tissues."""

    signal: float
    noise: float
    contrast: float

    @property
    def snr(self) -> float:
        """Signal to noise; 0 where there is no noise to be seen."""
        return self.signal / self.noise if self.noise > 0 else 0.0

    @property
    def cnr(self) -> float:
        """Contrast to noise; 0 where there is no noise to be seen."""
        return self.contrast / self.noise if self.noise > 0 else 0.0


def method() -> str:
    """How SNR and CNR are measured, in words."""
    return _(
        "SNR: mean in the mask, above what an intensity of 0 becomes, over the noise. CNR: distance of the "
        "means of the two classes of Otsu's threshold in the mask, over the noise. Noise: pseudo-residual "
        "(Coupé et al. 2008), 5th percentile of its root mean square in windows of about 125 voxels in the "
        "mask. Resampling smooths the noise, which raises the figures of a result."
    )


def quality(array: np.ndarray, mask: np.ndarray, zero: float = 0.0) -> Quality:
    """Measure an image inside a mask.

    Parameters
    ----------
    array : (k, j, i) float or integer.
    mask : (k, j, i) bool, not empty.
    zero : the value that stands for no signal.
    """
    box = tuple(
        slice(max(int(found[0]) - 1, 0), int(found[-1]) + 2)
        for axis in range(3)
        for found in [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))]
    )
    image, inside = array[box].astype(np.float32), mask[box]
    values = image[inside]
    dark, bright = _classes(values)
    return Quality(abs(float(values.mean(dtype=np.float64)) - zero), _noise(image, inside), bright - dark)


def _noise(image: np.ndarray, mask: np.ndarray) -> float:
    """Standard deviation of the noise where the image is smooth.

    The pseudo-residual is the difference of a voxel to the mean of its neighbours (Coupé et al. 2008). Its
    root mean square in small windows is the noise where there is no edge: in one window in twenty and more.
    """
    axes = [axis for axis in range(3) if image.shape[axis] >= 3]
    if not axes:
        return 0.0
    inner = tuple(slice(1, -1) if axis in axes else slice(None) for axis in range(3))
    residual = np.zeros(image[inner].shape, np.float32)
    for axis in axes:
        for side in (slice(None, -2), slice(2, None)):
            residual += image[tuple(side if a == axis else inner[a] for a in range(3))]
    count = 2 * len(axes)
    residual /= -count
    residual += image[inner]
    residual *= residual
    inside = mask[inner]
    window = [_WINDOW[len(axes)] if axis in axes else 1 for axis in range(3)]
    whole = ndimage.minimum_filter(inside, window, mode="constant", cval=0)
    if whole.any():
        local = ndimage.uniform_filter(residual, window, mode="nearest")[whole]
        square = float(np.quantile(np.maximum(local, 0.0), _SMOOTH))
    elif inside.any():
        square = float(residual[inside].mean(dtype=np.float64))
    else:
        return 0.0
    return math.sqrt(square * count / (count + 1))


def _classes(values: np.ndarray) -> tuple[float, float]:
    """Means of the two classes that Otsu's threshold tells apart (Otsu 1979)."""
    low, high = np.quantile(values, (_LIMITED, 1 - _LIMITED))
    if not low < high:
        return float(low), float(high)
    counts, edges = np.histogram(values, _BINS, (float(low), float(high)))
    centres = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * centres)
    above = counts.sum() - below
    usable = (below > 0) & (above > 0)
    dark = np.divide(sums[:-1], below, out=np.zeros(len(below)), where=usable)
    bright = np.divide(sums[-1] - sums[:-1], above, out=np.zeros(len(below)), where=usable)
    best = int(np.where(usable, below * above * (bright - dark) ** 2, -1.0).argmax())
    return float(dark[best]), float(bright[best])
