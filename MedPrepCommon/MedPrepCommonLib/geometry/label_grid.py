"""Label maps on another grid without inventing values: exact where the grids line up, else nearest."""

from __future__ import annotations

import numpy as np

# Grid axes that part by less than this many voxels over the whole length of the grid are parallel.
_STRAY = 1e-3
# Places closer than this to the middle between two voxels lie there.
_TIE = 1e-6


def onto_grid(
    labels: np.ndarray,
    ijkToRAS: np.ndarray,
    target_matrix: np.ndarray,
    target_shape: tuple[int, int, int],
    beyond: float = 0.0,
) -> np.ndarray:
    """Values on the voxels of another grid, 0 where the source does not reach.

    Where the grids are the same up to cropping, padding, flipping or swapping axes, values are copied
    exactly; otherwise each target voxel takes the source voxel whose centre is nearest. Midway between two it
    takes the one further right, anterior or superior, so that it does not matter how the source is stored.

    Parameters
    ----------
    labels : (k, j, i) or (k, j, i, component) on the grid of `ijkToRAS` (4, 4).
    target_matrix, target_shape : IJK-to-RAS (4, 4) and (k, j, i) of the wanted grid.
    beyond : voxels of the source by which it reaches further than its border; only where axes are parallel.
    """
    to_source = np.linalg.inv(ijkToRAS) @ target_matrix
    # Columns and rows in array order (k, j, i) from here on.
    matrix, offset = to_source[2::-1, 2::-1], to_source[2::-1, 3]
    axes = parallel_axes(matrix, target_shape)
    if axes is None:
        return _nearest(labels, matrix, offset, target_shape)
    result = np.zeros((*target_shape, *labels.shape[3:]), labels.dtype)
    wanted, sources = [], []
    for axis, source in enumerate(axes):
        position = matrix[source, axis] * np.arange(target_shape[axis]) + offset[source]
        direction = ijkToRAS[:3, 2 - source]
        rising = direction[np.abs(direction).argmax()] > 0
        index = _index(position, labels.shape[source], beyond, rising)
        inside = np.flatnonzero((index >= 0) & (index < labels.shape[source]))
        # The map is monotonous, so the voxels inside are one contiguous run.
        wanted.append(slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0))
        sources.append(index[inside])
    found = labels.transpose(*axes, *range(3, labels.ndim))
    for axis, index in enumerate(sources):
        found = found[(slice(None),) * axis + (_as_slice(index),)]
    result[tuple(wanted)] = found
    return result


def parallel_axes(matrix: np.ndarray, target_shape: tuple[int, int, int]) -> list[int] | None:
    """The source axis along which each target axis runs, or None where they do not run along axes.

    Parameters
    ----------
    matrix : (3, 3), from target to source indices, both (k, j, i).
    """
    strays = np.abs(matrix)
    axes = strays.argmax(axis=0)
    strays[axes, range(3)] = 0
    reach = (strays * (np.array(target_shape) - 1)).sum(axis=1).max()
    return [int(axis) for axis in axes] if sorted(axes) == [0, 1, 2] and reach <= _STRAY else None


def _index(position: np.ndarray, size: int, beyond: float, rising: bool) -> np.ndarray:
    """The voxel nearest to each position along an axis of `size`; outside of it where there is none."""
    upper = np.floor(position + 0.5 + _TIE)
    tie = np.abs(position + 0.5 - upper) <= _TIE
    index = (upper - (tie & (not rising))).astype(np.intp)
    if beyond:
        index[(index < 0) & (position >= -0.5 - beyond)] = 0
        index[(index >= size) & (position <= size - 0.5 + beyond)] = size - 1
    return index


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

    result = np.empty((*shape, *labels.shape[3:]), labels.dtype)
    for component in [...] if labels.ndim == 3 else [(..., c) for c in range(labels.shape[3])]:
        ndimage.affine_transform(
            labels[component],
            matrix,
            offset,
            output_shape=shape,
            output=result[component],
            order=0,
            mode="grid-constant",
            cval=0,
            prefilter=False,
        )
    return result
