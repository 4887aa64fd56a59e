"""Clipping and linear maps of whole volumes, in blocks that fit the processor's cache, over a few threads.

Exactness. A map is defined by its float64 formula; integer results are rounded half up, ``floor(y + 0.5)``.
For images of 8 or 16 bits a faster float32 way is taken only after it was seen to give the same output for
*every* value that the type can hold, so the fast result is the float64 result.

NaN. A floating-point result keeps NaN; in an integer result NaN becomes `out_low`. It counts neither as below
nor as above.

Memory. Results are laid out in memory like their input, as numpy's own functions do. No volume is copied as a
whole; arrays with gaps are read block by block.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..core.errors import ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.parallel import Crew, block_indices, memory_views, real_array
from .block_plan import ClipPlan, Plan, fast_plans, proven_plan, reference_plan


class Mapped(NamedTuple):
    """A mapped image, how many voxels lay outside the input range, and how many had one value counted apart.

    What was not asked for is ``None``.
    """

    array: np.ndarray
    below: int | None
    above: int | None
    apart: int | None = None


def linear_map(
    array: np.ndarray,
    low: float,
    high: float,
    out_low: float = 0.0,
    out_high: float = 1.0,
    *,
    dtype: np.dtype | type = np.float32,
    clip: bool = True,
    count: bool = False,
    workers: int | None = None,
    job: Job | None = None,
) -> Mapped:
    """Map [low, high] to [out_low, out_high]: ``out_low + (x - low) * (out_high - out_low) / (high - low)``.

    Parameters
    ----------
    array : integer or floating point, any shape and strides; NaN and infinity allowed.
    low, high : input range; finite, may be fractional and outside the array's type. With ``low == high`` and
        `clip` the map is a step: x <= low gives out_low, x > low gives out_high.
    out_low, out_high : output range; the larger may come first (inversion).
    dtype : type of the result; integers are rounded half up, ``floor(y + 0.5)``.
    clip : limit the result to the output range; without it an integer result is limited to its type's range.
    count : count the voxels below `low` and above `high` in the same pass.
    workers : threads; the result does not depend on it.

    Returns
    -------
    Mapped : (array, below, above).

    References
    ----------
    DICOM PS3.3 C.11.2.1.2.1 (LINEAR) is this map from c - 0.5 - (w - 1) / 2 to c - 0.5 + (w - 1) / 2,
    C.11.2.1.3.2 (LINEAR_EXACT) from c - w / 2 to c + w / 2.
    """
    array, dtype = real_array(array), np.dtype(dtype)
    low, high = _checked_bounds(low, high)
    start, stop = float(out_low), float(out_high)
    if not all(map(math.isfinite, (low, high, start, stop))) or start == stop or (low == high and not clip):
        raise ParameterError(
            _("The range {low} to {high} cannot be mapped to {start} to {stop}.").format(
                low=low, high=high, start=start, stop=stop
            ),
            _("Expected two finite ranges whose ends differ."),
        )
    if dtype.kind in "iu" and clip:
        info = np.iinfo(dtype)
        if min(start, stop) < info.min or max(start, stop) > info.max:
            raise ParameterError(
                _("The output range {start} to {stop} does not fit into {type}.").format(
                    start=start, stop=stop, type=dtype
                ),
                _("Expected values within {low} to {high}.").format(low=info.min, high=info.max),
            )
    span, extent = high - low, stop - start
    if span == 0:  # a step: the steepest ramp of float64
        span = math.nextafter(low, math.inf) - low
    plan = reference_plan(dtype, low, span, start, extent, clip)
    if array.dtype.kind in "iu" and array.dtype.itemsize <= 2 and array.size > 65536 and span > 1e-3:
        native = array.dtype.newbyteorder("=")
        plan = proven_plan(native, dtype, plan, fast_plans(native, plan, low, span, start, extent))
    return _apply(array, plan, dtype, _counter(array.dtype, low, high) if count else None, workers, job)


def standardize(
    array: np.ndarray,
    mean: float,
    standard_deviation: float,
    *,
    dtype: np.dtype | type = np.float32,
    workers: int | None = None,
    job: Job | None = None,
) -> np.ndarray:
    """``(x - mean) / standard_deviation``, computed in float64, stored as the floating-point `dtype`."""
    array, dtype = real_array(array), np.dtype(dtype)
    mean, deviation = float(mean), float(standard_deviation)
    if not (math.isfinite(mean) and math.isfinite(deviation) and deviation > 0):
        raise ParameterError(
            _("The mean is {mean}, the standard deviation {deviation}.").format(
                mean=mean, deviation=deviation
            ),
            _("Expected finite values and a standard deviation above zero."),
            _("An image of one single value cannot be standardized."),
        )
    return _apply(
        array, reference_plan(dtype, mean, deviation, 0.0, 1.0, clip=False), dtype, None, workers, job
    ).array


def clip(
    array: np.ndarray,
    low: float,
    high: float,
    *,
    count: bool = False,
    apart: float | None = None,
    workers: int | None = None,
    job: Job | None = None,
) -> Mapped:
    """Limit values to [low, high]; the type stays.

    Parameters
    ----------
    array : integer or floating point, any shape and strides. NaN stays NaN.
    low, high : bounds; may be infinite, fractional, or outside the array's type. For an integer image the
        result is the limited value rounded half up: a lower bound of -1350.5 gives -1350.
    count : count the voxels below `low` and above `high` in the same pass.
    apart : with `count`, a value (of padding) whose voxels are counted too; they stay below or above as well.
    workers : threads; the result does not depend on it.

    Returns
    -------
    Mapped : (array, below, above, apart).
    """
    array = real_array(array)
    low, high = _checked_bounds(low, high)
    native = array.dtype.newbyteorder("=")
    if native.kind == "f":
        with np.errstate(over="ignore"):
            bounds = native.type(low), native.type(high)
    else:
        bounds = native.type(_half_up(low, native)), native.type(_half_up(high, native))
    counter = _counter(native, low, high) if count else None
    return _apply(array, ClipPlan(bounds), native, counter, workers, job, apart)


def _checked_bounds(low: float, high: float) -> tuple[float, float]:
    low, high = float(low), float(high)
    if math.isnan(low) or math.isnan(high) or low > high:
        raise ParameterError(
            _("The range is {low} to {high}.").format(low=low, high=high),
            _("Expected a lower bound that is not above the upper bound."),
        )
    return low, high


def _half_up(value: float, dtype: np.dtype) -> int:
    """`value` rounded half up and limited to what the integer type holds."""
    info = np.iinfo(dtype)
    return int(min(max(math.floor(value + 0.5) if math.isfinite(value) else value, info.min), info.max))


def _counter(dtype: np.dtype, low: float, high: float) -> Callable[[np.ndarray, np.ndarray], tuple[int, int]]:
    """A function that counts exactly a block's values < low and > high, comparing in the block's own type."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            lower, upper = dtype.type(low), dtype.type(high)
        if float(lower) < low:  # x < low  <=>  x < the next value of the type
            lower = np.nextafter(lower, dtype.type(np.inf))
        if float(upper) > high:
            upper = np.nextafter(upper, dtype.type(-np.inf))
    else:
        info = np.iinfo(dtype)
        first = math.ceil(low) if math.isfinite(low) else low  # x < low  <=>  x < ceil(low)
        last = math.floor(high) if math.isfinite(high) else high
        if first > info.max:
            return lambda block, flags: (block.size, 0)
        if last < info.min:
            return lambda block, flags: (0, block.size)
        lower, upper = dtype.type(int(max(first, info.min))), dtype.type(int(min(last, info.max)))

    def count(block: np.ndarray, flags: np.ndarray) -> tuple[int, int]:
        np.less(block, lower, out=flags)
        below = int(np.count_nonzero(flags))
        np.greater(block, upper, out=flags)
        return below, int(np.count_nonzero(flags))

    return count


def _apply(
    array: np.ndarray,
    plan: Plan | ClipPlan,
    dtype: np.dtype,
    counter: Callable | None,
    workers: int | None,
    job: Job | None,
    apart: float | None = None,
) -> Mapped:
    result = np.empty_like(array, dtype=dtype, order="K", subok=False)
    source, target = memory_views(array, result)
    pieces = block_indices(source.shape)
    size = max((source[piece].size for piece in pieces[:1]), default=0)
    below, above, equal = [0] * len(pieces), [0] * len(pieces), [0] * len(pieces)
    with Crew(workers if len(pieces) > 1 else 1) as crew:
        scratch: list[dict | None] = [None] * crew.size

        def task(piece: int, worker: int) -> None:
            own = scratch[worker]
            if own is None:
                own = scratch[worker] = plan.scratch(array.dtype.newbyteorder("="), dtype, size)
                own["flags"] = np.empty(size if counter is not None else 0, bool)
            block = source[pieces[piece]]
            if counter is not None:
                flags = own["flags"][: block.size].reshape(block.shape)
                below[piece], above[piece] = counter(block, flags)
                if apart is not None:
                    equal[piece] = int(np.count_nonzero(np.equal(block, apart, out=flags)))
            plan.run(block, target[pieces[piece]], own)

        crew.run(task, len(pieces), job)
    if counter is None:
        return Mapped(result, None, None)
    return Mapped(result, sum(below), sum(above), None if apart is None else sum(equal))
