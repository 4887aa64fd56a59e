"""Vessels, fissures and nodules closed into each lung, with the pleura placed to a fraction of a cell.

Binary closing on cells of 3 mm would cut off the outer part of every nodule on the pleura. Here each cell
holds how much of it is lung (from its mean HU), and the closing is done on these grey values.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.job import Job

from ..grid.coarse_grid import thread_count
from ..grid.morphology import CROSS, bounding_box, close, dilate, fill_holes
from .sides import LEFT, RIGHT, UNKNOWN

# Half of the step from aerated lung to soft tissue, at most.
_HALF_STEP_HU = 350.0
_BONE_HU = 180
# Ribs and the ends of ribs: bone farther than this from the midline.
_SPINE_MM = 35.0
_RIB_SIDE_MM = 16.0
# The ball on the rib side, relative to the ball elsewhere; and the largest dent it may fill.
_RIB_SIDE_FACTOR, _LARGEST_DENT_ML = 2.0, 20.0
_LARGEST_MASS_ML = 150.0
# Width over which the pleura is evened out at a dent.
_EVEN_MM = 18.0
# A nodule's last half millimetre is worth more than a thin film of chest wall: the surface lies this much
# further out there (255 is one cell).
_OUTWARD = 90
HALF = 128


def close_lungs(
    aerated: np.ndarray,
    coarse: np.ndarray,
    calm: np.ndarray,
    excluded: np.ndarray,
    middle: np.ndarray,
    spacing_kji: Sequence[float],
    threshold: float,
    closing_mm: float,
    job: Job,
) -> dict[int, np.ndarray]:
    """How much of each cell belongs to each lung once vessels and nodules are closed in.

    Parameters
    ----------
    aerated : uint8 (k, j, i), 1 right, 2 left, 4 unknown. coarse : HU. calm : with less noise.
    excluded : cells of airway and bowel. middle : column between the lungs, (k,), nan where unknown.
    closing_mm : radius of the ball; under the ribs, where nodules dent the lung and no vessels or aorta lie,
        it is twice that.

    Returns
    -------
    dict of side (1, 2, 4; those present) to uint8 (k, j, i), 0 none to 255 all of the cell.
    """
    lung_hu = float(np.median(coarse[aerated > 0]))
    half_step = min(max(threshold - lung_hu, 120.0), _HALF_STEP_HU)
    share = np.clip(HALF + (threshold - coarse) * (HALF - 1) / half_step, 0, 255).astype(np.uint8)
    margin = [int(_RIB_SIDE_FACTOR * closing_mm / step) + 3 for step in spacing_kji]

    def fill(side: int) -> np.ndarray:
        whole = np.zeros(aerated.shape, np.uint8)
        lung = aerated == side
        box = bounding_box(lung, margin)
        if box is None:
            return whole
        lung = lung[box]
        # The lung's own cells and the mixed ones around it; what else is dark nearby is not lung.
        own = dilate(lung, 1.0, (1.0, 1.0, 1.0)) & ~excluded[box] & ((aerated[box] == 0) | lung)
        grey = np.where(own, share[box], 0).astype(np.uint8)
        job.check()
        base = close(grey, closing_mm, spacing_kji)
        job.check()
        wide = close(grey, _RIB_SIDE_FACTOR * closing_mm, spacing_kji)
        job.check()
        ribs = _under_ribs(calm[box], middle[box[0]] - box[2].start, spacing_kji)
        dents = _dents(base, wide, ribs, spacing_kji)
        base = np.where(dents, np.maximum(base, wide), base)
        base = np.where(dents, np.maximum(base, _straightened(base, spacing_kji)), base)
        base[_enclosed(base >= HALF, spacing_kji) & (base < HALF)] = 255
        base[excluded[box] & (base >= HALF) & ~lung] = HALF
        whole[box] = base
        return whole

    filled = {}
    present = [side for side in (RIGHT, LEFT, UNKNOWN) if (aerated == side).any()]
    with ThreadPoolExecutor(min(2, thread_count())) as pool:
        for n, (side, whole) in enumerate(zip(present, pool.map(fill, present), strict=True)):
            filled[side] = whole
            job.report((n + 1) / len(present))
    return filled


def _under_ribs(coarse, middle, spacing_kji) -> np.ndarray:
    """Cells near ribs, away from the spine."""
    bone = coarse > _BONE_HU
    aside = np.abs(np.arange(bone.shape[2])[None, None, :] - middle[:, None, None]) * spacing_kji[2]
    # Where the middle is unknown (nan) nothing is near it.
    away = ~(aside <= _SPINE_MM)
    return dilate(bone & away, _RIB_SIDE_MM, spacing_kji)


def _dents(base, wide, ribs, spacing_kji) -> np.ndarray:
    """Where the wider closing holds: dents of the rib side of the lung, none larger than a large nodule."""
    added = ribs & (wide >= HALF) & (base < HALF)
    labels, count = ndimage.label(added, CROSS)
    ml = np.bincount(labels.ravel(), minlength=count + 1) * float(np.prod(spacing_kji)) / 1000
    keep = ml <= _LARGEST_DENT_ML
    keep[0] = False
    # One cell more: the mixed cells on the dent's border tell where the pleura is.
    return dilate(keep[labels], 1.8, (1.0, 1.0, 1.0))


def _straightened(grey, spacing_kji) -> np.ndarray:
    """The lung's surface evened out over the width of a nodule; uint8.

    A ball cannot reach the bottom of a dent: it leaves up to 2 mm between nodule and pleura. The mean over a
    neighbourhood crosses one half where the surrounding pleura would go on.
    """
    size = [max(1, 2 * int(_EVEN_MM / step / 2) + 1) for step in spacing_kji]
    mean = grey.astype(np.float32)
    for _ in range(2):
        mean = ndimage.uniform_filter(mean, size, mode="nearest")
    # From the slope of the mean back to the slope of a border one cell wide.
    steeper = 1.1 * float(np.mean(size))
    return np.clip(HALF + _OUTWARD + (mean - HALF) * steeper, 0, 255).astype(np.uint8)


def _enclosed(lung: np.ndarray, spacing_kji) -> np.ndarray:
    """The lung with what it encloses: holes, and masses that it surrounds in axial slices.

    A tumour that reaches the hilum is no hole in 3-D, but in most slices it lies within the lung. The dome of
    the diaphragm does so too, and is told by what lies below: no lung.
    """
    holes = fill_holes(lung, axis=0) & ~lung
    labels, count = ndimage.label(holes, CROSS)
    if count == 0:
        return fill_holes(lung)
    # Cells through which a hole opens downwards into tissue, and whether there is lung again further down.
    open_below = holes.copy()
    open_below[1:] &= ~(holes | lung)[:-1]
    lung_below = np.zeros_like(lung)
    np.logical_or.accumulate(lung[:-1], axis=0, out=lung_below[1:])
    opened = np.bincount(labels[open_below], minlength=count + 1)
    again = np.bincount(labels[open_below & lung_below], minlength=count + 1)
    ml = np.bincount(labels.ravel(), minlength=count + 1) * float(np.prod(spacing_kji)) / 1000
    mass = (2 * again >= opened) & (ml <= _LARGEST_MASS_ML)
    mass[0] = False
    return fill_holes(lung | mass[labels])
