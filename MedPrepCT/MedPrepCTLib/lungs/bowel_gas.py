"""Bowel gas that a thin diaphragm could not keep apart from the lung on the coarse grid.

The stomach or the colon lies under the dome of the diaphragm; where both walls together are thinner than a
cell, their gas and the lung become one part. A pocket of gas is cut off when it opens to the lung only
through a window and the window is veiled by a wall. Bullae and emphysema lie within the lung and have
neither.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.job import Job

from ..grid.morphology import CROSS, bounding_box, dilate, erode

_GAS_HU = -940
_POCKET_MM, _POCKET_ML = 5.0, 4.0
# Share of a pocket's surface through which it may open to the lung, and by how much its window is denser
# than lung.
_WINDOW_SHARE, _VEIL_HU = 0.5, 60.0


def cut_off_gas(
    lung: np.ndarray, coarse: np.ndarray, spacing_kji: Sequence[float], separate, job: Job
) -> np.ndarray:
    """Cells of one aerated part that are bowel gas; bool (k, j, i).

    Parameters
    ----------
    lung : bool (k, j, i), the part. coarse : HU.
    separate : function (part, seeds, coarse) -> uint8, gives each cell of the part to seed 1 or 2.
    """
    gas = np.zeros_like(lung)
    dark = lung & (coarse < _GAS_HU)
    cell_ml = float(np.prod(spacing_kji)) / 1000
    total, amount = lung.sum(), dark.sum()
    # Nothing to cut in a normal lung; nothing to tell apart in a lung that is as dark as gas all over.
    if amount * cell_ml < _POCKET_ML or amount > 0.5 * total:
        return gas
    box = bounding_box(dark, [int(15.0 / step) + 2 for step in spacing_kji])
    part, hu = lung[box], coarse[box]
    bulky = erode(dark[box], _POCKET_MM, spacing_kji)
    pockets, count = ndimage.label(bulky, CROSS)
    normal = float(np.median(coarse[lung & ~dark]))
    step = 1.01 * max(spacing_kji[1:])
    for number in range(1, count + 1):
        job.check()
        core = dilate(pockets == number, _POCKET_MM, spacing_kji) & dark[box]
        if core.sum() * cell_ml < _POCKET_ML:
            continue
        rim = dilate(core, step, spacing_kji)
        window = dilate(rim, step, spacing_kji) & ~rim
        to_lung = window & part
        veil = (rim | to_lung) & part & ~core
        if (
            to_lung.sum() < _WINDOW_SHARE * window.sum()
            and to_lung.any()
            and float(hu[veil & dilate(to_lung, step, spacing_kji)].mean()) > normal + _VEIL_HU
        ):
            seeds = np.where(core, 2, 0).astype(np.uint8)
            seeds[part & ~dilate(core, 12.0, spacing_kji)] = 1
            gas[box] |= separate(part, seeds, hu) == 2
    return gas
