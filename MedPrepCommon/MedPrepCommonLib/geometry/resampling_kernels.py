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
_GAUSSIAN_REACH = 8.0  # standard deviations

# Weights below this are left out: 1e-6 of 4000 HU is 0.004 HU.
_SMALLEST_WEIGHT = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-14}

# Output samples per band: multiples of what a vector register holds. _CALL is what one product costs beside
# its multiplications, in multiplications per line.
_BAND_ROWS = (8, 16, 24, 32)
_LANES = 16
_CALL = 100


@dataclass(frozen=True)
class AxisOperator:
    """A matrix along one axis as bands of equal shape that advance evenly: one call multiplies them all.

    Band b holds the output samples ``b * rows`` onwards (the last may have rows of zeros beyond `outputs`)
    and uses the input samples ``first + b * advance`` onwards; those beyond the image have weights of zero.
    """

    inputs: int
    outputs: int
    weights: np.ndarray  # (bands, rows, input samples)
    first: int
    advance: int

    @property
    def rows(self) -> int:
        """Output samples per band."""
        return self.weights.shape[1]

    @property
    def reach(self) -> int:
        """Input samples per band."""
        return self.weights.shape[2]

    @property
    def before(self) -> int:
        """Samples ahead of the image that the bands touch."""
        return max(0, -self.first)

    @property
    def after(self) -> int:
        """Samples past the image that the bands touch."""
        return max(0, self.first + (len(self.weights) - 1) * self.advance + self.reach - self.inputs)

    @property
    def identity(self) -> bool:
        """Whether the output samples are the input samples."""
        if self.inputs != self.outputs:
            return False
        rows, columns, values = self.entries()
        return len(rows) == self.outputs and np.array_equal(rows, columns) and bool((values == 1).all())

    def window(self, band: int) -> range:
        """Input samples within the image that a band uses."""
        start = self.first + band * self.advance
        return range(max(0, start), min(self.inputs, start + self.reach))

    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Output sample, input sample and weight of all that is not zero, by output, then input sample."""
        band, row, column = np.nonzero(self.weights)
        order = np.lexsort((column, row, band))
        band, row, column = band[order], row[order], column[order]
        return (
            band * self.rows + row,
            self.first + band * self.advance + column,
            self.weights[band, row, column],
        )


def axis_operator(
    inputs: int, start: float, step: float, outputs: int, order: int, sigma: float, work: np.dtype
) -> AxisOperator:
    """The operator that samples at input indices ``start + n * step``, step >= 0.

    Parameters
    ----------
    inputs, outputs : samples along the axis.
    order : 1, 3 or 5. Order 1 continues the image by its edge value, 3 and 5 by mirroring at the edge samples
        (as ITK does); positions further out than half a sample take the value at half a sample.
    sigma : standard deviation of a Gaussian in input samples, convolved exactly with the interpolated signal.
    work : float32 or float64.
    """
    work = np.dtype(work)
    exact = start + step * np.arange(outputs)
    whole = np.rint(exact)
    exact = np.where(np.abs(exact - whole) < 1e-9, whole, exact)
    positions = np.clip(exact, -0.5, inputs - 0.5)
    rows = _band_rows(positions, step, order, sigma, work)
    starts = range(0, outputs, rows)
    parts = [_band(positions[a : a + rows], inputs, order, sigma, work) for a in starts]
    advance = round(rows * step)
    first = min(part[0] - b * advance for b, part in enumerate(parts))
    reach = max(part[0] - b * advance - first + part[1].shape[1] for b, part in enumerate(parts))
    weights = np.zeros((len(parts), rows, reach), work)
    for b, (begin, part) in enumerate(parts):
        offset = begin - b * advance - first
        weights[b, : part.shape[0], offset : offset + part.shape[1]] = part
    return AxisOperator(inputs, outputs, weights, first, advance)


def _band_rows(positions: np.ndarray, step: float, order: int, sigma: float, work: np.dtype) -> int:
    """Rows per band that need the fewest multiplications; best where ``rows * step`` is nearly whole."""
    # How far weights reach, roughly: the spline or its prefilter, and the blur.
    decay = {1: 1e-9, 3: 0.268, 5: 0.431}[order]
    small = math.log(_SMALLEST_WEIGHT[work])
    reach = 1 + math.ceil(small / math.log(decay)) * (order > 1) + math.ceil(math.sqrt(-2 * small) * sigma)
    base, best = np.floor(positions).astype(int), (math.inf, 1)
    for rows in _BAND_ROWS:
        first = base[::rows]
        last = base[np.minimum(np.arange(len(first)) * rows + rows - 1, len(base) - 1)]
        drift = np.arange(len(first)) * round(rows * step)
        width = (last - drift).max() - (first - drift).min() + 2 * reach
        cost = len(first) * (-(-rows // _LANES) * _LANES * width + _CALL)
        best = min(best, (cost, rows))
    return best[1]


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


def _band(
    positions: np.ndarray, size: int, order: int, sigma: float, work: np.dtype
) -> tuple[int, np.ndarray]:
    """First input sample and weights (position, input sample) for a few neighbouring positions."""
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
    window[np.abs(window) <= _SMALLEST_WEIGHT[work]] = 0
    kept = np.flatnonzero(window.any(axis=1))
    window = window[kept[0] : kept[-1] + 1]
    return first + int(kept[0]), (window / window.sum(axis=0)).T


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
    if count == 1:  # older scipy takes any such matrix for a tridiagonal one
        return window / stored[half]
    return solve_banded((half, half), stored, window)
