"""Integers in no more bytes than their values need."""

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
