"""What lies outside the reconstructed field of view: numbers that the scanner did not measure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ..grid.coarse_grid import LOWEST_HU, CoarseGrid
from ..grid.morphology import IN_PLANE_CROSS, dilate, erode
from ..grid.voxel_cells import FlatVolume

# A cell whose voxels are all below any air has the clipped value; noise in room air hardly ever reaches it.
_NO_AIR_HU = LOWEST_HU + 2
_ROOM_AIR_HU = -955
# A whole slice of tissue is never so even that this much of its border has one value.
_BORDER_SHARE = 0.03
_SMALLEST_MM2 = 60.0
# Voxels looked at to learn which values padding has.
_SAMPLE = 2_000


class Padding:
    """Padding of a CT on its coarse grid, whatever its value: 0, -1000, -1024, -2000, -2048, -3024.

    Padding is what joins the lateral border of the image, in pieces of some size, with one value or with
    values below any air. So noise in a lung is no padding, and zeros around a scan are no tissue.

    Parameters
    ----------
    hu : the volume. grid, coarse : its cells and their mean HU. Cells on the rim of the field of view are
        changed in place: their mean becomes that of the voxels inside. So are cells of padding: they become
        air below any other.

    Attributes
    ----------
    cells : bool (k, j, i), cells outside the field of view.
    """

    def __init__(self, hu: FlatVolume, grid: CoarseGrid, coarse: np.ndarray) -> None:
        self._grid, self._hu = grid, hu
        self._values: tuple[float, ...] = ()
        self._below = -np.inf
        self.cells = self._void(coarse)
        if not self.cells.any():
            return
        coarse[self.cells] = LOWEST_HU
        in_plane = (1e6, 1.0, 1.0)
        rim = dilate(self.cells, 1.5, in_plane) & ~self.cells
        # In front of room air the mixture does no harm unless padding is denser than air; else only where
        # lung or tissue reaches the rim it must be undone.
        if not any(value > _ROOM_AIR_HU for value in self._values):
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
        coarse[at] = np.where(count > 0, np.rint(total / np.maximum(count, 1)), LOWEST_HU)
        self.cells[at] = 4 * count < index.shape[0]

    def voxels(self, values: np.ndarray) -> np.ndarray:
        """Which values are padding; bool of the same shape."""
        if values.dtype.kind == "f":
            values = np.nan_to_num(values)
        padding = values < self._below
        for value in self._values:
            padding |= values == value
        return padding

    def _void(self, coarse: np.ndarray) -> np.ndarray:
        """Cells that hold nothing but padding."""
        void = np.zeros(coarse.shape, bool)
        below = _on_the_border(coarse <= _NO_AIR_HU, self._grid.spacing_kji)
        if below.any():
            self._learn(below)
            void |= below
        for value in _common_on_border(coarse):
            # Lung and tissue cross a value, padding keeps to it: of cells in one piece every voxel has it.
            constant = _on_the_border(coarse == value, self._grid.spacing_kji)
            if constant.any() and self._is_constant(constant, value):
                self._values += (float(value),)
                void |= constant
        return void

    def _sample(self, cells: np.ndarray) -> np.ndarray:
        some = np.argwhere(cells)
        some = some[:: max(1, len(some) // _SAMPLE)]
        index, inside = self._hu.voxels(some, self._grid.factors)
        values = self._hu.flat[index] if inside is None else self._hu.flat[index][inside]
        return np.nan_to_num(values) if values.dtype.kind == "f" else values

    def _is_constant(self, cells: np.ndarray, value: int) -> bool:
        return float((self._sample(cells) == value).mean()) > 0.98

    def _learn(self, cells: np.ndarray) -> None:
        """The one value that padding below air has; or up to which value it reaches, where it has many."""
        values = self._sample(cells)
        found, counts = np.unique(values, return_counts=True)
        if counts.max() > 0.9 * values.size:
            self._values += (float(found[counts.argmax()]),)
            self._below = float(min(found[counts.argmax()], LOWEST_HU - 200))
        else:
            self._below = float(min(np.percentile(values, 99.5), LOWEST_HU))


def _common_on_border(coarse: np.ndarray) -> list[int]:
    """Values that much of the lateral border has, the air of the room among them."""
    border = np.concatenate(
        [coarse[:, [0, -1]].ravel(), coarse[:, :, [0, -1]].ravel()],
    )
    values, counts = np.unique(border, return_counts=True)
    common = counts > _BORDER_SHARE * border.size
    return [int(value) for value in values[common] if value > _NO_AIR_HU]


def _on_the_border(cells: np.ndarray, spacing_kji: Sequence[float]) -> np.ndarray:
    """The pieces of each slice that join its lateral border and are no speckle."""
    if not cells.any():
        return cells
    solid = erode(cells, 1.0, (1e6, 1.0, 1.0))
    labels, count = ndimage.label(cells, IN_PLANE_CROSS)
    wanted = np.zeros(count + 1, bool)
    for border in (np.s_[:, [0, -1]], np.s_[:, :, [0, -1]]):
        wanted[labels[border][cells[border]]] = True
    core = np.bincount(labels[solid], minlength=count + 1)
    area = np.bincount(labels.ravel(), minlength=count + 1) * spacing_kji[1] * spacing_kji[2]
    wanted &= (core > 0) & (area >= _SMALLEST_MM2)
    wanted[0] = False
    return wanted[labels]
