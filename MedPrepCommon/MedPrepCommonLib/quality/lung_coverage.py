"""How much of the lung that can be seen on a CT a lung mask covers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..core.job import Job
from ..core.volume import LabelVolume, Volume

# Aerated lung, in HU. Above lies soft tissue, and far below only gas: trachea, stomach, bowel, outside air.
_AIRY = -500
_GAS = -930
# mm: what this is measured on. Lungs are large; half a voxel at their surface does not matter.
_COARSE = 3.0
# ml: less is no lung.
_SMALLEST = 50.0


class Coverage(NamedTuple):
    """Share of the visible lung that the mask covers, and how much lung is visible (ml)."""

    share: float
    visible: float


def coverage(image: Volume, lungs: LabelVolume, job: Job | None = None) -> Coverage | None:
    """What share of the visible lung the mask covers; None when the image shows no lung.

    Visible lung is found without the mask's help as far as possible: parts of the body darker than -500 HU
    that are not connected to the air at the sides of the image, either touched by the mask, or at least
    50 ml large and, at their median, denser than the gas in bowel and airways. A segment called airway or
    trachea does not count as lung. Consolidated lung is not visible in this sense.

    Parameters
    ----------
    image : in Hounsfield units. lungs : on its grid.
    """
    from scipy import ndimage

    job = job or Job.quiet()
    step = tuple(max(1, round(_COARSE / mm)) for mm in image.spacing_kji)
    picked = tuple(slice(s // 2, None, s) for s in step)
    hu, labels = image.array[picked], lungs.array[picked]
    airways = [s.value for s in lungs.segments if any(w in s.name.lower() for w in ("airway", "trachea"))]
    airway = np.isin(labels, airways)
    masked = (labels != 0) & ~airway
    job.report(0.3)
    parts, count = ndimage.label((hu < _AIRY) & ~airway)
    job.report(0.6)
    sizes = np.bincount(parts.reshape(-1), minlength=count + 1)
    inside_mask = np.bincount(parts[masked], minlength=count + 1)
    outside = np.zeros(count + 1, bool)
    for side in (parts[:, 0], parts[:, -1], parts[:, :, 0], parts[:, :, -1]):
        outside[np.unique(side)] = True
    # Lung that a narrow field of view cuts is at the side of the image too: the mask tells it from air.
    outside &= inside_mask < 0.5 * sizes
    voxel = float(np.prod(image.spacing_kji) * np.prod(step)) / 1000
    visible = np.zeros(count + 1, bool)
    for part in np.flatnonzero(~outside):
        if part == 0:
            continue
        large = sizes[part] * voxel >= _SMALLEST
        visible[part] = inside_mask[part] > 0.05 * sizes[part] or (
            large and np.median(hu[parts == part]) > _GAS
        )
    job.report(0.9)
    lung = visible[parts]
    total = int(lung.sum())
    if total * voxel < _SMALLEST:
        return None
    return Coverage(float((lung & masked).sum() / total), total * voxel)
