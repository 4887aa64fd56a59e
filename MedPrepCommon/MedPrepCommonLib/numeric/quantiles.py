"""Quantiles and histograms of a volume: exact counts for whole numbers of up to 16 bits, else by sorting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.errors import InputError
from ..core.i18n import _
from ..core.parallel import real_array

# Bins for values that are not whole numbers of up to 16 bits.
_BINS = 1 << 16
_SLAB = 1 << 20


def counts(array: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The values that occur, rising, and how often: exact for integers of up to 16 bits, else in 65536 bins.

    A bin stands for its middle; the lowest and the highest value stand for themselves.

    Parameters
    ----------
    array : integer or floating point, finite. mask : same shape, not zero inside; None is everywhere.

    Raises
    ------
    InputError
        when the mask is empty.
    """
    values = _chosen(array, mask)
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        low = int(np.iinfo(values.dtype).min)
        found = np.zeros(1 << (8 * values.dtype.itemsize), np.int64)
        for start in range(0, values.size, _SLAB):
            part = values[start : start + _SLAB].astype(np.int32) - low
            found += np.bincount(part, minlength=found.size)
        used = np.flatnonzero(found)
        return (used + low).astype(np.float64), found[used]
    lowest, high = float(values.min()), float(values.max())
    if lowest == high:
        return np.array([lowest]), np.array([values.size])
    found, edges = np.histogram(values, _BINS, (lowest, high))
    middles = (edges[:-1] + edges[1:]) / 2
    middles[0], middles[-1] = lowest, high
    used = np.flatnonzero(found)
    return middles[used], found[used]


def quantiles(array: np.ndarray, shares: Sequence[float], mask: np.ndarray | None = None) -> np.ndarray:
    """Quantiles at `shares` in [0, 1], as ``numpy.quantile`` gives them (linear between neighbours); float64.

    Parameters
    ----------
    array, mask : as for :func:`counts`.

    Raises
    ------
    InputError
        when the mask is empty.
    """
    values = _chosen(array, mask)
    place = np.asarray(shares, np.float64) * (values.size - 1)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, values.size - 1)
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        levels, found = counts(values)
        last = np.cumsum(found) - 1  # rank of each level's last voxel
        below, above = levels[np.searchsorted(last, low)], levels[np.searchsorted(last, high)]
    else:
        values = values.copy()
        values.partition(np.unique([low, high]))
        below, above = values[low].astype(np.float64), values[high].astype(np.float64)
    return below + (above - below) * (place - low)


def _chosen(array: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    array = real_array(array)
    values = array.reshape(-1) if mask is None else array[mask != 0]
    if values.size == 0:
        raise InputError(
            _("The mask is empty."),
            _("Expected at least one voxel inside."),
            _("Choose another mask, or none."),
        )
    return values
