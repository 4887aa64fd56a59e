"""Histograms of any values, whatever their range."""

from __future__ import annotations

import numpy as np


def counted(
    values: np.ndarray,
    bins: int,
    limits: tuple[float, float] | None = None,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """``np.histogram`` that widens a range too narrow for its bins, as of a constant or of tiny values."""
    values = np.asarray(values, np.float64)
    low, high = limits or (float(values.min()), float(values.max()))
    least = bins * 4 * float(np.spacing(max(abs(low), abs(high), 1e-290)))
    if not high - low > least:
        middle, half = (low + high) / 2, max(0.5, least)
        low, high = middle - half, middle + half
    return np.histogram(values, bins, (low, high), weights=weights)
