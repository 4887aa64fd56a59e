"""Where intensities are measured: in the user's mask, else in the brain or all that gives signal."""

from __future__ import annotations

import numpy as np

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import LabelVolume, Volume

from ..brain.head_cells import foreground
from ..brain.mask import find_brain


def within(image: Volume, mask: LabelVolume | None, job: Job, region: str = "brain") -> np.ndarray:
    """Boolean (k, j, i) of the voxels to measure; a mask that is given always wins.

    Parameters
    ----------
    region : "brain", "foreground" or "image", where no mask is given.

    Raises
    ------
    GeometryError
        when the mask lies on another grid.
    InputError
        when the mask is empty, or no brain is found.
    """
    if mask is not None:
        return mask.inside(image)
    if region == "brain":
        return find_brain(image, job=job)[0]
    return foreground(image, job) if region == "foreground" else np.ones(image.shape, bool)
