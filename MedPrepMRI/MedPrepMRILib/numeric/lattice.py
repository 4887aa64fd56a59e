"""Uniform cubic B-spline lattices on regular grids, fitted and evaluated as separable matrix products.

On a regular grid the scattered-data fit of Lee, Wolberg and Shin (IEEE TVCG 3(3), 1997), which N4 uses, and
the evaluation of the lattice both factor into one small matrix per axis.
"""

from __future__ import annotations

import numpy as np

from MedPrepCommonLib.numeric.spline_lattice import ORDER, basis

__all__ = ["ORDER", "LatticeFit", "basis", "gather", "spread"]


class LatticeFit:
    """Least-squares-like approximation of weighted grid samples by one B-spline lattice.

    Parameters
    ----------
    control_points : per axis (k, j, i).
    positions : per axis, sample positions in [0, 1] of the domain.
    weights : (k, j, i) weight of every sample; 0 leaves it out.
    """

    def __init__(
        self, control_points: tuple[int, ...], positions: list[np.ndarray], weights: np.ndarray
    ) -> None:
        self.bases = [basis(n, p) for n, p in zip(control_points, positions, strict=True)]
        squares = [b**2 for b in self.bases]
        self._cubes = [b**3 for b in self.bases]
        # Each sample asks a control point for phi = w z / sum(w^2); the sum over its neighbours factors too.
        sums = [s.sum(axis=1) for s in squares]
        self._sample = weights / (sums[0][:, None, None] * sums[1][None, :, None] * sums[2][None, None, :])
        demand = gather(squares, weights)
        self._inverse = np.divide(1.0, demand, out=np.zeros_like(demand), where=demand > 1e-9)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Control points (k, j, i) that approximate `values` (k, j, i); values of weight 0 do not count."""
        return gather(self._cubes, values * self._sample) * self._inverse

    def evaluate(self, lattice: np.ndarray) -> np.ndarray:
        """The lattice at the samples."""
        return spread(self.bases, lattice)


def gather(bases: list[np.ndarray], values: np.ndarray) -> np.ndarray:
    """Sum over samples: ``out[a, b, c] = sum bases0[k, a] bases1[j, b] bases2[i, c] values[k, j, i]``."""
    partial = values @ bases[2]
    partial = bases[1].T @ partial
    return np.tensordot(bases[0], partial, (0, 0))


def spread(bases: list[np.ndarray], lattice: np.ndarray) -> np.ndarray:
    """Lattice to samples: the transpose of :func:`gather`."""
    partial = np.tensordot(bases[0], lattice, (1, 0))
    return (bases[1] @ partial) @ bases[2].T
