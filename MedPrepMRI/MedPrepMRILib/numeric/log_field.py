"""Smooth log fields at full resolution, slice by slice, from a few coefficients per axis.

The log field of every corrector is a sum of terms ``sum K[k, a] J[j, b] I[i, c] coefficients[a, b, c]``
(B-spline lattices, Legendre polynomials): it never has to be held at full resolution in double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.numeric.spline_lattice import basis, product


@dataclass(frozen=True)
class Term:
    """Coefficients (a, b, c) and one matrix per axis: (k, a), (j, b), (i, c)."""

    coefficients: np.ndarray
    matrices: tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class LogField:
    """A log field as a sum of separable terms on one full-resolution grid, kept within `limits` if given."""

    terms: tuple[Term, ...]
    limits: tuple[float, float] | None = None

    def reader(self) -> Callable[[int], np.ndarray]:
        """A function that gives the slice (j, i), float32, for any k; several threads may call it."""
        planes, left, right = [], [], []
        for term in self.terms:
            along_k, along_j, along_i = (np.asarray(m, np.float32) for m in term.matrices)
            planes.append(np.tensordot(along_k, term.coefficients.astype(np.float32), (1, 0)))
            left.append(along_j)
            right.append(along_i.T)
        # All terms share one product along i: their coefficients stand side by side.
        columns = np.ascontiguousarray(np.concatenate(right))
        height, width = len(left[0]), columns.shape[1]
        ends = np.cumsum([0] + [plane.shape[2] for plane in planes])

        def read(k: int) -> np.ndarray:
            rows = np.empty((height, ends[-1]), np.float32)
            for along_j, plane, start, stop in zip(left, planes, ends[:-1], ends[1:], strict=True):
                product(along_j, plane[k], rows[:, start:stop])
            out = np.empty((height, width), np.float32)
            product(rows, columns, out)
            return out if self.limits is None else np.clip(out, *self.limits, out=out)

        return read


def interpolated(values: np.ndarray, samples: Sequence[slice], shape: tuple[int, int, int]) -> LogField:
    """The log field that passes smoothly (cubic spline) through `values` on a coarse grid of voxels.

    Parameters
    ----------
    values : (k, j, i) on the coarse grid.
    samples : per axis, the voxels of the full grid on which it lies; beyond the outermost it stays constant.
    shape : (k, j, i) of the full grid.
    """
    coefficients = np.asarray(values, np.float64)
    matrices = []
    for axis, (span, n) in enumerate(zip(samples, shape, strict=True)):
        index = np.arange(n)[span]
        if len(index) == 1:
            matrices.append(np.ones((n, 1)))
            continue
        coefficients = ndimage.spline_filter1d(coefficients, 3, axis, mode="mirror")
        pad = [(1, 1) if a == axis else (0, 0) for a in range(3)]
        coefficients = np.pad(coefficients, pad, mode="reflect")
        place = np.clip((np.arange(n) - index[0]) / (index[-1] - index[0]), 0.0, 1.0)
        matrices.append(basis(len(index) + 2, place))
    return LogField((Term(coefficients, tuple(matrices)),))
