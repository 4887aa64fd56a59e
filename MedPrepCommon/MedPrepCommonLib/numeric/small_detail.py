"""Whether a filtered image still shows its small structures: nodules and vessels of a few voxels."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from ..core.job import Job

# A difference of Gaussians that answers to blobs about three voxels across, in voxels.
_FINE, _COARSE, _TRUNCATE = 1.0, 1.6, 3.0
# Responses below this many standard deviations of noise may be noise themselves.
_CERTAIN = 6.0
# A structure is lost when less than this share of its response is left.
_LEFT = 0.5
_SLAB = 24


class Detail(NamedTuple):
    """Small structures that stand out from the noise, and those that lost over half of their contrast."""

    found: int
    lost: int

    @property
    def share(self) -> float:
        """Of the structures, those lost; 0 when there is none."""
        return self.lost / self.found if self.found else 0.0


def detail_kept(before: np.ndarray, after: np.ndarray, noise: float, job: Job) -> Detail:
    """Count the small structures of `before` and how many `after` has lost.

    A structure is a local extreme (bright or dark) among its neighbours in the image smoothed by one voxel,
    with a response to a difference of Gaussians (1 and 1.6 voxels) beyond 6 standard deviations of what the
    noise gives. It is lost when its response has sunk below half.

    Parameters
    ----------
    before, after : (k, j, i), of one shape. noise : standard deviation in `before`.
    """
    width = [n > 1 for n in before.shape]
    reach = math.ceil(_TRUNCATE * _COARSE) + 1
    limit = None
    found = lost = 0
    for start in range(0, len(before), _SLAB):
        job.report(start / len(before))
        stop = min(start + _SLAB, len(before))
        first, last = max(0, start - reach), min(len(before), stop + reach)
        core = slice(start - first, stop - first)
        smooth, response = _response(before[first:last], width)
        if limit is None:
            limit = _CERTAIN * noise * _gain(width)
        extreme = (ndimage.maximum_filter(smooth, [3 if w else 1 for w in width])[core] == smooth[core]) & (
            response[core] > limit
        )
        extreme |= (ndimage.minimum_filter(smooth, [3 if w else 1 for w in width])[core] == smooth[core]) & (
            response[core] < -limit
        )
        if extreme.any():
            was = response[core][extreme]
            left = _response(after[first:last], width)[1][core][extreme]
            found += was.size
            lost += int(np.count_nonzero(left / was < _LEFT))
    return Detail(found, lost)


def _response(array: np.ndarray, width: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    values = array.astype(np.float32)
    fine, coarse = (
        ndimage.gaussian_filter(values, [sigma * w for w in width], mode="nearest", truncate=_TRUNCATE)
        for sigma in (_FINE, _COARSE)
    )
    return fine, fine - coarse


def _gain(width: list[bool]) -> float:
    """Standard deviation of the response to white noise of standard deviation 1."""
    size = 2 * math.ceil(_TRUNCATE * _COARSE) + 1
    point = np.zeros([size if w else 1 for w in width], np.float32)
    point[tuple(n // 2 for n in point.shape)] = 1
    return float(np.sqrt(np.square(_response(point, width)[1], dtype=np.float64).sum()))
