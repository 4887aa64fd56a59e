"""Voxels above metal's thresholds, and where a scanner's values end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.numeric.components import Components, Runs, connect_runs, find_runs

# Thresholds (HU) that a result is compared at.
COMPARED = (2000.0, 3000.0, 4000.0)


@dataclass(frozen=True)
class Found:
    """What lies above each threshold.

    Parameters
    ----------
    components : by threshold.
    used : the threshold in effect: the end of the scanner's values where that is lower than the wanted one.
    end : HU at which the values end (many voxels have exactly the maximum), or None.
    """

    components: dict[float, Components]
    used: dict[float, float]
    end: float | None


def find_metal(
    hu: np.ndarray, thresholds: Sequence[float], minimum_voxels: int, job: Job | None = None
) -> Found:
    """Components of at least `minimum_voxels` above each threshold (HU), reading the image once.

    Where the values end below a threshold (a detector that saturates), the voxels at that end count instead;
    only then the image is read once more.
    """
    job = job or Job.quiet()
    runs = dict(zip(thresholds, find_runs(hu, thresholds, job=job.part(0.0, 0.7)), strict=True))
    end = values_end(hu, runs[min(thresholds)])
    beyond = [t for t in thresholds if end is not None and end > COMPARED[0] and t >= end]
    if beyond:
        (at_end,) = find_runs(hu, [np.nextafter(end, 0.0)], job=job.part(0.7, 0.9))
        runs |= dict.fromkeys(beyond, at_end)
    found = {t: connect_runs(r, minimum_voxels=minimum_voxels) for t, r in runs.items()}
    job.report(1.0)
    return Found(found, {t: end if t in beyond else t for t in thresholds}, end)


def values_end(hu: np.ndarray, dense: Runs) -> float | None:
    """The maximum, when many voxels have exactly it and few come near: the scanner's end, or a clipped image.

    Parameters
    ----------
    dense : runs above some threshold; without any, the whole image is looked at.
    """
    top = float(dense.maximum.max()) if len(dense) else float(hu.max())
    if len(dense):
        index = dense.pick(dense.maximum > top - 20).indices()
        values = hu[np.unravel_index(index, hu.shape)]
    else:
        values = hu
    near = values[values > top - 20]
    at_top = int(np.count_nonzero(near == top))
    if at_top < 8 or top <= 300:
        return None
    around = np.unique(np.floor(near[near < top]), return_counts=True)[1].max(initial=0)
    return top if at_top > 4 * around else None
