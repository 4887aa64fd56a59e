"""An image on another image's grid, through a rigid map between the two."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import LPS_TO_RAS, Volume
from MedPrepCommonLib.geometry.label_grid import parallel_axes
from MedPrepCommonLib.geometry.resampling import ORDERS, antialias_sigma, resample_grid

# Slices that are resampled between two looks at Cancel.
_SLAB = 8


def onto(
    image: Volume, target: Volume, matrix: np.ndarray, method: str = "cubic", job: Job | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`image` on the voxels of `target`, without new extremes.

    Where the grids are the same, values are copied; where their axes are parallel (also in another order or
    direction), each axis is resampled by itself; else ITK interpolates. The image is smoothed first where the
    target is coarser (Cardoso et al. 2015).

    Parameters
    ----------
    image : scalar volume.
    target : the wanted grid.
    matrix : (4, 4), takes RAS points of the target to RAS points of the image.
    method : "linear" or "cubic" (B-spline).

    Returns
    -------
    values : (k, j, i) float32; the image's smallest value where the image does not reach.
    covered : (k, j, i) bool, where it does.
    """
    job = job or Job.quiet()
    to_image = np.linalg.inv(image.ijkToRAS) @ matrix @ target.ijkToRAS
    # Columns and rows in array order (k, j, i).
    turn, offset = to_image[2::-1, 2::-1], to_image[2::-1, 3]
    low, high = float(image.array.min()), float(image.array.max())
    covered = _covered(turn, offset, image.shape, target.shape)
    axes = parallel_axes(turn, target.shape)
    if axes is not None:
        values = _by_axes(image, target, turn, offset, axes, method, (low, high), job)
    else:
        values = _by_itk(image, target, matrix, turn, method, job)
        np.clip(values, low, high, out=values)
    values[~covered] = low
    return values, covered


def _by_axes(
    image: Volume,
    target: Volume,
    turn: np.ndarray,
    offset: np.ndarray,
    axes: list[int],
    method: str,
    limits: tuple[float, float],
    job: Job,
) -> np.ndarray:
    source = image.array.transpose(axes)
    steps = [turn[axis, n] for n, axis in enumerate(axes)]
    # The strays of nearly parallel axes are shared out: right in the middle of the grid.
    middle = turn @ ((np.array(target.shape) - 1) / 2) + offset
    starts = [
        middle[axis] - step * (size - 1) / 2
        for axis, step, size in zip(axes, steps, target.shape, strict=True)
    ]
    if (
        source.shape == target.shape
        and np.allclose(steps, 1, atol=1e-9)
        and np.allclose(starts, 0, atol=1e-6)
    ):
        job.report(1.0)
        return source.astype(np.float32, order="C")
    sigma = [
        antialias_sigma(own, abs(step) * own) / own
        for own, step in zip([image.spacing_kji[a] for a in axes], steps, strict=True)
    ]
    return resample_grid(
        source,
        starts,
        steps,
        target.shape,
        order=ORDERS[method],
        sigma=sigma,
        out_dtype=np.float32,
        limits=limits,
        job=job,
    )


def _by_itk(
    image: Volume, target: Volume, matrix: np.ndarray, turn: np.ndarray, method: str, job: Job
) -> np.ndarray:
    job.report(0.0)
    # What a target voxel spans along each axis of the image, in image voxels.
    spans = np.linalg.norm(turn, axis=1)
    sigma = [antialias_sigma(1.0, max(1.0, float(span))) for span in spans]
    array = image.array
    if any(sigma):
        array = resample_grid(
            array, (0, 0, 0), (1, 1, 1), array.shape, order=1, sigma=sigma, out_dtype=np.float32
        )
    cubic = method == "cubic" and min(image.shape) >= 4
    source = image.with_array(array.astype(np.float32)).to_sitk()
    job.report(0.2)
    if cubic:
        source = sitk.BSplineDecomposition(source, 3)
    lps = LPS_TO_RAS @ matrix @ LPS_TO_RAS
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    values = np.empty(target.shape, np.float32)
    for first in range(0, target.shape[0], _SLAB):
        job.report(0.3 + 0.7 * first / target.shape[0])
        slab = target.with_array(np.broadcast_to(np.uint8(0), target.shape)[first : first + _SLAB])
        corner = target.ijkToRAS.copy()
        corner[:3, 3] += first * corner[:3, 2]
        grid = slab.with_array(slab.array, ijkToRAS=corner).to_sitk()
        piece = sitk.Resample(
            source,
            grid,
            transform,
            sitk.sitkBSplineResampler if cubic else sitk.sitkLinear,
            0.0,
            sitk.sitkFloat32,
        )
        values[first : first + _SLAB] = sitk.GetArrayViewFromImage(piece)
    job.report(1.0)
    return values


def _covered(
    turn: np.ndarray, offset: np.ndarray, size: tuple[int, int, int], shape: tuple[int, int, int]
) -> np.ndarray:
    """Target voxels (k, j, i) whose centre lies within half a voxel of the image's outer voxel centres."""
    result = np.ones(shape, bool)
    k, j, i = (np.arange(n, dtype=np.float64) for n in shape)
    for axis in range(3):
        plane = (turn[axis, 1] * j)[:, None] + (turn[axis, 2] * i + offset[axis])[None, :]
        low, high = -0.5 - 1e-6, size[axis] - 0.5 + 1e-6
        first = turn[axis, 0] * k
        if plane.min() + first.min() >= low and plane.max() + first.max() <= high:
            continue
        for n, step in enumerate(first):
            result[n] &= (plane >= low - step) & (plane <= high - step)
    return result
