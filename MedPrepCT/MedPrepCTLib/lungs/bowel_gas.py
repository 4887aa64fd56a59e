"""Gas in the same piece as a lung that is none of it: bowel behind a thin diaphragm, and gas in the pleura.

The stomach or the colon lies under the dome of the diaphragm; where both walls together are thinner than a
cell, their gas and the lung become one part. A pocket of gas is cut off when it opens to the lung only
through a window. Bullae and emphysema lie within the lung and have no wall. A pocket without any vessel, as
dark as the air of the room and larger than bullae are, is cut off wherever it lies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.job import Job

from ..grid.morphology import CROSS, bounding_box, connected_to, dilate, erode

_GAS_HU = -940
_POCKET_MM, _POCKET_ML = 5.0, 4.0
# How far around its core a pocket goes on, up to half way to the density of the lung.
_REACH_MM = 8.0
# Where more of the lung than this is as dark as that (emphysema), gas must be within so many HU of room air.
_DARK_LUNG, _EMPHYSEMA_HU = 0.3, 16.0
# Share of a pocket's surface through which it may open to the lung.
_WINDOW_SHARE = 0.4
# A pocket without vessels: its size, how near to the air of the room, how much of it is within so many HU.
_EMPTY_ML, _AIR_HU, _EVEN_HU, _EVEN_SHARE = 60.0, 12.0, 25.0, 0.85


def cut_off_gas(
    lung: np.ndarray, coarse: np.ndarray, air_hu: float, spacing_kji: Sequence[float], separate, job: Job
) -> np.ndarray:
    """Cells of one aerated part that are gas outside the lung; bool (k, j, i).

    Parameters
    ----------
    lung : bool (k, j, i), the part. coarse : HU. air_hu : HU of the air of the room.
    separate : function (part, seeds, coarse) -> uint8, gives each cell of the part to seed 1 or 2.
    """
    gas = np.zeros_like(lung)
    dark = lung & (coarse < _GAS_HU)
    cell_ml = float(np.prod(spacing_kji)) / 1000
    # Nothing to cut in a normal lung.
    if dark.sum() * cell_ml < _POCKET_ML:
        return gas
    box = bounding_box(dark, [int(15.0 / step) + 2 for step in spacing_kji])
    part, hu = lung[box], coarse[box]
    bulky = erode(dark[box], _POCKET_MM, spacing_kji) & dark[box]
    pockets, count = ndimage.label(bulky, CROSS)
    rest = lung & ~dark
    normal = float(np.median(coarse[rest])) if rest.any() else _GAS_HU
    spans = ndimage.find_objects(pockets)
    margin = [int((_POCKET_MM + _REACH_MM + 12.0) / step) + 3 for step in spacing_kji]
    for number, span in enumerate(spans, start=1):
        job.check()
        around = tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(span, margin, strict=True))
        here, values = part[around], hu[around]
        core = dilate(pockets[around] == number, _POCKET_MM, spacing_kji) & dark[box][around]
        if core.sum() * cell_ml < _POCKET_ML:
            continue
        if dark.sum() > _DARK_LUNG * lung.sum() and np.median(values[core]) > air_hu + _EMPHYSEMA_HU:
            continue
        core = _whole(core, here, values, normal, spacing_kji)
        if _is_walled(core, here, spacing_kji) or _is_empty(core, values, air_hu, cell_ml):
            seeds = np.where(core, 2, 0).astype(np.uint8)
            seeds[here & ~dilate(core, 12.0, spacing_kji)] = 1
            gas[box][around] |= separate(here, seeds, values) == 2
    return gas


def _whole(core, lung, hu, normal: float, spacing_kji) -> np.ndarray:
    """The pocket with its rim: what is nearer to gas than to lung, within reach of its core."""
    half_way = 0.5 * (float(np.median(hu[core])) + normal)
    return connected_to(lung & (hu < half_way) & dilate(core, _REACH_MM, spacing_kji), core)


def _is_walled(core, lung, spacing_kji) -> bool:
    """Whether a pocket opens to the lung through a window only."""
    step = 1.01 * max(spacing_kji[1:])
    rim = dilate(core, step, spacing_kji)
    window = dilate(rim, step, spacing_kji) & ~rim
    return bool((window & lung).sum() < _WINDOW_SHARE * window.sum())


def _is_empty(core, hu, air_hu: float, cell_ml: float) -> bool:
    """Whether a pocket is as dark as air and holds no vessel."""
    if core.sum() * cell_ml < _EMPTY_ML:
        return False
    inner = erode(core, 1.0, (1.0, 1.0, 1.0)) & core
    values = hu[inner]
    if values.size * 4 < core.sum():
        return False
    middle = float(np.median(values))
    return middle < air_hu + _AIR_HU and float((np.abs(values - middle) < _EVEN_HU).mean()) > _EVEN_SHARE
