"""Means of each voxel's neighbours, weighted by how alike they are: non-local means and the bilateral filter.

Both are one computation: for each shift within the neighbourhood, the squared difference of the image and
the shifted image, averaged over a patch (of one voxel for the bilateral filter), gives the weight. A pair of
voxels is weighed once for both.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from ..core.job import Job
from ..core.parallel import Crew

# Slices and, at least, rows of a piece of work; its pixels fit a second-level cache.
_SLICES, _ROWS, _PIXELS = 8, 16, 1 << 16


def non_local_means(
    array: np.ndarray, noise: float, strength: float, search: int, patch: int, job: Job
) -> np.ndarray:
    """Non-local means (Buades et al. 2005), float32.

    Weights are ``exp(-max(0, d^2 - 2 noise^2) / (strength noise)^2)``, d^2 the mean squared difference of two
    patches; the fast way of Darbon et al. (ISBI 2008).

    Parameters
    ----------
    array : (k, j, i). noise : standard deviation, above 0.
    search, patch : how far the neighbourhood and a patch reach, in voxels along every axis of more than one.
    """
    shape = array.shape
    reach = [search if n > 1 else 0 for n in shape]
    near = [patch if n > 1 else 0 for n in shape]
    shifts = _half([range(-r, r + 1) for r in reach])
    falloff = 1 / (strength * noise) ** 2
    return _means(array, [(s, 1.0) for s in shifts], near, 2 * noise * noise, falloff, job)


def bilateral(
    array: np.ndarray, spacing: tuple[float, float, float], distance: float, difference: float, job: Job
) -> np.ndarray:
    """The bilateral filter (Tomasi and Manduchi 1998), float32.

    Parameters
    ----------
    array : (k, j, i). spacing : mm along k, j, i.
    distance : standard deviation in mm of the weight by place, cut off at 2.5 of it.
    difference : standard deviation of the weight by value, in the image's unit, above 0.
    """
    reach = [
        min(math.floor(2.5 * distance / step), n - 1) for step, n in zip(spacing, array.shape, strict=True)
    ]
    shifts = []
    for shift in _half([range(-r, r + 1) for r in reach]):
        square = sum((s * step) ** 2 for s, step in zip(shift, spacing, strict=True))
        shifts.append((shift, math.exp(-square / (2 * distance * distance))))
    return _means(array, shifts, [0, 0, 0], 0.0, 1 / (2 * difference * difference), job)


def _half(ranges: list[range]) -> list[tuple[int, int, int]]:
    """One of each pair of opposite shifts, without the shift by nothing."""
    k, j, i = ranges
    return [shift for shift in itertools.product(k, j, i) if shift > (0, 0, 0)]


def _means(array, shifts, near, offset: float, falloff: float, job: Job) -> np.ndarray:
    """Weighted means; `near` is the reach of a patch, `offset` what its squared difference has from noise."""
    depth, height, width = array.shape
    reach = [max((abs(s[axis]) for s, _w in shifts), default=0) + near[axis] for axis in range(3)]
    result = np.empty(array.shape, np.float32)
    rows = max(_ROWS, _PIXELS // (_SLICES * width))
    starts = list(itertools.product(range(0, depth, _SLICES), range(0, height, rows)))
    centre = float(array[depth // 2].mean(dtype=np.float64))

    def task(piece: int, worker: int) -> None:
        k, j = starts[piece]
        span = (k, min(k + _SLICES, depth)), (j, min(j + rows, height)), (0, width)
        block = _block(array, span, reach, centre)
        size = [stop - start for start, stop in span]
        total = np.array(block[tuple(slice(r, r + n) for r, n in zip(reach, size, strict=True))])
        weights = np.ones(size, np.float32)
        for shift, place in shifts:
            if worker == 0:
                job.check()
            _add_pairs(block, total, weights, shift, place, reach, near, offset, falloff)
        total /= weights
        total += np.float32(centre)
        result[span[0][0] : span[0][1], span[1][0] : span[1][1]] = total

    with Crew() as crew:
        crew.run(task, len(starts), job)
    return result


def _add_pairs(block, total, weights, shift, place, reach, near, offset, falloff) -> None:
    """Add to a piece what each voxel gets from its neighbour at `shift` and at minus `shift`."""
    size = total.shape
    # Voxels whose pair reaches the piece: the piece, and what lies `shift` before it.
    first = [r - max(s, 0) for r, s in zip(reach, shift, strict=True)]
    length = [n + abs(s) for n, s in zip(size, shift, strict=True)]
    here = tuple(slice(a - p, a + n + p) for a, n, p in zip(first, length, near, strict=True))
    there = tuple(slice(part.start + s, part.stop + s) for part, s in zip(here, shift, strict=True))
    weight = block[here] - block[there]
    weight *= weight
    for axis, p in enumerate(near):
        if p:
            weight = _box(weight, axis, 2 * p + 1)
    weight *= np.float32(-falloff / math.prod(2 * p + 1 for p in near))
    if offset:
        weight += np.float32(offset * falloff)
        np.minimum(weight, 0, out=weight)
    np.exp(weight, out=weight)
    if place != 1:
        weight *= np.float32(place)
    for sign in (1, -1):
        # Of the voxels whose weight is known: those in the piece, then those whose partner is.
        own = [r if sign == 1 else r - s for r, s in zip(reach, shift, strict=True)]
        part = weight[tuple(slice(o - f, o - f + n) for o, f, n in zip(own, first, size, strict=True))]
        other = [r + sign * s for r, s in zip(reach, shift, strict=True)]
        total += part * block[tuple(slice(o, o + n) for o, n in zip(other, size, strict=True))]
        weights += part


def _box(values: np.ndarray, axis: int, width: int) -> np.ndarray:
    """Sums of `width` neighbours along an axis, which gets shorter by width - 1."""
    count = values.shape[axis] - width + 1

    def part(start: int) -> np.ndarray:
        return values[(slice(None),) * axis + (slice(start, start + count),)]

    total = part(0) + part(1)
    for start in range(2, width):
        total += part(start)
    return total


def _block(array: np.ndarray, span, reach, centre: float) -> np.ndarray:
    """A piece with its surroundings, beyond the image by reflection, less `centre`; float32."""
    inner, pads = [], []
    for (start, stop), r, n in zip(span, reach, array.shape, strict=True):
        low, high = max(0, start - r), min(n, stop + r)
        inner.append(slice(low, high))
        pads.append((low - (start - r), stop + r - high))
    found = np.subtract(array[tuple(inner)], centre, dtype=np.float64).astype(np.float32)
    return np.pad(found, pads, mode="reflect") if any(map(any, pads)) else found
