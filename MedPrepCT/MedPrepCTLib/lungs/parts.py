"""Which air of the body is lung, and where two lungs in one piece part. All on a coarse grid.

Bowel is told from lung by what it holds: nearly pure gas, where a lung, even an emphysematous one, is
streaked by vessels. Lungs that touch are cut along the darkest-to-brightest way: the pleura between them
where it shows, the middle of the contact where it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.job import Job

from ..grid.morphology import CROSS, bounding_box, dilate, erode
from ..grid.noise import noise_of
from .bowel_gas import cut_off_gas
from .septum import cores, grow_back, onto_the_septum, side_by_side
from .sides import LEFT, RIGHT, UNKNOWN, Scene, beside_each_other, middle_between, side_of_one_lung

_GAS_HU = -940
# A lung always has vessels; a mattress or the core of a table has not.
_FEATURELESS_HU, _FEATURELESS_IN_A_SLAB_HU = 20.0, 8.0
# Gas is nearly as dark as the air of the room, and of it this share lies within so many HU of its median.
_NEAR_AIR_HU, _EVEN_HU, _EVEN_SHARE = 45.0, 25.0, 0.72
_BONE_HU = 180
# A part of this size is a lung (or most of one) if it is not gas; smaller ones must lie beside such a part.
_MAIN_ML = 30.0
_FRAGMENT_ML = 0.25
_SLIVER_ML, _MOST_NOISE_HU = 0.1, 60.0
_SLAB_MM, _SLAB_AREA_MM2 = 40.0, 250.0
_NEAR_LUNG_MM = 10.0
_NEAR_RIB_MM = 12.0
_SMALLEST_SHARE = 0.1
# Where the spine shows, a piece of the other lung as small as this is cut off.
_LEAST_BEYOND = 0.01


@dataclass(frozen=True)
class _Parts:
    """Connected parts of the air and what each is like; arrays are indexed by part number, 0 is no part."""

    labels: np.ndarray
    ml: np.ndarray
    gas: np.ndarray
    spread: np.ndarray
    even: np.ndarray


def _describe(air: np.ndarray, coarse: np.ndarray, air_hu: float, cell_mm3: float) -> _Parts:
    labels, count = ndimage.label(air, CROSS)
    cells = np.bincount(labels.ravel(), minlength=count + 1).astype(float)
    cells[0] = 0
    # Content is judged on inner cells: on the rim air is mixed with the wall.
    inner = erode(air, 1.0, (1.0, 1.0, 1.0)) & air
    name, hu = labels[inner], coarse[inner].astype(float)
    number = np.bincount(name, minlength=count + 1)
    some = np.maximum(number, 1)
    mean = np.bincount(name, hu, count + 1) / some
    spread = np.sqrt(np.maximum(np.bincount(name, hu * hu, count + 1) / some - mean**2, 0))
    gas = np.bincount(name[hu < _GAS_HU], minlength=count + 1) / some
    # Parts too thin for inner cells are judged as a whole.
    thin = number * 20 < cells
    if thin.any():
        every = np.bincount(labels[air & (coarse < _GAS_HU)], minlength=count + 1)
        gas[thin] = 2.5 * every[thin] / np.maximum(cells[thin], 1)
        spread[thin] = 0.0
    # Gas has one density all over, whatever its rim adds to the spread.
    order = np.lexsort((hu, name))
    first = np.searchsorted(name[order], np.arange(count + 1))
    middle = hu[order][np.minimum(first + number // 2, max(len(hu) - 1, 0))] if len(hu) else mean
    same = np.bincount(name[np.abs(hu - middle[name]) < _EVEN_HU], minlength=count + 1) / some
    even = np.where(middle < air_hu + _NEAR_AIR_HU, same, 0.0)
    return _Parts(labels, cells * cell_mm3 / 1000, gas, spread, even)


def find_lungs(
    air: np.ndarray, scene: Scene, spacing_kji: Sequence[float], job: Job
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right and left lung among the air of the body.

    Parameters
    ----------
    air : bool (k, j, i), air inside the body without the airway. scene : what lies around it.

    Returns
    -------
    sides : uint8 (k, j, i), 1 right, 2 left, 4 a lung of which the side cannot be told, 0 elsewhere.
    rejected : bool, air that is bowel or other gas. middle : column (k,) between the lungs, nan if unknown.
    """
    coarse = scene.calm
    nowhere = np.full(len(air), np.nan)
    parts = _describe(air, coarse, scene.air_hu, float(np.prod(spacing_kji)))
    job.report(0.2)
    area = parts.ml * 1000 / (coarse.shape[0] * spacing_kji[0])
    slab = coarse.shape[0] * spacing_kji[0] < _SLAB_MM
    large = (parts.ml >= _MAIN_ML) | (slab & (area > 5 * _SLAB_AREA_MM2))
    # Emphysema is dark too, but not as dark as the air of the room all over.
    pure = (parts.gas > 0.5) & (~large | (parts.even > 0) & (parts.spread < 36.0))
    pure |= (parts.gas > 0.85) & (parts.spread < 60.0) & (parts.even > 0)
    pure |= (parts.gas > 0.5) & (parts.even > _EVEN_SHARE)
    # In few slices most of a pocket is rim.
    pure |= slab & (parts.gas > 0.6) & (parts.even > 0)
    # A slab of few slices holds little lung; its area tells then what the volume cannot.
    sized = ~pure & (large | (slab & (area > _SLAB_AREA_MM2) & (parts.gas < 0.3)))
    sized[0] = False
    featureless = _FEATURELESS_IN_A_SLAB_HU if slab else _FEATURELESS_HU
    main = sized & ~(large & (parts.spread < featureless))
    if not main.any():
        # A drawn lung has no vessels, and nothing here looks more like a lung.
        main = sized
    pure |= large & ~main
    # Among noise as strong as tissue any speck looks like the tip of a lung.
    if not main.any() and noise_of(coarse, scene.room) < _MOST_NOISE_HU:
        main = _slivers(parts, coarse, spacing_kji)
    if not main.any():
        return np.zeros(air.shape, np.uint8), air.copy(), nowhere
    chosen = main | _fragments(parts, pure, main, coarse, spacing_kji)
    air = _without_bowel(parts, chosen, air, scene, spacing_kji, job)
    job.report(0.4)
    sides, middle = _sides(parts, chosen, air, scene, spacing_kji, job.part(0.4, 1.0))
    sides[~air] = 0
    rejected = (~chosen & (parts.ml >= 1.0))[parts.labels] | ((parts.labels > 0) & ~air)
    return sides, rejected, middle


def _without_bowel(parts: _Parts, chosen, air, scene: Scene, spacing_kji, job: Job) -> np.ndarray:
    """The air without the bowel gas that clings to one of the chosen parts."""
    kept, coarse = air, scene.calm
    for number in np.flatnonzero(chosen & (parts.ml >= _MAIN_ML)):
        part = parts.labels == number
        box = bounding_box(part)

        def separate(piece, seeds, hu):
            return onto_the_septum(piece, seeds, grow_back(piece, seeds, job), hu, spacing_kji, job)

        gas = cut_off_gas(part[box], coarse[box], scene.air_hu, spacing_kji, separate, job)
        if gas.any():
            kept = kept.copy() if kept is air else kept
            kept[box] &= ~gas
    return kept


def _near_rib_share(parts: _Parts, coarse, spacing_kji) -> np.ndarray:
    """For each part the share of its cells that lie close under bone."""
    box = bounding_box(parts.labels > 0, [int(_NEAR_RIB_MM / step) + 2 for step in spacing_kji])
    labels = parts.labels[box]
    near = dilate(coarse[box] > _BONE_HU, _NEAR_RIB_MM, spacing_kji)
    count = len(parts.ml)
    return np.bincount(labels[near], minlength=count) / np.maximum(
        np.bincount(labels.ravel(), minlength=count), 1
    )


def _slivers(parts: _Parts, coarse, spacing_kji) -> np.ndarray:
    """Where no part is of a lung's size: the tips of lungs whose rest lies above or below the scan.

    They are aerated but not gas, lie close under the ribs and reach the first or the last slice.
    """
    maybe = (parts.gas < 0.1) & (parts.ml >= _SLIVER_ML)
    at_end = np.zeros(len(maybe), bool)
    at_end[parts.labels[[0, -1]].ravel()] = True
    maybe &= at_end
    maybe[0] = False
    if maybe.any():
        maybe &= _near_rib_share(parts, coarse, spacing_kji) > 0.5
    return maybe


def _fragments(parts: _Parts, pure, main, coarse, spacing_kji) -> np.ndarray:
    """Small aerated parts beside a lung and under the ribs: recesses cut off by voxel size or disease."""
    maybe = ~pure & ~main & (parts.ml >= _FRAGMENT_ML) & (parts.gas < 0.3)
    maybe[0] = False
    if not maybe.any():
        return maybe
    margin = [int(_NEAR_LUNG_MM / step) + 2 for step in spacing_kji]
    box = bounding_box(maybe[parts.labels], margin)
    labels = parts.labels[box]
    near = dilate(main[labels], _NEAR_LUNG_MM, spacing_kji)
    beside = np.bincount(labels[near], minlength=len(main)) > 0
    maybe &= beside
    if maybe.any():
        maybe &= _near_rib_share(parts, coarse, spacing_kji) > 0.5
    return maybe


def _sides(parts: _Parts, chosen, air, scene: Scene, spacing_kji, job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Right, left or unknown for each cell of the chosen parts, and the column between the lungs."""
    wanted = chosen[parts.labels] & air
    names = np.flatnonzero(chosen)
    names = names[np.argsort(-parts.ml[names])]
    halves = _two_lungs(parts, names, air, scene, spacing_kji, job)
    if halves is not None:
        middle = middle_between(*halves)
    elif scene.spine.sure:
        middle = scene.spine.column
    else:
        middle = np.full(len(air), np.nan)
    if halves is None:
        largest = (parts.labels == names[0]) & air
        if not scene.spine.sure or not _crosses(largest, middle):
            side, _signs = side_of_one_lung(largest, scene, spacing_kji)
            if not scene.spine.sure or side == UNKNOWN:
                # Nothing else tells where the middle is: what is left lies on the side of the one lung.
                return np.where(wanted, side, 0).astype(np.uint8), middle
    return _by_the_middle(parts, chosen, wanted, middle, scene.calm, spacing_kji, job), middle


def _crosses(part: np.ndarray, middle: np.ndarray) -> bool:
    """Whether much of a part lies on either side of the middle."""
    k, _, i = np.nonzero(part)
    share = (i > middle[k]).mean()
    return bool(min(share, 1 - share) > 0.25)


def _two_lungs(parts: _Parts, names, air, scene: Scene, spacing_kji, job: Job):
    """A right and a left lung that lie side by side, bool (k, j, i) each; None when there are no two such."""
    first = (parts.labels == names[0]) & air
    for name in names[1:]:
        if parts.ml[name] < _SMALLEST_SHARE * parts.ml[names[0]]:
            break
        second = (parts.labels == name) & air
        order = beside_each_other(first, second, spacing_kji, scene.scale)
        if order:
            return (first, second) if order > 0 else (second, first)
    if scene.spine.sure:
        return None
    box = bounding_box(first)
    job.check()
    cut = side_by_side(first[box], scene.calm[box], spacing_kji, scene.scale, job)
    if cut is None:
        return None
    halves = []
    for side in (RIGHT, LEFT):
        half = np.zeros_like(first)
        half[box] = cut == side
        halves.append(half)
    return tuple(halves)


def _by_the_middle(parts: _Parts, chosen, wanted, middle, coarse, spacing_kji, job: Job) -> np.ndarray:
    """Sides of the parts where the middle is known; what lies on both sides of it is cut in two."""
    k, _, i = np.nonzero(wanted)
    name = parts.labels[wanted]
    count = len(chosen)
    cells = np.maximum(np.bincount(name, minlength=count), 1)
    left_share = np.bincount(name, i > middle[k], count) / cells
    side_of = np.where(left_share > 0.5, LEFT, RIGHT).astype(np.uint8)
    side_of[~chosen] = 0
    sides = side_of[parts.labels]
    beyond = np.minimum(left_share, 1 - left_share)
    both = np.flatnonzero(chosen & (beyond > _LEAST_BEYOND) & (parts.ml > _MAIN_ML))
    for n, number in enumerate(both):
        part = (parts.labels == number) & wanted
        box = bounding_box(part)
        cut = split_lungs(part[box], coarse[box], middle[box[0]] - box[2].start, spacing_kji, job)
        sides[box][part[box]] = cut[part[box]]
        job.report((n + 1) / len(both))
    return sides


def split_lungs(
    part: np.ndarray, coarse: np.ndarray, middle: np.ndarray, spacing_kji: Sequence[float], job: Job
) -> np.ndarray:
    """Cut one part that may hold both lungs; uint8 (k, j, i) of 1 right, 2 left.

    Eroded until what remains lies on one side each, the cores grow back, and where they meet the border is
    moved onto the brightest sheet between them.
    """
    seeds = cores(part, coarse, middle, spacing_kji, job)
    if seeds is None:
        columns = np.arange(part.shape[2])
        left = columns[None, None, :] > middle[:, None, None]
        share = (left & part).sum() / max(part.sum(), 1)
        if min(share, 1 - share) < 0.25:
            # Mostly one side, and no neck to cut: one lung that reaches across the midline.
            return np.where(part, LEFT if share > 0.5 else RIGHT, 0).astype(np.uint8)
        return np.where(part, np.where(left, LEFT, RIGHT), 0).astype(np.uint8)
    grown = grow_back(part, seeds, job)
    return onto_the_septum(part, seeds, grown, coarse, spacing_kji, job)
