"""Whether a chest radiograph shows air dark, as usual, or is inverted: told from its grey levels.

Two chests are correlated with the image at several sizes and all places: a schematic one (two lungs between
mediastinum, chest wall, shoulders and abdomen) and the mean of real ones. Where the best correlations are
negative, the image is inverted.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from . import classical, input

_COARSE = 4  # the template needs no more than 64 x 64 pixels
_SIZES = (0.62, 0.75, 0.9, 1.08, 1.3)
# Weight and limit of the schematic chest beside the mean one; what leaves no doubt.
_SCHEMATIC, _LIMIT, _SURE = 0.8, 0.4, 0.3
# Below this confidence the answer is a guess: both lungs opaque, or no chest.
DOUBTFUL = 0.35


def estimate_polarity(array: np.ndarray) -> tuple[bool, float]:
    """Whether a chest radiograph has its grey levels inverted, and how sure that is.

    Parameters
    ----------
    array : (rows, columns), any numeric type, depth and size.

    Returns
    -------
    inverted : True when air is bright. confidence : 0 (cannot be told) to 1;
        below ``DOUBTFUL`` it must not decide alone.
    """
    frame = input.frame_of(array.shape)
    square, inside = input.place(array, frame)
    return polarity_of(input.channels(square, inside))


def polarity_of(channels: np.ndarray) -> tuple[bool, float]:
    """As :func:`estimate_polarity`, from :func:`lunginput.channels`."""
    count = input.SIZE // _COARSE
    small = channels[0].reshape(count, _COARSE, count, _COARSE).mean(axis=(1, 3), dtype=np.float64)
    small = np.clip(small, -2.0, 2.0)
    if not small.any():
        return False, 0.0
    low, high = 0.0, 0.0
    for size in _SIZES:
        correlation = _correlation(small, *_chest(size * count))
        low, high = min(low, float(correlation.min())), max(high, float(correlation.max()))
    schematic = float(np.clip(low + high, -_LIMIT, _LIMIT))
    upright = sum(classical.extremes(channels)) + _SCHEMATIC * schematic
    return upright < 0, min(abs(upright) / _SURE, 1.0)


def _chest(width: float) -> tuple[np.ndarray, np.ndarray]:
    """Signs (lung -1, tissue +1) of a schematic chest, `width` pixels from wall to wall, and its weights."""
    rows, columns = int(round(0.86 * width)), int(round(width))
    y = ((np.arange(rows) + 0.5) / rows - 0.5)[:, None]
    x = np.abs((np.arange(columns) + 0.5) / columns - 0.5)[None, :]
    # A lung leans inwards at its top and is cut off by the diaphragm.
    lung = ((x - 0.235 - 0.06 * y) / 0.145) ** 2 + ((y + 0.02) / 0.44) ** 4 < 1
    tissue = (x < 0.055) | (y > 0.42) | ((x > 0.43) & (y > -0.3)) | ((y < -0.42) & (x > 0.3))
    signs = np.where(lung, -1.0, 1.0)
    weights = np.where(lung, 1.0 / lung.sum(), np.where(tissue & ~lung, 1.0 / (tissue & ~lung).sum(), 0.0))
    return signs, weights / 2


def _correlation(image: np.ndarray, signs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted correlation coefficient at every place that holds at least three quarters of the template."""
    reach = tuple(size // 8 for size in signs.shape)
    image = np.pad(image, [(n, n) for n in reach])

    def slide(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        return signal.fftconvolve(values, kernel[::-1, ::-1], mode="valid")

    if any(a < b for a, b in zip(image.shape, signs.shape, strict=True)):
        return np.zeros(1)
    mean = slide(image, weights)
    variance = slide(image * image, weights) - mean * mean
    # The signs have mean 0 and variance 1 under their weights.
    return slide(image, signs * weights) / np.sqrt(np.maximum(variance, 0.05))
