"""What the brain phantom is drawn with: smooth noise, ellipsoids, soft edges and planes of tissue shares."""

from __future__ import annotations

import numpy as np

# How far (mm) the drawing's coordinates are bent at most, with room for soft edges.
MARGIN = 9.0


class Noise:
    """A smooth random field through a cubic B-spline lattice, the same in mm whatever the grid."""

    _HALF_MM = 130.0

    def __init__(self, rng: np.random.Generator, step: float, y: np.ndarray, x: np.ndarray) -> None:
        self._step = step
        self._size = int(2 * self._HALF_MM / step) + 4
        self._knots = rng.normal(0.0, 1.0, (self._size,) * 3).astype(np.float32)
        self._y, self._slope_y = self._matrices(y)
        self._x, self._slope_x = self._matrices(x)

    def _weights(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First knot (n,), and weights of four knots for value and slope per mm (n, 4)."""
        position = np.clip((np.atleast_1d(at) + self._HALF_MM) / self._step, 0, self._size - 3.001)
        first = position.astype(int)
        u = (position - first)[:, None]
        value = np.hstack([(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3]) / 6
        slope = np.hstack([-((1 - u) ** 2), 3 * u**2 - 4 * u, -3 * u**2 + 2 * u + 1, u**2]) / 2 / self._step
        return first, value.astype(np.float32), slope.astype(np.float32)

    def _matrices(self, at: np.ndarray) -> np.ndarray:
        first, *weights = self._weights(at)
        matrices = np.zeros((2, len(first), self._size), np.float32)
        rows = np.arange(len(first))
        for matrix, weight in zip(matrices, weights, strict=True):
            for n in range(4):
                matrix[rows, first + n] = weight[:, n]
        return matrices

    def _planes(self, z: float) -> tuple[np.ndarray, np.ndarray]:
        first, value, slope = self._weights(z)
        near = self._knots[first[0] : first[0] + 4].reshape(4, -1)
        shape = (self._size, self._size)
        return (value[0] @ near).reshape(shape), (slope[0] @ near).reshape(shape)

    def at(self, z: float) -> np.ndarray:
        """Values (y, x) of the plane at height z."""
        return self._y @ self._planes(z)[0] @ self._x.T

    def distance(self, z: float) -> np.ndarray:
        """About how far (mm) each point of the plane lies from the sheets on which the field is zero."""
        plane, upward = self._planes(z)
        rows = self._y @ plane
        steepness = (rows @ self._slope_x.T) ** 2
        steepness += (self._slope_y @ plane @ self._x.T) ** 2
        steepness += (self._y @ upward @ self._x.T) ** 2
        # Where the field is flat there is no sheet near; the floor keeps the distance finite.
        steepness += (0.12 / self._step) ** 2
        return np.abs(rows @ self._x.T) / np.sqrt(steepness)


def blend(*distances: np.ndarray, width: float) -> np.ndarray:
    """Union of shapes with the seams rounded over about `width` mm."""
    total = distances[0]
    for other in distances[1:]:
        share = np.clip(0.5 + 0.5 * (other - total) / width, 0.0, 1.0)
        total = other + (total - other) * share - width * share * (1.0 - share)
    return total


class Plane:
    """One plane through the head: bent coordinates (mm), and the share of every tissue in every voxel.

    Parameters
    ----------
    rows, columns : y and x (mm) of the grid, straight.
    x, y, z : (y, x) bent coordinates. height : z of the plane, straight.
    voxel : width (mm) over which edges are soft.
    tissues : how many; the last one fills the plane.
    """

    def __init__(self, rows, columns, x, y, z, height: float, voxel: float, tissues: int) -> None:
        self.x, self.y, self.z, self.side = x, y, z, np.abs(x)
        self._rows, self._columns, self._height, self._voxel = rows, columns, height, voxel
        self.shares = np.zeros((tissues, *x.shape), np.float32)
        self.shares[-1] = 1.0

    def ramp(self, distance: np.ndarray) -> np.ndarray:
        """Share of a voxel inside a shape whose surface lies `distance` mm away (negative inside)."""
        return np.clip(0.5 - distance / self._voxel, 0.0, 1.0)

    def ellipsoid(self, center, radii, paired: bool = False, box=...) -> np.ndarray:
        """Signed distance (mm, negative inside) to an ellipsoid at (x, y, z), first order at its surface.

        `paired` draws one on each side; `box` limits the work to a part of the plane.
        """
        coordinates = (self.side if paired else self.x, self.y, self.z)
        inner = steep = 0.0
        for axis, middle, radius in zip(coordinates, center, radii, strict=True):
            part = (axis[box] - np.float32(middle)) * np.float32(1.0 / radius)
            part *= part
            inner = inner + part
            steep = steep + part * np.float32(1.0 / radius**2)
        root = np.sqrt(inner)
        return root * (root - 1.0) / np.sqrt(steep + 1e-9)

    def box(self, center, radii, paired: bool = False) -> tuple[slice, slice] | None:
        """The part of the plane that a shape of that size can touch, or None."""
        if abs(self._height - center[2]) > radii[2] + MARGIN:
            return None
        spans = []
        for axis, n in ((self._rows, 1), (self._columns, 0)):
            low, high = center[n] - radii[n] - MARGIN, center[n] + radii[n] + MARGIN
            if n == 0 and paired:
                low = -high
            inside = np.flatnonzero((axis >= low) & (axis <= high))
            if not inside.size:
                return None
            spans.append(slice(int(inside[0]), int(inside[-1]) + 1))
        return spans[0], spans[1]

    def paint(self, tissue: int, share: np.ndarray, box=...) -> None:
        """Put `share` of a tissue over what is there."""
        part = self.shares[(slice(None), *box)] if box is not ... else self.shares
        part *= 1.0 - share
        part[tissue] += share

    def paint_ellipsoid(self, tissue: int, center, radii, paired=False, within=None, share=1.0) -> None:
        """Put an ellipsoid of a tissue over what is there, only where `within` (y, x) allows."""
        box = self.box(center, radii, paired)
        if box is not None:
            inside = self.ramp(self.ellipsoid(center, radii, paired, box)) * np.float32(share)
            self.paint(tissue, inside if within is None else inside * within[box], box)
