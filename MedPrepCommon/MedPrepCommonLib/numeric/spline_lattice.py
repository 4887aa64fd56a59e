"""Uniform cubic B-spline lattices on voxel grids: one small matrix of weights per axis, rows at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ORDER = 3

# Multiplications per product up to which the linear algebra library starts no threads of its own.
_MOST_PRODUCTS = 1 << 18


def basis(control_points: int, positions: np.ndarray, *, derivative: bool = False) -> np.ndarray:
    """Weights (len(positions), control_points) of a cubic B-spline at positions in [0, 1] of the domain.

    One control point means a constant, for an axis with a single sample. With `derivative`, the weights of
    the slope per distance of two control points.
    """
    positions = np.asarray(positions, np.float64)
    if control_points == 1:
        return np.full((len(positions), 1), 0.0 if derivative else 1.0)
    spans = control_points - ORDER
    place = np.clip(positions * spans, 0.0, spans)
    first = np.minimum(place.astype(np.intp), spans - 1)
    u = (place - first)[:, None]
    if derivative:
        parts = [-((1 - u) ** 2), 3 * u**2 - 4 * u, -3 * u**2 + 2 * u + 1, u**2]
        weights = np.hstack(parts) / 2
    else:
        parts = [(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3]
        weights = np.hstack(parts) / 6
    matrix = np.zeros((len(positions), control_points))
    rows = np.arange(len(positions))
    for n in range(ORDER + 1):
        matrix[rows, first + n] = weights[:, n]
    return matrix


class Rows:
    """Lattices of one shape on a voxel grid, some rows of a slice at a time, float32; for several threads.

    Parameters
    ----------
    lattices : (n, a, b, c) control points.
    matrices : per axis, weights of each voxel: (k, a), (j, b), (i, c).
    """

    def __init__(self, lattices: np.ndarray, matrices: Sequence[np.ndarray]) -> None:
        along_k, along_j, along_i = (np.asarray(m, np.float32) for m in matrices)
        self._planes = np.tensordot(along_k, np.asarray(lattices, np.float32), (1, 1))
        self._down, self._across = along_j, np.ascontiguousarray(along_i.T)

    def __call__(self, k: int, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """(n, stop - start, i): rows [start, stop) of slice `k`; written to `out`, if given."""
        planes, rows = self._planes[k], stop - start
        if out is None:
            out = np.empty((len(planes), rows, self._across.shape[1]), np.float32)
        partial = np.empty((rows, planes.shape[2]), np.float32)
        for plane, values in zip(planes, out, strict=True):
            product(self._down[start:stop], plane, partial)
            product(partial, self._across, values)
        return out


def product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Write a @ b to `out`, in pieces so small that the linear algebra library starts no threads."""
    step = max(1, _MOST_PRODUCTS // b.size)
    for start in range(0, len(a), step):
        np.matmul(a[start : start + step], b, out=out[start : start + step])
