"""Resampling along one axis as a banded matrix: kernel, spline prefilter and blur in one product.

The rows of the matrix hold, for each output sample, the weights of the input samples. For splines of order 3
and 5 the weights contain the inverse of the interpolation matrix (the "prefilter"), whose tails fall by a
factor of 3.7 or 2.3 per sample, so that a narrow band holds them to float32 precision.

References
----------
Unser M. Splines: a perfect fit for signal and image processing. IEEE Signal Process Mag 16(6), 1999.
Cardoso MJ et al. Scale factor point spread function matching: beyond aliasing in image resampling.
MICCAI 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_banded
from scipy.special import ndtr

# Samples after which the prefilter's tail (0.268^n for cubic, 0.431^n for quintic) is below 1e-16.
_PREFILTER_REACH = {1: 0, 3: 28, 5: 44}
# Output samples per band: small bands waste few products on zeros, large ones need fewer calls. Measured.
MOST_ROWS = 16

_GAUSSIAN_REACH = 8.0  # standard deviations

# Weights below this are left out: 1e-6 of 4000 HU is 0.004 HU.
_SMALLEST_WEIGHT = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-14}


@dataclass(frozen=True)
class Band:
    """Rows ``start:stop`` of the matrix, which use the input samples ``first:last``."""

    start: int
    stop: int
    first: int
    last: int
    weights: np.ndarray  # (stop - start, last - first)


@dataclass(frozen=True)
class AxisOperator:
    """All bands along one axis; `identity` when the output samples are the input samples."""

    inputs: int
    outputs: int
    identity: bool
    bands: tuple[Band, ...]

    @property
    def reach(self) -> int:
        """Largest number of input samples that one band uses."""
        return max(band.last - band.first for band in self.bands)


def axis_operator(
    inputs: int, start: float, step: float, outputs: int, order: int, sigma: float, work: np.dtype
) -> AxisOperator:
    """Bands of a few output samples each, at input indices ``start + n * step``.

    Parameters
    ----------
    inputs, outputs : samples along the axis.
    order : 1, 3 or 5. Order 1 continues the image by its edge value, 3 and 5 by mirroring at the edge samples
        (as ITK does); positions further out than half a sample take the value at half a sample.
    sigma : standard deviation of a Gaussian in input samples, convolved exactly with the interpolated signal.
    work : float32 or float64.
    """
    positions = np.clip(start + step * np.arange(outputs), -0.5, inputs - 0.5)
    identity = outputs == inputs and sigma == 0 and bool(np.abs(positions - np.arange(inputs)).max() < 1e-9)
    rows = max(2, min(MOST_ROWS, round(2 * MOST_ROWS / max(abs(step), 1e-3))))
    bands = tuple(
        _band(positions[a : a + rows], a, inputs, order, sigma, np.dtype(work))
        for a in range(0, outputs, rows)
    )
    return AxisOperator(inputs, outputs, identity, bands)


def spline_kernel(x: np.ndarray, order: int, sigma: float) -> np.ndarray:
    """Centred B-spline of the given order, convolved with a Gaussian of standard deviation `sigma` (0: none).

    The B-spline is a finite difference of one-sided powers, so its convolution is the same difference of the
    Gaussian's repeated integrals I: ``k I_k(x) = x I_(k-1)(x) + sigma^2 I_(k-2)(x)``.
    """
    x = -np.abs(np.asarray(x, np.float64))  # where the repeated integrals are small and nothing cancels
    total = np.zeros_like(x)
    for knot in range(order + 2):
        shifted = x + (order + 1) / 2 - knot
        if sigma == 0:
            piece = np.maximum(shifted, 0.0) ** order / math.factorial(order)
        else:
            before = np.exp(-0.5 * (shifted / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
            piece = ndtr(shifted / sigma)
            for k in range(1, order + 1):
                before, piece = piece, (shifted * piece + sigma * sigma * before) / k
        total += (-1) ** knot * math.comb(order + 1, knot) * piece
    return total


def _folded(index: np.ndarray, size: int, order: int) -> np.ndarray:
    if order == 1:
        return np.clip(index, 0, size - 1)
    if size == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * size - 2)
    return np.minimum(index, 2 * size - 2 - index)


def _band(positions: np.ndarray, start: int, size: int, order: int, sigma: float, work: np.dtype) -> Band:
    radius = (order + 1) / 2 + _GAUSSIAN_REACH * sigma
    index = np.arange(math.floor(positions.min() - radius), math.ceil(positions.max() + radius) + 1)
    weights = spline_kernel(positions[:, None] - index, order, sigma)
    folded = _folded(index, size, order)
    margin = _PREFILTER_REACH[order]
    first, last = max(0, int(folded.min()) - margin), min(size, int(folded.max()) + 1 + margin)
    window = np.zeros((last - first, len(positions)))
    np.add.at(window, folded - first, weights.T)
    if order > 1:
        window = _prefiltered(window, first, size, order)
    kept = np.flatnonzero((np.abs(window) > _SMALLEST_WEIGHT[work]).any(axis=1))
    window = window[kept[0] : kept[-1] + 1]
    window = (window / window.sum(axis=0)).T
    first = first + int(kept[0])
    return Band(
        start, start + len(positions), first, first + window.shape[1], np.ascontiguousarray(window, work)
    )


def _prefiltered(window: np.ndarray, first: int, size: int, order: int) -> np.ndarray:
    """Multiply by the inverse of the interpolation matrix: weights of coefficients become weights of samples.

    `window` (samples, outputs) covers samples ``first : first + len(window)`` of `size`; beyond is zero.
    """
    half, count = order // 2, len(window)
    values = spline_kernel(np.arange(-half, half + 1), order, 0.0)
    # Banded storage of the transposed interpolation matrix B, sample = B coefficient: entry (c, s) = B[s, c].
    stored = np.zeros((2 * half + 1, count))
    for offset, value in zip(range(-half, half + 1), values, strict=True):
        sample = np.arange(first, first + count)
        coefficient = _folded(sample + offset, size, order)
        inside = (coefficient >= first) & (coefficient < first + count)
        sample, coefficient = sample[inside] - first, coefficient[inside] - first
        np.add.at(stored, (half + coefficient - sample, sample), value)
    return solve_banded((half, half), stored, window)
