"""Dense regions of a lung, above a threshold or of a dense class, as places to look for nodules.

Erosion with ever larger balls takes vessels apart first and leaves the thick middle of what is left (the
ultimate erosion of mathematical morphology); each small piece that remains is a place to look.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.job import Job

from .blobs import Seeds
from .coarsegrid import CoarseGrid
from .fuzzycmeans import fuzzy_c_means, membership
from .juxtapleural import HIGHEST_HU, LOWEST_HU, LungField
from .morphology import CROSS, erode

_CELL_MM = 1.2
# Solid tissue with its blurred border; ground glass.
THRESHOLDS_HU = (-450.0, -700.0)
_CLASSES = 4
_STEP = 1.4
_MOST_OF_A_SIZE = 400
# A piece may be this much larger than a ball of the size looked for.
_LARGEST = 3.0


def threshold_seeds(field: LungField, diameters_mm: tuple[float, float], job: Job) -> Seeds:
    """Places above fixed thresholds for solid tissue and ground glass."""
    level, grid = _level(field, job.part(0.0, 0.2))
    masks = [level > threshold for threshold in THRESHOLDS_HU]
    return _seeds(masks, grid, diameters_mm, job.part(0.2, 1.0))


def fuzzy_seeds(field: LungField, diameters_mm: tuple[float, float], job: Job) -> Seeds:
    """Places whose density belongs to the denser classes of this lung more than to the aerated ones."""
    level, grid = _level(field, job.part(0.0, 0.2))
    inside = level[grid.mean(field.inside.view(np.uint8) * np.uint8(2), job.part(0.2, 0.3)) > 0]
    counts = np.bincount(inside.astype(np.int64) - LOWEST_HU, minlength=HIGHEST_HU - LOWEST_HU + 1)
    values = np.arange(LOWEST_HU, LOWEST_HU + len(counts))
    centres, _share = fuzzy_c_means(values, counts, _CLASSES)
    share = membership(values, centres)
    masks = []
    for first in (_CLASSES - 2, 1):
        dense = (share[first:].sum(axis=0) > 0.5) & (values > centres[0])
        masks.append(dense[level - LOWEST_HU])
    return _seeds(masks, grid, diameters_mm, job.part(0.3, 1.0))


def _level(field: LungField, job: Job) -> tuple[np.ndarray, CoarseGrid]:
    grid = CoarseGrid(field.hu.shape, field.spacing_kji, _CELL_MM)
    return grid.mean(field.hu, job), grid


def _seeds(masks: Sequence[np.ndarray], grid: CoarseGrid, diameters_mm, job: Job) -> Seeds:
    """The middle of each piece that is left by an erosion, for balls of every size."""
    low, high = (diameter / 2 for diameter in diameters_mm)
    radii = low * _STEP ** np.arange(max(1, int(np.ceil(np.log(high / low) / np.log(_STEP)))) + 1)
    found = [(np.empty((0, 3)), np.empty(0), np.empty(0), np.empty(0))]
    for m, mask in enumerate(masks):
        for n, radius in enumerate(radii):
            job.report((m * len(radii) + n) / (len(masks) * len(radii)))
            ball = 0.55 * radius
            left = erode(mask, ball, grid.spacing_kji)
            if not left.any():
                break
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
