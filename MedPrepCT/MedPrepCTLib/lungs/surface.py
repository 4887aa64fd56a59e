"""From the coarse answer to voxels: whole cells inside a lung at once, the surface voxel by voxel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from MedPrepCommonLib.core.job import Job

from ..grid.coarse_grid import CoarseGrid, thread_count
from ..grid.morphology import dilate, erode
from ..grid.voxel_cells import FlatVolume, interpolate, neighbour_index
from .airway import FineAirway
from .closing import HALF
from .field_of_view import Padding
from .sides import LEFT, RIGHT, UNKNOWN

_AIRWAY = 3
# Well within the lung every voxel counts, bright ones are small vessels.
_WITHIN = 200
# Dark voxels count as lung where the cells around are at least this much lung (of 255).
_NEAR = 24
_NEAR_ADDED = 0.05
# Cells handled at a time: bounds the memory of the gathered voxels.
_BATCH = 4_000


class Surface:
    """Draws lungs and airway at full resolution.

    Parameters
    ----------
    grid : the coarse grid. aerated : uint8 (k, j, i), cells of lung air, 1 right, 2 left, 4 unknown.
    filled : for each side how much of each cell is lung, 0 to 255. rejected : air that is not lung.
    airway : lumen on its finer grid, or None. padding : what lies outside the field of view.
    """

    def __init__(
        self, grid: CoarseGrid, aerated, filled, rejected, airway: FineAirway | None, padding: Padding
    ) -> None:
        self._grid, self._airway, self._rejected, self._padding = grid, airway, rejected, padding
        # Right and left lung may touch; a lung without a side is the only one.
        self._pair = (UNKNOWN, UNKNOWN) if UNKNOWN in filled else (RIGHT, LEFT)
        nothing = np.zeros(aerated.shape, np.uint8)
        self._filled = [filled.get(side, nothing) for side in self._pair]
        first, second = self._filled
        sides = np.where(first >= second, *self._pair).astype(np.uint8)
        sides[np.maximum(first, second) < HALF] = 0
        self._sides = sides
        # A cell is core when it and all its neighbours are of one lung.
        self._core = np.zeros(sides.shape, bool)
        for side in set(self._pair):
            self._core |= erode(sides == side, 1.8, (1.0, 1.0, 1.0))
        self._shell = dilate(sides > 0, 1.8, (1.0, 1.0, 1.0)) & ~self._core
        self._added = (sides > 0) & (aerated == 0)

    def draw(self, hu: FlatVolume, threshold: float, job: Job) -> np.ndarray:
        """Labels of every voxel; uint8, laid out in memory as `hu` is."""
        labels = hu.zeros(np.uint8)
        self._fill_core(labels.volume, job.part(0.0, 0.3))
        self._draw_shell(hu, labels, threshold, job.part(0.3, 0.9))
        if self._airway is not None:
            self._airway.draw(hu, labels, threshold, _AIRWAY)
        job.report(1.0)
        return labels.volume

    def _fill_core(self, labels: np.ndarray, job: Job) -> None:
        fk, fj, fi = self._grid.factors
        core = np.where(self._core, self._sides, 0).astype(np.uint8)
        planes = np.flatnonzero(core.any(axis=(1, 2)))
        if not len(planes):
            return
        rows = np.flatnonzero(core.any(axis=(0, 2)))
        columns = np.flatnonzero(core.any(axis=(0, 1)))
        rows, columns = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

        def fill(k: int) -> None:
            job.check()
            plane = np.repeat(np.repeat(core[k, rows, columns], fi, axis=1), fj, axis=0)
            target = labels[
                k * fk : (k + 1) * fk,
                rows.start * fj : rows.stop * fj,
                columns.start * fi : columns.stop * fi,
            ]
            target[:] = plane[: target.shape[1], : target.shape[2]]

        with ThreadPoolExecutor(thread_count()) as pool:
            list(pool.map(fill, planes))

    def _draw_shell(self, hu: FlatVolume, labels: FlatVolume, threshold: float, job: Job) -> None:
        factors = self._grid.factors
        cells = np.argwhere(self._shell)
        right, left = (np.pad(filled, 1, mode="edge") for filled in self._filled)
        shape, either = right.shape, np.maximum(right, left).ravel()
        right, left = right.ravel(), left.ravel()
        rim = dilate(self._padding.cells, 1.8, (1.0, 1.0, 1.0))
        added, rejected = (np.pad(mask, 1, mode="edge").ravel() for mask in (self._added, self._rejected))

        def batch(first: int) -> None:
            job.check()
            some = cells[first : first + _BATCH]
            index, in_volume = hu.voxels(some, factors)
            around = neighbour_index(shape, some)
            lung = interpolate(either[around], factors)
            values = hu.flat[index]
            inside = values < threshold
            # Only beside the padding: elsewhere its value may be the air of a dark lung.
            beside = np.flatnonzero(rim[tuple(some.T)])
            padding = self._padding.voxels(values[:, beside])
            inside &= lung > _NEAR
            inside |= lung >= _WITHIN
            near = added[around]
            which = np.flatnonzero(near.any(axis=0))
            # Vessels and nodules closed in: their own smooth outline, wherever such cells are near.
            outline = lung[:, which] >= HALF
            outline &= interpolate(near[:, which], factors) > _NEAR_ADDED
            inside[:, which] |= outline
            near = rejected[around]
            which = np.flatnonzero(near.any(axis=0))
            inside[:, which] &= interpolate(near[:, which], factors) < 0.5
            inside[:, beside] &= ~padding
            values = inside.astype(np.uint8)
            near = left[around]
            which = np.flatnonzero(near.any(axis=0))
            more_left = interpolate(near[:, which], factors) > interpolate(right[around[:, which]], factors)
            values[:, which] *= np.where(more_left, self._pair[1], self._pair[0]).astype(np.uint8)
            labels.write(index, in_volume, values)

        starts = range(0, len(cells), _BATCH)
        with ThreadPoolExecutor(thread_count()) as pool:
            for n, _ in enumerate(pool.map(batch, starts)):
                job.report((n + 1) / len(starts))
