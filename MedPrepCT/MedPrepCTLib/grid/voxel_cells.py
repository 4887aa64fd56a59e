"""Voxels of chosen cells of a coarse grid, and values interpolated between cells.

Arrays are (voxel of the cell, cell): the long axis lies last, so that every step runs over thousands of
cells at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class FlatVolume:
    """A volume as one flat array, and where each voxel lies in it, whatever its order and direction of axes.

    Parameters
    ----------
    volume : (k, j, i). Copied only when it has gaps, such as every second slice of another volume.
    """

    def __init__(self, volume: np.ndarray) -> None:
        self._turned = tuple(slice(None, None, -1 if step < 0 else 1) for step in volume.strides)
        self._order = sorted(range(3), key=lambda axis: -abs(volume.strides[axis]))
        laid_out = np.ascontiguousarray(volume[self._turned].transpose(self._order))
        self._adopt(laid_out.reshape(-1), volume.shape)

    def _adopt(self, flat: np.ndarray, shape: Sequence[int]) -> None:
        self.flat, self.shape = flat, tuple(shape)
        steps, step = [0, 0, 0], 1
        for axis in reversed(self._order):
            steps[axis] = step
            step *= self.shape[axis]
        self._first = sum(
            (size - 1) * step
            for size, step, turn in zip(self.shape, steps, self._turned, strict=True)
            if turn.step == -1
        )
        self._steps = [step * turn.step for step, turn in zip(steps, self._turned, strict=True)]

    def zeros(self, dtype) -> FlatVolume:
        """A volume of zeros laid out in memory like this one."""
        other = object.__new__(FlatVolume)
        other._turned, other._order = self._turned, self._order
        # Fresh zeros cost nothing until they are written to, unlike those of zeros_like.
        other._adopt(np.zeros(self.flat.size, dtype), self.shape)
        return other

    @property
    def volume(self) -> np.ndarray:
        """The volume as (k, j, i), sharing memory."""
        laid_out = self.flat.reshape([self.shape[axis] for axis in self._order])
        return laid_out.transpose(np.argsort(self._order))[self._turned]

    def voxels(
        self, cells: np.ndarray, factors: Sequence[int], start: Sequence[int] = (0, 0, 0)
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Where the voxels of some cells lie in `flat`.

        Parameters
        ----------
        cells : (n, 3) cell indices (k, j, i). factors : voxels per cell along each axis.
        start : voxel at which cell (0, 0, 0) begins.

        Returns
        -------
        index : (voxels per cell, n). inside : the same shape, False beyond the end of the volume, where the
            index
        is that of the outermost voxel; None when all are inside.
        """
        wide = np.int32 if self.flat.size < 2**31 else np.int64
        parts, inside, whole = [], [], True
        for axis in range(3):
            at = cells[:, axis] * factors[axis] + start[axis] + np.arange(factors[axis])[:, None]
            inside.append(at < self.shape[axis])
            whole &= bool(inside[-1].all())
            at = np.minimum(at, self.shape[axis] - 1)
            parts.append((at * self._steps[axis] + (self._first if axis == 0 else 0)).astype(wide))
        k, j, i = parts
        index = (k[:, None, None] + j[None, :, None] + i[None, None]).reshape(-1, len(cells))
        if whole:
            return index, None
        k, j, i = inside
        return index, (k[:, None, None] & j[None, :, None] & i[None, None]).reshape(-1, len(cells))

    def write(self, index: np.ndarray, inside: np.ndarray | None, values: np.ndarray) -> None:
        """Write values where :meth:`voxels` said."""
        if inside is None:
            self.flat[index] = values
        else:
            self.flat[index[inside]] = values[inside]


def neighbour_index(padded_shape: Sequence[int], cells: np.ndarray) -> np.ndarray:
    """Where the 27 cells around each cell lie in a flat array with one more cell on every side; (27, n)."""
    _, nj, ni = padded_shape
    flat = ((cells[:, 0] * nj + cells[:, 1]) * ni + cells[:, 2]).astype(np.int32)
    steps = ((np.arange(3)[:, None, None] * nj + np.arange(3)[:, None]) * ni + np.arange(3)).ravel()
    return flat + steps.astype(np.int32)[:, None]


def neighbours(array: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The 27 values around each cell; (27, n). Beyond the array its outermost cells go on."""
    padded = np.pad(array, 1, mode="edge")
    return padded.ravel()[neighbour_index(padded.shape, cells)]


def interpolate(around: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Linear interpolation at the voxels of each cell; (27, n) values around it to float32 (voxels, n)."""
    block = around.reshape(3, 3, 3, -1).astype(np.float32)
    for axis, factor in enumerate(factors):
        shape = list(block.shape)
        shape[axis] = factor
        finer = np.empty(shape, np.float32)
        source, target = np.moveaxis(block, axis, 0), np.moveaxis(finer, axis, 0)
        for n in range(factor):
            offset = np.float32((n + 0.5) / factor - 0.5)
            np.subtract(source[0 if offset < 0 else 2], source[1], out=target[n])
            target[n] *= abs(offset)
            target[n] += source[1]
        block = finer
    return block.reshape(int(np.prod(factors)), around.shape[1])
