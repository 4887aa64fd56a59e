"""The head in an MRI scan on a coarse grid: enough to centre, register and compare scans."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.geometry.resampling import antialias_sigma, output_grid, resample_grid

# Shares of voxels that are limited on either side: hot voxels and rings must not stretch a histogram.
_LIMITED = 0.001
# Air ends this far from the 2nd to the 98th percentile (Smith, Human Brain Mapping 17(3), 2002).
_AIR = 0.1
# A constant stays within this share of the image's range through smoothing in float32.
_SAME = 1e-5


def coarse(image: Volume, spacing: float, job: Job | None = None) -> Volume:
    """The image with voxels of at least `spacing` mm, float32, extreme values limited.

    Axes that are coarser already, or have one voxel only, keep their spacing.
    """
    new = [s if n == 1 else max(s, spacing) for n, s in zip(image.shape, image.spacing_kji, strict=True)]
    starts, steps, shape = output_grid(image.shape, image.spacing_kji, new)
    sigma = [antialias_sigma(old, to) / old for old, to in zip(image.spacing_kji, new, strict=True)]
    # Hot voxels go before the smoothing can spread them.
    low, high = limits(image.array)
    source = np.clip(image.array, low, high, dtype=np.float32, casting="unsafe")
    array = resample_grid(source, starts, steps, shape, order=1, sigma=sigma, job=job)
    matrix = image.ijkToRAS.copy()
    matrix[:3, :3] = image.directions * new[::-1]
    matrix[:3, 3] = image.ijkToRAS[:3] @ [*starts[::-1], 1.0]
    return dataclasses.replace(image, array=array, ijkToRAS=matrix, history=(), info={})


def limits(array: np.ndarray) -> tuple[float, float]:
    """The range of all but the darkest and the brightest 0.1 % of the voxels (of a regular sample)."""
    stride = max(1, round((array.size / 500_000) ** (1 / 3)))
    sample = array[tuple(slice(min(stride // 2, n // 2), None, stride) for n in array.shape)]
    low, high = np.quantile(sample, (_LIMITED, 1 - _LIMITED))
    return float(low), float(high)


def head(image: Volume) -> np.ndarray:
    """Boolean (k, j, i): where the head or the stripped brain is.

    It differs from the background by more than a tenth of the way to the brightest tissue; the background is
    the value that most of the border has (padding, a stripped skull), else the 2nd percentile (noisy air).
    Gain and offset of the image do not matter.

    Parameters
    ----------
    image : scalar; a :func:`coarse` one.
    """
    array = image.array
    dark, bright = (float(q) for q in np.quantile(array, (0.02, 0.98)))
    constant = constant_background(array)
    if constant is not None:
        dark = constant
        tissue = array[np.abs(array - dark) > _SAME * np.ptp(array)]
        bright = float(np.quantile(tissue, 0.98)) if tissue.size else dark
    found = (array - dark) * np.sign(bright - dark) > _AIR * abs(bright - dark)
    if min(found.shape) > 2:
        found = ndimage.binary_opening(found)
    parts, count = ndimage.label(found)
    if count == 0:
        return found
    largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1
    return _filled(parts == largest)


def constant_background(array: np.ndarray) -> float | None:
    """The value that most of the image's border has, or None where the border varies."""
    faces = [
        np.take(array, end, axis=axis).ravel()
        for axis in range(3)
        if array.shape[axis] > 1
        for end in (0, -1)
    ]
    if not faces:
        return None
    border = np.concatenate(faces)
    middle = float(np.median(border))
    same = np.abs(border.astype(np.float64) - middle) <= _SAME * float(np.ptp(array))
    return middle if same.mean() > 0.5 else None


def _filled(mask: np.ndarray) -> np.ndarray:
    """Holes closed slice by slice along every axis: sinuses open to the outside at the neck."""
    filled = mask
    for axis in range(3):
        if mask.shape[axis] > 1 or mask.ndim != 3:
            structure = np.zeros((3, 3, 3), bool)
            plane = [slice(None)] * 3
            plane[axis] = 1
            structure[tuple(plane)] = ndimage.generate_binary_structure(2, 1)
            filled = filled | ndimage.binary_fill_holes(mask, structure)
    return filled
