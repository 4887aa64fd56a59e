"""An image's values at the voxels of another image, to compare the two where both lie in the patient."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..core.job import Job
from ..core.volume import Volume
from .label_grid import parallel_axes
from .resampling import antialias_sigma, resample_grid


def onto(image: Volume, target: Volume, job: Job | None = None) -> tuple[np.ndarray, np.ndarray]:
    """`image` resampled linearly to the voxels of `target`, smoothed first as far as they are coarser.

    Both must be scalar and orthogonal. Axes that run along each other, in any order and direction, are
    resampled one by one; other grids by ITK.

    Returns
    -------
    values : float32 (k, j, i) of `target`.
    inside : bool, of the same shape: where a voxel's centre lies in the box that the voxels of `image` fill.
    """
    to_image = (np.linalg.inv(image.ijkToRAS) @ target.ijkToRAS)[[2, 1, 0, 3]][:, [2, 1, 0, 3]]
    matrix, offset = to_image[:3, :3], to_image[:3, 3]
    array = image.array
    axes = parallel_axes(matrix, target.shape)
    if axes is not None:
        steps = matrix[axes, range(3)]
        starts, sizes = offset[axes], np.array(array.shape)[axes]
        widths = np.array(image.spacing_kji)[axes]
        sigma = [
            antialias_sigma(mm, abs(step) * mm) / mm if size > 1 else 0.0
            for mm, step, size in zip(widths, steps, sizes, strict=True)
        ]
        values = resample_grid(
            array.transpose(axes),
            starts,
            steps,
            target.shape,
            order=1,
            sigma=sigma,
            out_dtype=np.float32,
            job=job,
        )
        return values, _inside(starts, steps, sizes, target.shape)
    return _with_itk(image.with_array(array.astype(np.float32)), target)


def _inside(starts: np.ndarray, steps: np.ndarray, sizes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    result = np.ones(shape, bool)
    for axis in range(3):
        position = starts[axis] + steps[axis] * np.arange(shape[axis])
        within = (position > -0.5 - 1e-6) & (position < sizes[axis] - 0.5 + 1e-6)
        result &= within.reshape([-1 if a == axis else 1 for a in range(3)])
    return result


def _with_itk(image: Volume, target: Volume) -> tuple[np.ndarray, np.ndarray]:
    source, reference = image.to_sitk(), target.with_array(np.zeros(target.shape, np.uint8)).to_sitk()
    # The Gaussian acts along the image's own axes: the coarser grid's mean spacing stands for all of them.
    coarse = float(np.prod(target.spacing) ** (1 / 3))
    variance = [
        antialias_sigma(mm, coarse) ** 2 if size > 1 else 0.0
        for mm, size in zip(image.spacing, image.shape[::-1], strict=True)
    ]
    if any(variance):
        source = sitk.DiscreteGaussian(source, variance, 32, 0.01, True)
    values = sitk.GetArrayFromImage(sitk.Resample(source, reference, sitk.Transform(), sitk.sitkLinear, 0.0))
    ones = image.with_array(np.ones(image.shape, np.uint8)).to_sitk()
    inside = sitk.Resample(ones, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    return values, sitk.GetArrayFromImage(inside) != 0
