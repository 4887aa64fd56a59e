"""A smooth map of a voxel grid onto its image: rotation, scale, shift and a B-spline lattice, free of folds.

The map takes each output voxel to the place in the input that it shows: ``y = A (x + u(x)) + t`` with x in
millimetres from the centre of the grid, along its axes. u is a uniform cubic B-spline of control points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..numeric.spline_lattice import ORDER, Rows, basis

# A control point may move by less than its distance to the next divided by this: then the lattice cannot
# fold (Choi and Lee, Graphical Models 62(6):411-427, 2000: 2.48 in three dimensions, 2.05 in two).
INJECTIVE = 2.5

# Samples per lattice cell and axis at which the Jacobian is looked at.
_SAMPLES = 5


@dataclass(frozen=True)
class Deformation:
    """Where each voxel of a grid takes its value from.

    Parameters
    ----------
    shape, spacing : of the grid, along axes 0, 1, 2; mm.
    matrix : (3, 3), A, of positive determinant. shift : (3,), t in mm.
    lattice : (3, a, b, c), displacement in mm of control points along axes 0, 1, 2, or None. The middle of
        the lattice is the middle of the grid; along an axis of one control point it does not change.
    distance : mm between control points.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    matrix: np.ndarray
    shift: np.ndarray
    lattice: np.ndarray | None = None
    distance: float = 1.0

    def reader(self) -> Callable[..., np.ndarray]:
        """A function (slice, first row, last row + 1) -> (3, rows, columns): input voxel indices, float32.

        It writes them to its fourth argument, if there is one.
        """
        spacing = np.array(self.spacing)
        centre = (np.array(self.shape) - 1) / 2
        # In voxels: steps along the three axes, and where voxel 0 goes.
        steps = self.matrix * spacing / spacing[:, None]
        origin = centre + self.shift / spacing - steps @ centre
        along = [
            np.outer(steps[:, axis], np.arange(n)).astype(np.float32) for axis, n in enumerate(self.shape)
        ]
        fixed = self._fixed
        bend = None
        if self.lattice is not None:
            turned = np.tensordot(self.matrix / spacing[:, None], self.lattice, 1)
            bend = Rows(turned, [self._weights(axis) for axis in range(3)])

        def read(k: int, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
            first = (origin + steps[:, 0] * k).astype(np.float32)
            rows = along[1][:, start:stop] + first[:, None]
            if bend is None:
                place = np.add(rows[:, :, None], along[2][:, None, :], out=out)
            else:
                place = bend(k, start, stop, out)
                place += rows[:, :, None]
                place += along[2][:, None, :]
            here = k, np.arange(start, stop)[:, None], np.arange(self.shape[2])
            for axis in fixed:  # exactly in place, free of rounding
                place[axis] = here[axis]
            return place

        return read

    def smallest_jacobian(self) -> float:
        """Lowest determinant on a grid with some samples in each cell of the lattice."""
        if self.lattice is None:
            return float(np.linalg.det(self.matrix))
        places = []
        for n, step in zip(self.shape, self.spacing, strict=True):
            samples = min(n, _SAMPLES * math.ceil(max(n - 1, 1) * step / self.distance) + 1)
            places.append(np.linspace(0, n - 1, samples))
        return float(self._determinant(places).min())

    @property
    def _fixed(self) -> list[int]:
        """Axes along which nothing moves."""
        still = (self.matrix == np.eye(3)).all(axis=1) & (np.asarray(self.shift) == 0)
        if self.lattice is not None:
            still &= ~(self.lattice != 0).any(axis=(1, 2, 3))
        return [int(axis) for axis in np.flatnonzero(still)]

    def _weights(self, axis: int, places: np.ndarray | None = None, derivative: bool = False) -> np.ndarray:
        """Of the control points at voxel indices (default: all), per voxel, or per mm for the derivative."""
        count = self.lattice.shape[1 + axis]
        places = np.arange(self.shape[axis]) if places is None else places
        from_middle = (places - (self.shape[axis] - 1) / 2) * self.spacing[axis]
        length = max(count - ORDER, 1) * self.distance
        weights = basis(count, from_middle / length + 0.5, derivative=derivative)
        return weights / self.distance if derivative else weights

    def _determinant(self, places: list[np.ndarray]) -> np.ndarray:
        """Of the map's derivative on a grid of voxel indices."""
        scale = float(np.linalg.det(self.matrix))
        if self.lattice is None:
            return np.full([len(p) for p in places], scale)
        values = [self._weights(axis, p) for axis, p in enumerate(places)]
        slopes = [self._weights(axis, p, derivative=True) for axis, p in enumerate(places)]
        derivative = np.empty((3, 3, *(len(p) for p in places)))
        for axis in range(3):
            matrices = [slopes[n] if n == axis else values[n] for n in range(3)]
            for component in range(3):
                derivative[component, axis] = _spread(matrices, self.lattice[component])
            derivative[axis, axis] += 1
        (a, b, c), (d, e, f), (g, h, i) = derivative
        return scale * (a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


def _spread(matrices: list[np.ndarray], lattice: np.ndarray) -> np.ndarray:
    partial = np.tensordot(matrices[0], lattice, (1, 0))
    return (matrices[1] @ partial) @ matrices[2].T


def control_points(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], distance: float
) -> tuple[int, int, int]:
    """Control points along each axis that a lattice over a grid needs; 1 along an axis of a single voxel."""
    cells = [math.ceil((n - 1) * step / distance - 1e-9) for n, step in zip(shape, spacing, strict=True)]
    return tuple(1 if n == 1 else max(cell, 1) + ORDER for n, cell in zip(shape, cells, strict=True))


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    """(3, 3): turns by these angles (radians) about axis 0, then axis 1, then axis 2."""
    result = np.eye(3)
    for axis, angle in enumerate(angles):
        if angle:
            a, b = (axis + 1) % 3, (axis + 2) % 3
            turn = np.eye(3)
            turn[a, a] = turn[b, b] = math.cos(angle)
            turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
            result = turn @ result
    return result
