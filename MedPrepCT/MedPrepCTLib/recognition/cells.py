"""A CT on cells of 4 mm, and what each of its slices holds: body, lung, bone, a closed skull.

All measures are robust to noise, metal and the table: cells are means, and only large shapes count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.job import Job

from ..grid.coarse_grid import CoarseGrid

CELL_MM = 4.0
_TISSUE_HU, _BONE_HU = -300, 180
# Lung is lighter than this and, but for bullae, heavier than the room's air.
_LIGHT_HU, _ROOM_HU = -500, -970
_CROSS = np.zeros((3, 3, 3), bool)
_CROSS[1] = ndimage.generate_binary_structure(2, 1)
_PLANE = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True)
class Cells:
    """Mean HU of cells (k to the head, j to the back, i to the patient's left), and their size in mm."""

    hu: np.ndarray
    spacing_kji: tuple[float, float, float]

    @classmethod
    def of(cls, hu: np.ndarray, spacing_kji: Sequence[float], job: Job) -> Cells:
        """Cells of a volume in HU whose axes run to head, back and left; any layout, any type."""
        grid = CoarseGrid(hu.shape, spacing_kji, CELL_MM)
        return cls(grid.mean(hu, job), tuple(grid.spacing_kji))

    @property
    def cm2(self) -> float:
        """Square centimetres of a cell in a slice."""
        return self.spacing_kji[1] * self.spacing_kji[2] / 100

    @cached_property
    def body(self) -> np.ndarray:
        """Tissue of the patient, without the table: large parts that are thicker than two cells."""
        tissue = self.hu > _TISSUE_HU
        core = ndimage.binary_opening(tissue, _CROSS)
        labels, count = ndimage.label(core)
        if count == 0:
            return core
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        keep = sizes >= 0.15 * sizes.max()
        keep[0] = False
        return ndimage.binary_dilation(keep[labels], _CROSS) & tissue

    @cached_property
    def lung(self) -> np.ndarray:
        """Cells like aerated lung with the body on at least three of their four sides in the slice."""
        around = np.zeros(self.hu.shape, np.int8)
        for axis in (1, 2):
            around += np.maximum.accumulate(self.body, axis)
            around += np.flip(np.maximum.accumulate(np.flip(self.body, axis), axis), axis)
        light = (self.hu < _LIGHT_HU) & (self.hu > _ROOM_HU) & (around >= 3)
        return ndimage.binary_opening(light, _CROSS)

    @cached_property
    def whole(self) -> np.ndarray:
        """The body with what lies inside it."""
        return np.array([ndimage.binary_fill_holes(plane) for plane in self.body]) | self.lung

    @cached_property
    def at_border(self) -> np.ndarray:
        """Share of each slice's border that lies in the body, (k,)."""
        frame = np.ones(self.hu.shape[1:], bool)
        frame[1:-1, 1:-1] = False
        return self.whole[:, frame].mean(1)

    @cached_property
    def bone(self) -> np.ndarray:
        """Bone, contrast agent and metal."""
        return (self.hu > _BONE_HU) & self.body

    def area(self, mask: np.ndarray) -> np.ndarray:
        """Square centimetres of a mask by slice, (k,)."""
        return mask.sum((1, 2)) * self.cm2

    @cached_property
    def skull(self) -> tuple[np.ndarray, np.ndarray]:
        """By slice: square centimetres that bone closes in, and their median HU; 0 where it closes none."""
        radius = max(1, round(8 / min(self.spacing_kji[1:])))
        areas, values = np.zeros(len(self.hu)), np.zeros(len(self.hu))
        for k, bone in enumerate(self.bone):
            wall = ndimage.binary_dilation(bone, _PLANE, radius)
            inside = ndimage.binary_fill_holes(wall) & ~wall
            labels, count = ndimage.label(ndimage.binary_dilation(inside, _PLANE, radius) & ~bone)
            if count:
                largest = labels == np.bincount(labels.ravel())[1:].argmax() + 1
                areas[k], values[k] = largest.sum() * self.cm2, np.median(self.hu[k][largest])
        return areas, values
