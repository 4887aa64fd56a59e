"""Integers in no more bytes than their values need, and fractions rounded to them."""

from __future__ import annotations

import numpy as np


def smallest_integers(array: np.ndarray) -> np.ndarray:
    """Integers wider than 16 bits in the narrowest of int16, uint16, int32, uint32 that holds every value."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize <= 2 or array.size == 0:
        return array
    low, high = int(array.min()), int(array.max())
    for dtype in (np.int16, np.uint16, np.int32, np.uint32):
        limits = np.iinfo(dtype)
        if limits.min <= low and high <= limits.max:
            return array.astype(dtype, copy=False)
    return array


def work_type(dtype: np.dtype) -> np.dtype:
    """The floating-point type to compute in: float32 where it holds every value of `dtype`, else float64.

    Float32 holds integers of up to 24 bits.
    """
    narrow = dtype == np.float32 or (dtype.kind in "iu" and dtype.itemsize <= 2)
    return np.dtype(np.float32 if narrow else np.float64)


def put_rounded(values: np.ndarray, out: np.ndarray) -> None:
    """Write floating-point `values` to `out`: rounded half up and limited if its type is whole numbers.

    Overwrites `values`.
    """
    if out.dtype.kind in "iu":
        limits = np.iinfo(out.dtype)
        values += 0.5
        np.floor(values, out=values)
        # The largest value of a wide type may not be one of the floating type: the next lower one is.
        highest = values.dtype.type(limits.max)
        if float(highest) > limits.max:
            highest = np.nextafter(highest, values.dtype.type(0))
        np.clip(values, limits.min, highest, out=values)
    out[...] = values
