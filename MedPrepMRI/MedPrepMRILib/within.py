"""Where intensities are measured: in the user's mask, else in the brain or all that gives signal."""

from __future__ import annotations

import numpy as np

from MedPrepCommonLib.errors import GeometryError, InputError
from MedPrepCommonLib.i18n import _
from MedPrepCommonLib.job import Job
from MedPrepCommonLib.volume import LabelVolume, Volume

from .brainmask import find_brain
from .headcells import foreground


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
        require_grid(image, mask)
        inside = mask.mask()
        if not inside.any():
            raise InputError(
                _("The mask is empty."),
                _("Expected at least one voxel inside."),
                _("Choose another mask, or none."),
            )
        return inside
    if region == "brain":
        return find_brain(image, job=job)[0]
    return foreground(image, job) if region == "foreground" else np.ones(image.shape, bool)


def require_grid(image: Volume, mask: LabelVolume) -> None:
    """Raise :class:`GeometryError` unless the mask has the image's voxels."""
    if not mask.same_grid(image):
        raise GeometryError(
            _("The mask lies on another grid than the image."),
            _("Expected the image's {shape} voxels at the same place.").format(
                shape=" x ".join(map(str, image.shape[::-1]))
            ),
            _("Resample the mask to the image first."),
        )
