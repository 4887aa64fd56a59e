"""What lies outside the reconstructed field of view: numbers that the scanner did not measure."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..grid.coarse_grid import LOWEST_HU, CoarseGrid
from ..grid.morphology import IN_PLANE_CROSS, dilate
from ..grid.voxel_cells import FlatVolume

# Below any air that a calibrated scanner measures.
_NO_AIR_HU = -1060
_ROOM_AIR_HU = -955


class Padding:
    """Padding of a CT on its coarse grid, whatever its value: -1000, -1024, -2000, -2048, -3024.

    Parameters
    ----------
    hu : the volume. grid, coarse : its cells and their mean HU. Cells on the rim of the field of view are
        changed in place: their mean becomes that of the voxels inside.

    Attributes
    ----------
    cells : bool (k, j, i), cells outside the field of view.
    """

    def __init__(self, hu: FlatVolume, grid: CoarseGrid, coarse: np.ndarray) -> None:
        self.cells = _void(coarse)
        self._value = None
        if not self.cells.any():
            return
        first = np.argwhere(self.cells)[:1]
        self._value = hu.flat[hu.voxels(first, (1, 1, 1), first[0] * (np.array(grid.factors) - 1))[0][0, 0]]
        in_plane = (1e6, 1.0, 1.0)
        rim = dilate(self.cells, 1.5, in_plane) & ~self.cells
        # In front of room air the mixture does no harm; only where lung or tissue reaches the rim it must be
        # undone.
        beyond = (coarse > _ROOM_AIR_HU) & ~rim & ~self.cells
        rim &= dilate(beyond, 3.0, in_plane)
        mixed = np.argwhere(rim)
        if not len(mixed):
            return
        index, inside = hu.voxels(mixed, grid.factors)
        values = hu.flat[index]
        real = ~self.voxels(values)
        if inside is not None:
            real &= inside
        count = real.sum(axis=0)
        total = np.where(real, np.clip(values, LOWEST_HU, 1000), 0).sum(axis=0)
        at = tuple(mixed.T)
        coarse[at] = np.rint(total / np.maximum(count, 1))
        self.cells[at] = 4 * count < index.shape[0]

    def voxels(self, values: np.ndarray) -> np.ndarray:
        """Which values are padding; bool of the same shape."""
        if self._value is None:
            return np.zeros(values.shape, bool)
        return (values == self._value) | (values < LOWEST_HU)


def _void(coarse: np.ndarray) -> np.ndarray:
    """Cells that hold nothing but padding."""
    void = coarse <= _NO_AIR_HU
    corners = np.zeros(coarse.shape, bool)
    corners[:, [0, 0, -1, -1], [0, -1, 0, -1]] = True
    values, counts = np.unique(coarse[corners], return_counts=True)
    most = int(values[counts.argmax()])
    if _NO_AIR_HU < most <= -1000 and 2 * counts.max() > counts.sum():
        # One value in most corners, without any noise: what joins them with the same value is padding too.
        constant = coarse == most
        labels, count = ndimage.label(constant, IN_PLANE_CROSS)
        wanted = np.zeros(count + 1, bool)
        wanted[labels[corners & constant]] = True
        void |= wanted[labels]
    return void
