"""Count, extremes, mean and standard deviation of a volume in one pass, over a few threads."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..core.errors import InputError
from ..core.i18n import _
from ..core.job import Job
from ..core.parallel import BLOCK, Crew, block_indices, memory_views, real_array


class Statistics(NamedTuple):
    """Of the finite voxels; `notFinite` are those left out because they are NaN or infinite."""

    count: int  # type: ignore[assignment]  # a tuple's own count is not needed
    notFinite: int
    minimum: float
    maximum: float
    mean: float
    standardDeviation: float


class _Moments(NamedTuple):
    count: int  # type: ignore[assignment]  # a tuple's own count is not needed
    notFinite: int
    minimum: float
    maximum: float
    first: float  # sum, or mean
    second: float  # sum of squares, or of squared deviations from the mean


def statistics(
    array: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    workers: int | None = None,
    job: Job | None = None,
) -> Statistics:
    """Count, extremes, mean and population standard deviation (divided by n) of the finite voxels.

    Integers of up to 16 bits are summed exactly. Otherwise each block's mean and squared deviations are
    combined by the update of Chan, Golub and LeVeque (1983) in a fixed order, whatever the threads.

    Parameters
    ----------
    array : integer or floating point, any shape and strides.
    mask : same shape; voxels where it is not zero are used. Default: all.
    workers : threads.

    Raises
    ------
    InputError : when no finite voxel is left, or the shapes differ.
    """
    array = real_array(array)
    mask = None if mask is None else np.asarray(mask)
    if mask is not None and mask.shape != array.shape:
        raise InputError(
            _("The mask has shape {mask}, the image {image}.").format(mask=mask.shape, image=array.shape),
            _("Expected the same shape."),
        )
    views = memory_views(array) if mask is None else memory_views(array, mask)
    pieces = block_indices(views[0].shape, BLOCK // 2)
    parts: dict[int, _Moments] = {}
    exact = array.dtype.kind in "iu" and array.dtype.itemsize <= 2

    def task(piece: int, worker: int) -> None:
        block = views[0][pieces[piece]]
        if mask is not None:
            block = block[views[1][pieces[piece]] != 0]
        parts[piece] = _block_moments(block, exact)

    with Crew(workers if len(pieces) > 1 else 1) as crew:
        crew.run(task, len(pieces), job)
    found = [parts[piece] for piece in range(len(pieces))]
    missing = sum(part.notFinite for part in found)
    used = [part for part in found if part.count]
    if not used:
        raise _nothing_finite(missing)
    count, mean, variance = _combined_exactly(used) if exact else _combined(used)
    lowest, highest = min(part.minimum for part in used), max(part.maximum for part in used)
    return Statistics(count, missing, lowest, highest, mean, math.sqrt(variance))


def extremes(
    array: np.ndarray,
    *,
    without: float | None = None,
    workers: int | None = None,
    job: Job | None = None,
) -> tuple[float, float]:
    """Smallest and largest finite value; several times faster than :func:`statistics`.

    Parameters
    ----------
    array : integer or floating point, any shape and strides.
    without : a value (of padding) that does not count.
    workers : threads.

    Raises
    ------
    InputError : when no voxel is finite and counts.
    """
    array = real_array(array)
    (view,) = memory_views(array)
    pieces = block_indices(view.shape)
    found: list[tuple[float, float]] = [(math.inf, -math.inf)] * len(pieces)

    def task(piece: int, worker: int) -> None:
        block = view[pieces[piece]]
        low, high = block.min(), block.max()
        if block.dtype.kind == "f" and not (np.isfinite(low) and np.isfinite(high)):
            block = block[np.isfinite(block)]
            low, high = (block.min(), block.max()) if block.size else (np.inf, -np.inf)
        if without is not None and low == without:
            # Only what lies at the end matters. Replacing is several times faster than picking the others.
            low = np.where(block == without, high, block).min()
        if without is not None and high == without:
            high = np.where(block == without, low, block).max()
        if block.size and not (low == high == without):
            found[piece] = float(low), float(high)

    with Crew(workers if len(pieces) > 1 else 1) as crew:
        crew.run(task, len(pieces), job)
    low = min((part[0] for part in found), default=math.inf)
    high = max((part[1] for part in found), default=-math.inf)
    if low > high:
        raise _nothing_finite(array.size)
    return low, high


def _nothing_finite(missing: int) -> InputError:
    return InputError(
        _("There is no finite voxel to measure ({n} are NaN or infinite).").format(n=missing),
        _("Expected at least one."),
        _("Check the image, or the mask."),
    )


def _block_moments(block: np.ndarray, exact: bool) -> _Moments:
    value = block.astype(np.float64, order="C").reshape(-1)
    missing = 0
    if block.dtype.kind == "f":
        with np.errstate(invalid="ignore", over="ignore"):
            suspicious = value.size and not math.isfinite(float(value.sum()))
        if suspicious:
            finite = value[np.isfinite(value)]
            missing, value = value.size - finite.size, finite
    if value.size == 0:
        return _Moments(0, missing, math.inf, -math.inf, 0.0, 0.0)
    extremes = block if missing == 0 else value
    lowest, highest = float(extremes.min()), float(extremes.max())
    first = float(value.sum()) if exact else float(value.mean())
    if not exact:
        value -= first
    value *= value
    # Sums of squares of 2^17 integers of 16 bits stay below 2^53: float64 holds them without rounding.
    return _Moments(value.size, missing, lowest, highest, first, float(value.sum()))


def _combined_exactly(parts: list[_Moments]) -> tuple[int, float, float]:
    count = sum(part.count for part in parts)
    first, second = sum(int(part.first) for part in parts), sum(int(part.second) for part in parts)
    return count, first / count, (count * second - first * first) / (count * count)


def _combined(parts: list[_Moments]) -> tuple[int, float, float]:
    count, mean, squares = 0, 0.0, 0.0
    for part in parts:
        step, total = part.first - mean, count + part.count
        mean += step * part.count / total
        squares += part.second + step * step * count * part.count / total
        count = total
    return count, mean, squares / count
