"""Dense regions of a lung, above a threshold or of a dense class, as places to look for nodules.

Erosion with ever larger balls takes vessels apart first and leaves the thick middle of what is left (the
ultimate erosion of mathematical morphology); each small piece that remains is a place to look.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.job import Job

from ..grid.coarse_grid import CoarseGrid
from ..grid.morphology import CROSS, erode
from .blobs import Seeds
from .fuzzy_c_means import fuzzy_c_means
from .juxtapleural import HIGHEST_HU, LOWEST_HU, LungField

_CELL_MM = 1.2
# Solid tissue with its blurred border; ground glass.
THRESHOLDS_HU = (-450.0, -700.0)
_CLASSES = 4
_STEP = 1.4
# The ball that erodes, relative to the nodule looked for; and how fine the grid is on which it does.
_ERODED, _CELLS_PER_RADIUS = 0.55, 4.0
_MOST_OF_A_SIZE = 400
# A piece may be this much larger than a ball of the size looked for.
_LARGEST = 3.0


def threshold_seeds(field: LungField, diameters_mm: tuple[float, float], job: Job) -> Seeds:
    """Places above fixed thresholds for solid tissue and ground glass."""
    values = np.arange(LOWEST_HU, HIGHEST_HU + 1)
    return _seeds(field, [values > threshold for threshold in THRESHOLDS_HU], diameters_mm, job)


def fuzzy_seeds(field: LungField, diameters_mm: tuple[float, float], job: Job) -> Seeds:
    """Places whose density belongs to the denser classes of this lung more than to the aerated ones."""
    grid = CoarseGrid(field.hu.shape, field.spacing_kji, _CELL_MM)
    level = grid.mean(field.hu, job.part(0.0, 0.1))
    inside = grid.mean(field.inside.view(np.uint8), job.part(0.1, 0.2)) > 0
    counts = np.bincount(level[inside].astype(np.int64) - LOWEST_HU, minlength=HIGHEST_HU - LOWEST_HU + 1)
    values = np.arange(LOWEST_HU, HIGHEST_HU + 1)
    if np.count_nonzero(counts) < _CLASSES:
        # Lung of one density: there is nothing to find.
        return _seeds(field, [], diameters_mm, job)
    centres, share = fuzzy_c_means(values, counts, _CLASSES)
    dense = [(share[first:].sum(axis=0) > 0.5) & (values > centres[0]) for first in (_CLASSES - 2, 1)]
    return _seeds(field, dense, diameters_mm, job.part(0.2, 1.0))


def _seeds(field: LungField, dense: Sequence[np.ndarray], diameters_mm, job: Job) -> Seeds:
    """The middle of each piece that is left by an erosion, for balls of every size.

    Parameters
    ----------
    dense : for each kind of tissue, bool per HU from LOWEST_HU on.
    """
    low, high = (diameter / 2 for diameter in diameters_mm)
    radii = low * _STEP ** np.arange(max(1, int(np.ceil(np.log(high / low) / np.log(_STEP)))) + 1)
    found = [(np.empty((0, 3)), np.empty(0), np.empty(0), np.empty(0))]
    level, cell = None, 0.0
    for n, radius in enumerate(radii if dense else ()):
        here = job.part(n / len(radii), (n + 1) / len(radii))
        wanted = max(_CELL_MM, radius / _CELLS_PER_RADIUS)
        if level is None or wanted > 1.6 * cell:
            grid = CoarseGrid(field.hu.shape, field.spacing_kji, wanted)
            level, cell = grid.mean(field.hu, here.part(0.0, 0.3)), wanted
        for m, tissue in enumerate(dense):
            here.report(0.3 + 0.7 * m / len(dense))
            ball = _ERODED * radius
            left = erode(tissue[level - LOWEST_HU], ball, grid.spacing_kji)
            here.check()
            found.append(_pieces(left, grid, radius, ball))
    return Seeds(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _pieces(left: np.ndarray, grid: CoarseGrid, radius: float, ball: float):
    """Centre, radius, strength and roundness of the pieces as small as a nodule's middle."""
    labels, count = ndimage.label(left, CROSS)
    volume = np.bincount(labels.ravel(), minlength=count + 1)[1:] * grid.cell_mm3
    most = _LARGEST * max(4 / 3 * np.pi * radius**3, grid.cell_mm3)
    chosen = np.flatnonzero(volume <= most)
    chosen = chosen[np.argsort(-volume[chosen], kind="stable")][:_MOST_OF_A_SIZE]
    if not len(chosen):
        return np.empty((0, 3)), np.empty(0), np.empty(0), np.empty(0)
    cells = np.array(ndimage.center_of_mass(left, labels, chosen + 1)).reshape(-1, 3)
    factors = np.array(grid.factors)
    centre = ((cells + 0.5) * factors - 0.5) * (np.array(grid.spacing_kji) / factors)
    size = ball + np.cbrt(volume[chosen] * 3 / (4 * np.pi))
    # These know no Hessian; a middling roundness leaves the judgement to the rays.
    return (
        centre,
        np.clip(size, 0.6 * radius, 1.6 * radius),
        np.full(len(chosen), 300.0),
        np.full(len(chosen), 0.6),
    )
