"""Voxels of chosen cells of a coarse grid, and values interpolated between cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def interpolation_weights(factors: Sequence[int]) -> np.ndarray:
    """Weights that interpolate 27 cells around a cell linearly at each of its voxels; float32 (27, voxels)."""
    axes = []
    for factor in factors:
        offset = (np.arange(factor) + 0.5) / factor - 0.5
        axes.append(np.stack([np.maximum(-offset, 0), 1 - np.abs(offset), np.maximum(offset, 0)]))
    weights = np.einsum("ap,bq,cr->abcpqr", *axes)
    return weights.reshape(27, -1).astype(np.float32)


def neighbours(padded: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The 27 values around each cell; float32 (n, 27). `padded` has one more cell on every side."""
    _, nj, ni = padded.shape
    flat = (cells[:, 0] * nj + cells[:, 1]) * ni + cells[:, 2]
    steps = ((np.arange(3)[:, None, None] * nj + np.arange(3)[:, None]) * ni + np.arange(3)).ravel()
    return padded.ravel()[flat[:, None] + steps].astype(np.float32)


class VoxelsOfCells:
    """The voxels of some cells, read and written together as (n, voxels); cells at the far end may be cut."""

    def __init__(self, cells: np.ndarray, factors: Sequence[int], shape: Sequence[int]) -> None:
        self._index, self._whole = [], True
        for axis in range(3):
            index = cells[:, axis, None] * factors[axis] + np.arange(factors[axis])
            if len(index) and index[:, -1].max() >= shape[axis]:
                self._whole = False
            form = [len(cells), 1, 1, 1]
            form[axis + 1] = factors[axis]
            self._index.append(index.reshape(form))
        self._shape, self._count = shape, len(cells)

    def read(self, volume: np.ndarray) -> np.ndarray:
        """(n, voxels); beyond the volume the outermost voxel is repeated."""
        index = tuple(
            np.minimum(index, size - 1) for index, size in zip(self._index, self._shape, strict=True)
        )
        return volume[index].reshape(self._count, -1)

    def write(self, volume: np.ndarray, values: np.ndarray) -> None:
        """Write (n, voxels) values back."""
        if self._whole:
            volume[tuple(self._index)] = values.reshape(np.broadcast_shapes(*(i.shape for i in self._index)))
            return
        index = np.broadcast_arrays(*self._index)
        inside = np.all([axis < size for axis, size in zip(index, self._shape, strict=True)], axis=0)
        volume[tuple(axis[inside] for axis in index)] = values.reshape(inside.shape)[inside]
