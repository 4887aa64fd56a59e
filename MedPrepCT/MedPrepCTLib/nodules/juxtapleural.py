"""The lung as a field to search in: nodules on the pleura taken in, everything outside evened out.

A nodule that touches the chest wall is as dense as the wall, so a threshold leaves it outside the lung. A
closing of the lung with a ball takes it back in (Armato and Sensakovic, Automated lung segmentation for
thoracic CT, Acad Radiol 11(9), 2004). What lies outside the closed lung then gets the HU of lung, so that a
nodule on the pleura stands out against the wall as it does against the lung.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import label_values

from ..grid.coarse_grid import CoarseGrid
from ..grid.morphology import bounding_box, close
from ..grid.voxel_cells import FlatVolume, interpolate, neighbours

_CELL_MM = 1.6
_HALF = 128
# Beyond this nothing tells a nodule: air in bullae below, calcium and metal above.
LOWEST_HU, HIGHEST_HU = -1050, 200
_LUNG_HU = (-980, -600)
_USUAL_LUNG_HU = -860.0
# The border of the lung is a film of mixed voxels; what is denser there is tissue that was taken in.
_RIM_MM, _TISSUE_HU = 1.0, -400
_SLAB = 16


@dataclass(frozen=True)
class LungField:
    """The part of a scan that holds the lungs.

    Parameters
    ----------
    start : (k, j, i) of the first voxel in the scan.
    inside : bool (k, j, i), lung with what the closing took in.
    hu : int16 of the same shape, limited to [LOWEST_HU, HIGHEST_HU]; `lung_hu` outside.
    spacing_kji : mm.
    lung_hu : the median of aerated lung.
    """

    start: tuple[int, int, int]
    inside: np.ndarray
    hu: np.ndarray
    spacing_kji: tuple[float, float, float]
    lung_hu: float


def lung_field(
    hu: np.ndarray,
    labels: np.ndarray,
    excluded: Sequence[int],
    spacing_kji: Sequence[float],
    closing_mm: float,
    job: Job,
) -> LungField | None:
    """The field of the lungs; None when there is no lung.

    Parameters
    ----------
    hu : (k, j, i) Hounsfield units.
    labels : whole numbers or bool, the same shape. What has one value is closed by itself, so that the thin
        septum between two lungs stays outside; 0 is no lung.
    excluded : values that are no lung and never taken in (airway).
    closing_mm : radius of the ball; 0 leaves the lungs as they are.
    """
    if labels.dtype == bool:
        labels = labels.view(np.uint8)
    lungs = (labels != 0) & ~np.isin(labels, excluded) if len(excluded) else labels != 0
    spacing_kji = tuple(float(step) for step in spacing_kji)
    box = bounding_box(lungs, [int(2.0 / step) + 1 for step in spacing_kji])
    if box is None:
        return None
    inside = np.ascontiguousarray(lungs[box])
    job.report(0.1)
    if closing_mm > 0:
        _close(inside, labels[box], excluded, spacing_kji, closing_mm, job)
    job.report(0.6)
    part = hu[box]
    lung_hu = _median_of_lung(part, inside)
    filled = np.empty(inside.shape, np.int16)
    rim = [max(1, round(_RIM_MM / step)) for step in spacing_kji]
    for first in range(0, len(filled), _SLAB):
        job.report(0.7 + 0.3 * first / len(filled))
        last = min(first + _SLAB, len(filled))
        low, high = max(0, first - rim[0]), min(len(filled), last + rim[0])
        limited = np.rint(np.clip(part[low:high], LOWEST_HU, HIGHEST_HU)).astype(np.int16)
        film = inside[low:high] & _rim(inside, rim, low, high) & (limited < _TISSUE_HU)
        even = np.where(inside[low:high] & ~film, limited, round(lung_hu))
        _continue(even, inside[low:high], film, limited, rim)
        filled[first:last] = even[first - low : last - low]
    return LungField(tuple(span.start for span in box), inside, filled, spacing_kji, lung_hu)


def _rim(inside: np.ndarray, width: Sequence[int], first: int, last: int) -> np.ndarray:
    """Voxels of planes `first` to `last` that have no lung within `width` voxels along some axis."""
    low, high = max(0, first - width[0]), min(len(inside), last + width[0])
    slab = inside[low:high]
    outside = ~slab
    near = np.zeros(slab.shape, bool)
    for axis, reach in enumerate(width):
        for by in range(1, min(reach, slab.shape[axis] - 1) + 1):
            here, there = [slice(None)] * 3, [slice(None)] * 3
            here[axis], there[axis] = slice(by, None), slice(None, -by)
            near[tuple(here)] |= outside[tuple(there)]
            near[tuple(there)] |= outside[tuple(here)]
    return near[first - low : last - low]


def _continue(
    filled: np.ndarray, inside: np.ndarray, film: np.ndarray, values: np.ndarray, width: Sequence[int]
) -> None:
    """Give the film the mean HU of what lies right inside it, so that ground glass reaches up to the pleura.

    In place; never denser than it was, and lung where nothing lies inside.
    """
    film_at = np.flatnonzero(film)
    deep = (inside & ~film).reshape(-1)
    flat, total, count = (
        values.reshape(-1),
        np.zeros(len(film_at), np.int32),
        np.zeros(len(film_at), np.int32),
    )
    place = np.unravel_index(film_at, film.shape)
    for axis, (reach, stride) in enumerate(zip(width, np.array(film.strides), strict=True)):
        for by in range(-reach, reach + 1):
            there = film_at + by * int(stride)
            known = (place[axis] + by >= 0) & (place[axis] + by < film.shape[axis])
            there = np.where(known, there, film_at)
            used = deep[there]
            total += np.where(used, flat[there], 0)
            count += used
    found = count > 0
    film_at = film_at[found]
    filled.reshape(-1)[film_at] = np.minimum(total[found] / count[found], flat[film_at])


def _close(
    inside: np.ndarray, labels: np.ndarray, excluded: Sequence[int], spacing_kji, closing_mm: float, job: Job
) -> None:
    """Take in what a ball cannot reach from outside; in place. On cells, with their share of lung."""
    grid = CoarseGrid(inside.shape, spacing_kji, _CELL_MM)
    share = np.zeros(grid.shape, np.uint8)
    closed = np.zeros(grid.shape, np.uint8)
    sides = [value for value in label_values(labels) if value and value not in excluded]
    for n, value in enumerate(sides):
        here = job.part(0.1 + 0.4 * n / len(sides), 0.1 + 0.4 * (n + 1) / len(sides))
        side = (labels == value).view(np.uint8) * np.uint8(255)
        part = grid.mean(side, here.part(0.0, 0.5)).astype(np.uint8)
        share += part
        np.maximum(closed, close(part, closing_mm, grid.spacing_kji), out=closed)
        here.report(1.0)
    cells = np.argwhere((closed > share) & (closed >= _HALF // 2))
    if not len(cells):
        return
    flat = FlatVolume(inside)
    index, within = flat.voxels(cells, grid.factors)
    added = interpolate(neighbours(closed, cells), grid.factors) >= _HALF
    if within is not None:
        added &= within
    chosen = index[added]
    if len(excluded):
        chosen = chosen[~np.isin(np.ascontiguousarray(labels).reshape(-1)[chosen], excluded)]
    inside.reshape(-1)[chosen] = True


def _median_of_lung(part: np.ndarray, inside: np.ndarray) -> float:
    """Median HU of aerated lung, from every n-th voxel."""
    step = max(1, int((part.size / 2e6) ** (1 / 3)))
    thin = (slice(None, None, step),) * 3
    values = part[thin][inside[thin]]
    values = values[(values > _LUNG_HU[0]) & (values < _LUNG_HU[1])]
    return float(np.median(values)) if values.size else _USUAL_LUNG_HU
