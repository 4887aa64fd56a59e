"""One sequence on its way into a fused image: aligned, resampled, measured and scaled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepCommonLib.geometry.label_grid import onto_grid
from MedPrepCommonLib.numeric import blocks, voxel_statistics

from ..brain.mask import find_brain
from .onto_grid import onto
from .registration import Alignment
from .same_head import Likeness
from .signal_quality import Quality, quality


@dataclass
class Aligned:
    """A sequence on the reference's grid.

    Parameters
    ----------
    volume : as given. matrix : (4, 4), takes RAS points of the reference to RAS points of the sequence.
    values : (k, j, i) float32 on the reference's grid. covered : bool, where the sequence reaches.
    alignment : how it was registered, if it was. likeness : how well it fits the reference, if it is not it.
    own, here : signal and noise on the sequence's own grid, and of `values`; set by :func:`scaled`.
    mean, deviation : intensities in the mask. zero : what an intensity of 0 has become.
    coverage : share of the mask that the sequence covers.
    """

    volume: Volume
    matrix: np.ndarray
    values: np.ndarray
    covered: np.ndarray
    alignment: Alignment | None
    likeness: Likeness | None
    own: Quality | None = None
    here: Quality | None = None
    mean: float = 0.0
    deviation: float = 1.0
    zero: float = 0.0
    coverage: float = 1.0


def aligned(
    volume: Volume,
    fixed: Volume,
    matrix: np.ndarray,
    interpolation: str,
    alignment: Alignment | None,
    likeness: Likeness | None,
    job: Job,
) -> Aligned:
    """`volume` on the grid of `fixed`."""
    values, covered = onto(volume, fixed, matrix, interpolation, job)
    return Aligned(volume, matrix, values, covered, alignment, likeness)


def reference_mask(fixed: Volume, mask: LabelVolume | None, job: Job) -> np.ndarray:
    """Boolean (k, j, i) on the reference's grid: the mask from whatever grid it has, else the brain."""
    if mask is None:
        return find_brain(fixed, job=job)[0]
    if not mask.array.any():
        raise InputError(
            _("The mask is empty."),
            _("Expected at least one voxel inside."),
            _("Choose another mask, or none to have the brain found."),
        )
    inside = onto_grid(mask.mask().astype(np.uint8), mask.ijkToRAS, fixed.ijkToRAS, fixed.shape) != 0
    if not inside.any():
        raise InputError(
            _("The mask lies outside the reference image."),
            _("Expected it over the head."),
            _("Choose another mask, or none to have the brain found."),
        )
    return inside


def scaled(
    sequence: Aligned, fixed: Volume, inside: np.ndarray, zscore: bool, zero_outside: bool, name: str
) -> None:
    """Measure a sequence inside the mask, bring it to mean 0 and deviation 1 there, and clear the outside.

    Raises
    ------
    InputError
        when the sequence has no contrast inside the mask, or does not reach it.
    """
    used = inside & sequence.covered
    sequence.coverage = float(np.count_nonzero(used) / np.count_nonzero(inside))
    if not used.any():
        raise InputError(
            _("The sequence {name} does not reach the mask.").format(name=name),
            _("Expected images of the same head in the same place."),
            _("Choose other images or another mask."),
        )
    found = voxel_statistics.statistics(sequence.values, used)
    sequence.mean, sequence.deviation = found.mean, found.standardDeviation
    if not found.standardDeviation > 1e-12 * max(abs(found.mean), 1e-300):
        raise InputError(
            _("Inside the mask every voxel of {name} is {value:g}.").format(name=name, value=found.mean),
            _("Expected an image with contrast."),
            _("Choose another image or mask."),
        )
    sequence.own = quality(sequence.volume.array, _mask_of(sequence, fixed, used))
    if zscore:
        sequence.values = blocks.standardize(sequence.values, found.mean, found.standardDeviation)
        sequence.zero = -found.mean / found.standardDeviation
    sequence.here = quality(sequence.values, used, sequence.zero)
    if zero_outside:
        sequence.values[~used] = 0.0


def _mask_of(sequence: Aligned, fixed: Volume, used: np.ndarray) -> np.ndarray:
    """The mask on the sequence's own grid."""
    there = sequence.matrix @ fixed.ijkToRAS
    volume = sequence.volume
    own = onto_grid(used.view(np.uint8), there, volume.ijkToRAS, volume.shape) != 0
    # A mask of less than a voxel of a coarser grid.
    return own if own.any() else np.ones(volume.shape, bool)
