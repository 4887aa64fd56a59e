"""Two lungs that touch, told apart: cores beside the middle, grown back to the line between them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.job import Job

from ..grid.morphology import CROSS, bounding_box, dilate, erode
from .sides import LEFT, RIGHT, beside_each_other

# Radius of the ball in mm and HU above the lung's median, in the order tried, to part touching lungs.
_CORE_TRIALS = (
    (3.0, 1000.0),
    (3.0, 150.0),
    (3.0, 90.0),
    (5.0, 1000.0),
    (5.0, 120.0),
    (7.5, 1000.0),
    (10.0, 1000.0),
    (10.0, 150.0),
    (14.0, 1000.0),
    (20.0, 1000.0),
)
# A core's share of a part below which it is no lung of its own.
_CORE_SHARE = 0.12
# A part of which more than this lies beyond the midline may be both lungs in one.
_BOTH_SIDES = 0.06


def side_by_side(part, coarse, spacing_kji, scale: float, job: Job) -> np.ndarray | None:
    """One part cut into a right and a left lung without knowing the middle; None when it is one lung.

    Eroded until its two largest cores lie side by side, as lungs do and lobes do not.
    """
    whole = part.sum()
    lung_hu = float(np.median(coarse[part]))
    for radius, brightest in _CORE_TRIALS:
        job.check()
        core = erode(part & (coarse < lung_hu + brightest), radius, spacing_kji)
        labels, _count = ndimage.label(core, CROSS)
        cells = np.bincount(labels.ravel())
        cells[0] = 0
        if len(cells) < 3:
            continue
        two = np.argsort(-cells)[:2]
        if cells[two].min() < _CORE_SHARE * whole:
            continue
        order = beside_each_other(labels == two[0], labels == two[1], spacing_kji, scale)
        if order:
            right, left = two if order > 0 else two[::-1]
            seeds = np.where(labels == right, RIGHT, np.where(labels == left, LEFT, 0)).astype(np.uint8)
            return onto_the_septum(part, seeds, grow_back(part, seeds, job), coarse, spacing_kji, job)
    return None


def cores(part, coarse, middle, spacing_kji, job: Job) -> np.ndarray | None:
    """Eroded parts on either side, as soon as none of them lies on both; None if it never comes to that.

    The pleura between touching lungs is brighter than lung even where it is thinner than a cell, so darker
    and darker thresholds are tried before the ball grows.
    """
    whole = part.sum()
    lung_hu = float(np.median(coarse[part]))
    for most_beyond in (0.03, _BOTH_SIDES):
        for radius, brightest in _CORE_TRIALS:
            job.check()
            core = erode(part & (coarse < lung_hu + brightest), radius, spacing_kji)
            labels, count = ndimage.label(core, CROSS)
            k, _, i = np.nonzero(core)
            name = labels[core]
            cells = np.bincount(name, minlength=count + 1)
            large = cells > 0.004 * whole
            large[0] = False
            left = np.bincount(name, i > middle[k], count + 1) / np.maximum(cells, 1)
            beyond = np.minimum(left, 1 - left)
            right_part, left_part = large & (left <= 0.5), large & (left > 0.5)
            if large.any() and (beyond[large] < most_beyond).all() and right_part.any() and left_part.any():
                side = np.where(right_part, RIGHT, np.where(left_part, LEFT, 0)).astype(np.uint8)
                return side[labels]
    return None


def grow_back(part, seeds, job: Job) -> np.ndarray:
    """Seeds spread through the part cell by cell; a cell goes to the lung that reaches it first."""
    sides = seeds.copy()
    free = part & (sides == 0)
    while free.any():
        job.check()
        reached = []
        for side in (RIGHT, LEFT):
            here = sides == side
            reached.append(dilate(here, 1.0, (1.0, 1.0, 1.0)) & free)
        new = reached[0] | reached[1]
        if not new.any():
            break
        sides[reached[1]] = LEFT
        sides[reached[0]] = RIGHT
        free &= ~new
    return sides


def onto_the_septum(part, seeds, grown, coarse, spacing_kji, job: Job) -> np.ndarray:
    """Move the border between the lungs onto the brightest sheet near it, by two cheapest-path distances."""
    right, left = grown == RIGHT, grown == LEFT
    meet = (dilate(right, 1.0, (1.0, 1.0, 1.0)) & left) | (dilate(left, 1.0, (1.0, 1.0, 1.0)) & right)
    box = bounding_box(meet, [int(18.0 / step) + 2 for step in spacing_kji])
    if box is None:
        return grown
    inside, sides = part[box], grown[box]
    fixed = seeds[box] > 0
    for axis in range(3):
        for end in (0, -1):
            face = [slice(None)] * 3
            face[axis] = end
            fixed[tuple(face)] = True
    lung_hu = float(np.median(coarse[box][inside]))
    # Crossing a cell as bright as a pleura costs many steps; a vessel can be walked around.
    cost = 1.0 + 20.0 * np.clip((coarse[box].astype(np.float32) - lung_hu - 35.0) / 160.0, 0.0, 1.0)
    cost = np.where(inside, cost, np.inf).astype(np.float32)
    distances = []
    for side in (RIGHT, LEFT):
        start = np.where(fixed & inside & (sides == side), 0.0, np.inf).astype(np.float32)
        distances.append(_cheapest(start, cost, job))
    result = grown.copy()
    reached = inside & np.isfinite(np.minimum(*distances)) & ~fixed
    result[box][reached] = np.where(distances[0] <= distances[1], RIGHT, LEFT)[reached]
    return result


def _cheapest(distance: np.ndarray, cost: np.ndarray, job: Job) -> np.ndarray:
    """Smallest sum of costs from the zero cells to every cell over shared faces (changes `distance`)."""
    for _ in range(400):
        job.check()
        before = distance.copy()
        for axis in range(3):
            d, c = np.moveaxis(distance, axis, 0), np.moveaxis(cost, axis, 0)
            for n in range(1, len(d)):
                np.minimum(d[n], d[n - 1] + c[n], out=d[n])
            for n in range(len(d) - 2, -1, -1):
                np.minimum(d[n], d[n + 1] + c[n], out=d[n])
        if np.array_equal(before, distance):
            break
    return distance
