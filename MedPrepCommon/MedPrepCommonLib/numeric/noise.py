"""How noisy an image is: a robust estimate from its finest detail."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from ..core.errors import InputError
from ..core.i18n import _

# Median of |x| of a standard normal distribution.
_MEDIAN = 0.6744897501960817
# Share of the range of contrast below which there is no signal: air in CT, background in MRI.
_SIGNAL = 0.1
# Pixels that are looked at, and width of the windows within which detail is averaged.
_SAMPLE, _WINDOW = 1 << 20, 7
# Windows that are enough to go by, and how much more than the noise an even one may deviate.
_ENOUGH, _EVEN = 1000, 1.2
# Steps of the histogram's logarithm, and its smoothing in steps.
_STEP, _SMOOTH = 0.05, 2.0


def noise_level(array: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """Standard deviation of the noise, in the image's unit.

    From the diagonal Haar detail within the planes of the finest pixels, in which edges along rows and
    columns cancel: the smaller of its median absolute value over 0.6745 (Donoho and Johnstone, Biometrika
    81(3), 1994) and of the most frequent local deviation (the mode that CT's global noise level takes,
    Christianson et al., AJR 205, 2015). Structure raises both, each in other images. Left out: places without
    signal (below a tenth of the range of contrast) and those of one single value (padding, clipped air).

    Parameters
    ----------
    array : (k, j, i), finite. spacing : mm along k, j, i.

    Returns
    -------
    float : 0 for an image without noise.

    Raises
    ------
    InputError
        for a plane of less than 3 x 3 pixels.
    """
    planes = _planes(array, spacing)
    detail, used = _detail(planes), _used(planes)
    level = float(np.median(np.abs(detail[used])) / _MEDIAN)
    deviation, whole = _local(detail, used)
    return level if np.count_nonzero(whole) < _ENOUGH else min(level, _mode(deviation[whole]))


def noise_left(
    before: np.ndarray, after: np.ndarray, spacing: tuple[float, float, float], level: float
) -> float:
    """Standard deviation of the noise that a filter has left, where `before` was even.

    There, local detail deviates by no more than 1.2 of `level`, the noise of `before`; in an image of few
    such places, everywhere. A measure of `after` alone would take its structure for noise.

    Parameters
    ----------
    before, after : (k, j, i), of one shape. spacing : mm along k, j, i.
    """
    planes = _planes(before, spacing)
    detail, used = _detail(planes), _used(planes)
    deviation, whole = _local(detail, used)
    even = whole & (deviation <= _EVEN * level)
    chosen = even if np.count_nonzero(even) >= _ENOUGH else used
    left = _detail(_planes(after, spacing))
    return level * float(np.sqrt(np.square(left[chosen]).mean() / np.square(detail[chosen]).mean()))


def _planes(array: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Some of the planes of the finest pixels, float64; of a plane too large by itself, the middle."""
    view = np.moveaxis(array, across_planes(array.shape, spacing), 0)
    if min(view.shape[1:]) < 3:
        raise InputError(
            _("The image has {shape} pixels in a plane.").format(shape=" x ".join(map(str, view.shape[1:]))),
            _("Expected at least 3 x 3, to tell noise from structure."),
            _("Give the noise level."),
        )
    if view[0].size > _SAMPLE:
        side = math.ceil(math.sqrt(_SAMPLE))
        first = [max(0, (n - side) // 2) for n in view.shape[1:]]
        view = view[:, first[0] : first[0] + side, first[1] : first[1] + side]
    return view[:: min(len(view), max(1, math.ceil(view.size / _SAMPLE)))].astype(np.float64)


def _corners(planes: np.ndarray) -> tuple[np.ndarray, ...]:
    return planes[:, :-1, :-1], planes[:, 1:, :-1], planes[:, :-1, 1:], planes[:, 1:, 1:]


def _detail(planes: np.ndarray) -> np.ndarray:
    """Diagonal Haar detail of each 2 x 2 pixels."""
    a, b, c, d = _corners(planes)
    return (a - b - c + d) / 2


def _used(planes: np.ndarray) -> np.ndarray:
    """Where there is signal, and not one single value."""
    a, b, c, d = _corners(planes)
    low, high = np.quantile(planes, (0.01, 0.99))
    used = ((a + b + c + d) / 4 > low + _SIGNAL * (high - low)) & ~((a == b) & (b == c) & (c == d))
    return used if np.count_nonzero(used) >= 0.02 * used.size else np.ones(used.shape, bool)


def _local(detail: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Local deviation of the detail, and the windows that lie in `used` as a whole."""
    squares = ndimage.uniform_filter(np.square(detail), (0, _WINDOW, _WINDOW))
    whole = ndimage.minimum_filter(used, (1, _WINDOW, _WINDOW)) & (squares > 0)
    return np.sqrt(np.maximum(squares, 0.0)), whole


def _mode(values: np.ndarray) -> float:
    """The most frequent of positive values, on a logarithmic scale."""
    logs = np.log(values)
    counts, edges = np.histogram(logs, np.arange(logs.min() - _STEP, logs.max() + 2 * _STEP, _STEP))
    highest = int(ndimage.gaussian_filter1d(counts.astype(np.float64), _SMOOTH).argmax())
    return float(np.exp((edges[highest] + edges[highest + 1]) / 2))


def across_planes(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> int:
    """The axis across the planes: of one voxel, else of the largest spacing (the first of equals)."""
    flat = [axis for axis, n in enumerate(shape) if n == 1]
    return flat[0] if flat else int(np.argmax(np.round(spacing, 6)))
