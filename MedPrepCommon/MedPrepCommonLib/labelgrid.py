"""Label maps on another grid without inventing values: exact where the grids line up, else nearest."""

from __future__ import annotations

import numpy as np

# Grid axes that part by less than this many voxels over the whole length of the grid are parallel.
_STRAY = 1e-3


def onto_grid(
    labels: np.ndarray, ijkToRAS: np.ndarray, target_matrix: np.ndarray, target_shape: tuple[int, int, int]
) -> np.ndarray:
    """Labels on the voxels of another grid, 0 where the source does not reach.

    Where the grids are the same up to cropping, padding, flipping or swapping axes, values are copied
    exactly; otherwise each target voxel takes the source voxel whose centre is nearest.

    Parameters
    ----------
    labels : (k, j, i) integers on the grid of `ijkToRAS` (4, 4).
    target_matrix, target_shape : IJK-to-RAS (4, 4) and (k, j, i) of the wanted grid.
    """
    to_source = np.linalg.inv(ijkToRAS) @ target_matrix
    # Columns and rows in array order (k, j, i) from here on.
    matrix, offset = to_source[2::-1, 2::-1], to_source[2::-1, 3]
    axes = np.abs(matrix).argmax(axis=0)
    strays = np.abs(matrix)
    strays[axes, range(3)] = 0
    reach = (strays * (np.array(target_shape) - 1)).sum(axis=1).max()
    if sorted(axes) != [0, 1, 2] or reach > _STRAY:
        return _nearest(labels, matrix, offset, target_shape)
    result = np.zeros(target_shape, labels.dtype)
    wanted, sources = [], []
    for axis, source in enumerate(axes):
        position = matrix[source, axis] * np.arange(target_shape[axis]) + offset[source]
        index = np.floor(np.round(position, 6) + 0.5).astype(np.intp)
        inside = np.flatnonzero((index >= 0) & (index < labels.shape[source]))
        # The map is monotonous, so the voxels inside are one contiguous run.
        wanted.append(slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0))
        sources.append(index[inside])
    found = labels.transpose(axes)
    for axis, index in enumerate(sources):
        found = found[(slice(None),) * axis + (_as_slice(index),)]
    result[tuple(wanted)] = found
    return result


def _as_slice(index: np.ndarray) -> slice | np.ndarray:
    """A slice for evenly stepped indices (which needs no copy), else the indices."""
    if index.size == 0:
        return slice(0, 0)
    step = int(index[1] - index[0]) if index.size > 1 else 1
    if step == 0 or (index.size > 1 and (np.diff(index) != step).any()):
        return index
    stop = int(index[-1]) + (1 if step > 0 else -1)
    return slice(int(index[0]), stop if stop >= 0 else None, step)


def _nearest(
    labels: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: tuple[int, int, int]
) -> np.ndarray:
    from scipy import ndimage

    return ndimage.affine_transform(
        labels, matrix, offset, output_shape=shape, order=0, mode="grid-constant", cval=0, prefilter=False
    )
