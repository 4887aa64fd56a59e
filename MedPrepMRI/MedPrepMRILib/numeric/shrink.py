"""Which voxels a bias corrector works on: every n-th along each axis, as ITK's Shrink filter takes them.

Voxels are picked, never averaged: averaging mixes tissues and blurs the histogram that N4 sharpens.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from MedPrepCommonLib.core.volume import Volume

# A smooth field needs no finer grid than this (mm) ...
WORKING_SPACING = 4.0
# ... and a fit no fewer samples along an axis that has them.
LEAST_SAMPLES = 8


def factors(volume: Volume, factor: int = 0) -> tuple[int, int, int]:
    """Shrink factor per axis (k, j, i).

    Parameters
    ----------
    factor : the same for all axes, or 0 for a working grid of about 4 mm. Both are lowered where an axis
        would keep fewer than 8 samples, so that thin slabs and single slices work.
    """
    wanted = [factor or max(1, round(WORKING_SPACING / s)) for s in volume.spacing_kji]
    return tuple(max(1, min(f, n // LEAST_SAMPLES)) for f, n in zip(wanted, volume.shape, strict=True))


def samples(volume: Volume, shrink: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    """The voxels per axis (k, j, i) that ``sitk.Shrink`` would keep.

    Its first voxel follows from physical coordinates, rounded at a half; so the filter itself is asked.
    """
    place = volume.with_array(np.zeros((1, 1, 1), np.uint8)).to_sitk()
    grid = sitk.Image(volume.shape[::-1], sitk.sitkUInt8)
    grid.SetOrigin(place.GetOrigin())
    grid.SetSpacing(place.GetSpacing())
    grid.SetDirection(place.GetDirection())
    small = sitk.Shrink(grid, [int(f) for f in shrink[::-1]])
    first = grid.TransformPhysicalPointToIndex(small.GetOrigin())[::-1]
    counts = small.GetSize()[::-1]
    return tuple(
        slice(max(start, 0), max(start, 0) + (count - 1) * step + 1, step)
        for start, count, step in zip(first, counts, shrink, strict=True)
    )
