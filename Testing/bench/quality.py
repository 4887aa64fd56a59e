"""Figures that say how right a result is, computed slab by slab so that they need little memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

_SLAB = 16


def largest_difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest absolute difference; infinite when the shapes differ."""
    if found.shape != wanted.shape:
        return math.inf
    largest = 0.0
    for k in range(0, len(found), _SLAB):
        part = found[k : k + _SLAB].astype(np.float64) - wanted[k : k + _SLAB]
        largest = max(largest, float(np.abs(part).max(initial=0.0)))
    return largest


def mean_difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Mean absolute difference of arrays of one shape."""
    total = 0.0
    for k in range(0, len(found), _SLAB):
        part = found[k : k + _SLAB].astype(np.float64) - wanted[k : k + _SLAB]
        total += float(np.abs(part, out=part).sum())
    return total / found.size


def psnr(found: np.ndarray, wanted: np.ndarray, peak: float) -> float:
    """Peak signal-to-noise ratio in dB; minus infinity when the shapes differ."""
    if found.shape != wanted.shape:
        return -math.inf
    total = 0.0
    for k in range(0, len(found), _SLAB):
        part = found[k : k + _SLAB].astype(np.float64) - wanted[k : k + _SLAB]
        total += float(np.square(part, out=part).sum())
    return math.inf if total == 0 else 10 * math.log10(peak * peak * found.size / total)


def dice(found: np.ndarray, wanted: np.ndarray) -> float:
    """Dice coefficient of two masks; 0 when the shapes differ, 1 when both are empty."""
    if found.shape != wanted.shape:
        return 0.0
    both = total = 0
    for k in range(0, len(found), _SLAB):
        one, other = found[k : k + _SLAB] != 0, wanted[k : k + _SLAB] != 0
        both += int(np.count_nonzero(one & other))
        total += int(np.count_nonzero(one)) + int(np.count_nonzero(other))
    return 2 * both / total if total else 1.0


def value_table(formula: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What `formula` gives for each int16 value, in the order in which uint16 counts their bits."""
    return formula(np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.float64))


def largest_difference_from_table(found: np.ndarray, image: np.ndarray, table: np.ndarray) -> float:
    """Largest difference of `found` from the table's value of each voxel of the int16 `image`."""
    if found.shape != image.shape:
        return math.inf
    largest = 0.0
    for k in range(0, len(found), _SLAB):
        wanted = table.take(image[k : k + _SLAB].view(np.uint16))
        largest = max(largest, float(np.abs(found[k : k + _SLAB] - wanted).max(initial=0.0)))
    return largest
