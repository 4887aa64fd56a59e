"""Noise on the coarse grid: how much there is, and the grid with less of it.

Where voxels are as large as cells nothing averages their noise. What tells gas from lung, and bone from
tissue, is then looked at in the median of each cell's neighbourhood.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

# Below this noise the classes stay apart, and small structures are worth more.
_QUIET_HU = 28.0
_SOFT_HU = (-250, 250)
# Slices much thicker than cells are wide share too little with their neighbours.
_ANISOTROPIC = 1.8


def noise_of(coarse: np.ndarray, void: np.ndarray) -> float:
    """Standard deviation of the noise between neighbouring cells of soft tissue, HU; 0 without tissue."""
    soft = (coarse > _SOFT_HU[0]) & (coarse < _SOFT_HU[1]) & ~void
    both = soft[:, :, 1:] & soft[:, :, :-1]
    if np.count_nonzero(both) < 50:
        return 0.0
    step = coarse[:, :, 1:][both].astype(np.float32) - coarse[:, :, :-1][both]
    return float(1.4826 * np.median(np.abs(step)) / np.sqrt(2))


def calmed(coarse: np.ndarray, void: np.ndarray, spacing_kji: Sequence[float]) -> np.ndarray:
    """The grid itself where it is quiet, else the median of each 3 x 3 x 3 cells; (k, j, i)."""
    if noise_of(coarse, void) < _QUIET_HU:
        return coarse
    deep = 1 if spacing_kji[0] > _ANISOTROPIC * max(spacing_kji[1:]) or len(coarse) < 3 else 3
    calm = ndimage.median_filter(coarse, (deep, 3, 3), mode="nearest")
    calm[void] = coarse[void]
    return calm
