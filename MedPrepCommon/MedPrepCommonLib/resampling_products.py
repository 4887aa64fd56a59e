"""The matrix products of a resampling: within slices, and across a ring of slices.

numpy hands stacks of small matrices to the linear algebra library one by one, without holding the interpreter
lock. Each is kept below the size at which OpenBLAS would start threads of its own, so that our threads do not
contend for them, and has the same shape whatever the number of threads, so that the result is the same bytes.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from .resampling_kernels import AxisOperator, Band

# Multiplications up to which OpenBLAS stays in the calling thread.
MOST_PRODUCTS = 1 << 18

# Samples weighted across slices at a time: with their inputs they stay in the second-level cache.
COLUMNS = 1 << 12


# Mean number of weights per output sample up to which a sparse product beats a banded one. Measured.
FEW_WEIGHTS = 4


def _ceil_to(value: int, unit: int) -> int:
    return (value + unit - 1) // unit * unit


def _chunks(length: int, operator: AxisOperator) -> tuple[int, int]:
    """How many chunks and how wide, to weight `length` columns with one band in small products."""
    rows = max(band.stop - band.start for band in operator.bands)
    widest = max(16, MOST_PRODUCTS // (rows * operator.reach) // 16 * 16)
    count = _ceil_to(length, widest) // widest
    return count, _ceil_to(_ceil_to(length, count) // count, 8)


def _sparse(operator: AxisOperator) -> sparse.csr_array | None:
    """The whole operator as a sparse matrix when it has few weights per row (linear), else None."""
    weights = sum(np.count_nonzero(band.weights) for band in operator.bands)
    if weights > FEW_WEIGHTS * operator.outputs:
        return None
    parts = []
    for band in operator.bands:
        row, column = np.nonzero(band.weights)
        parts.append((band.weights[row, column], row + band.start, column + band.first))
    value, row, column = map(np.concatenate, zip(*parts, strict=True))
    return sparse.csr_array((value, (row, column)), shape=(operator.outputs, operator.inputs))


class PlaneResampler:
    """Resamples slices along j, then i; each thread has its own work arrays."""

    def __init__(self, along_j: AxisOperator, along_i: AxisOperator, work: np.dtype, workers: int) -> None:
        self._along_j, self._along_i, self._work = along_j, along_i, work
        self._sparse_j = None if along_j.identity else _sparse(along_j)
        plain = along_j.identity or self._sparse_j is not None
        self._columns = (1, along_i.inputs) if plain else _chunks(along_i.inputs, along_j)
        self._rows = (1, along_j.outputs) if along_i.identity else _chunks(along_j.outputs, along_i)
        self._transposed = [np.ascontiguousarray(band.weights.T) for band in along_i.bands]
        self._scratch: list[tuple[np.ndarray, np.ndarray] | None] = [None] * workers
        self.samples = along_j.outputs * along_i.outputs
        # The last chunk of rows may reach beyond the slice: room that the target must have.
        self.room = self._rows[0] * self._rows[1] * along_i.outputs

    def run(self, source: np.ndarray, target: np.ndarray, worker: int) -> None:
        """Resample the slice `source` (j, i) into the first `samples` elements of the flat `target`."""
        if self._scratch[worker] is None:
            width = self._columns[0] * self._columns[1]
            height = 0 if self._along_j.identity else self._along_j.inputs
            self._scratch[worker] = (
                np.zeros((height, width), self._work),
                np.zeros((self._rows[0] * self._rows[1], width), self._work),
            )
        wide, tall = self._scratch[worker]
        if self._along_j.identity:
            tall[: self._along_j.inputs, : self._along_i.inputs] = source
        else:
            wide[:, : self._along_i.inputs] = source
        if self._sparse_j is not None:
            tall[: self._along_j.outputs] = self._sparse_j @ wide
        elif not self._along_j.identity:
            for band in self._along_j.bands:
                given = wide[band.first : band.last].reshape(-1, *self._columns).transpose(1, 0, 2)
                wanted = tall[band.start : band.stop].reshape(-1, *self._columns).transpose(1, 0, 2)
                np.matmul(band.weights, given, out=wanted)
        given = tall.reshape(*self._rows, -1)
        wanted = target[: self.room].reshape(*self._rows, self._along_i.outputs)
        if self._along_i.identity:
            wanted[...] = given[:, :, : self._along_i.inputs]
            return
        for band, weights in zip(self._along_i.bands, self._transposed, strict=True):
            np.matmul(given[:, :, band.first : band.last], weights, out=wanted[:, :, band.start : band.stop])


class StackResampler:
    """Holds the resampled slices that one band of output slices needs, and weights them along k.

    Parameters
    ----------
    limits : of the result, or None when none can be exceeded.
    """

    def __init__(
        self,
        along_k: AxisOperator,
        samples: int,
        room: int,
        work: np.dtype,
        limits: tuple[float, float] | None,
        workers: int,
    ) -> None:
        self._samples, self._work = samples, work
        self._limits = None if limits is None else tuple(map(work.type, limits))
        chunk = min(_chunks(samples, along_k)[1], COLUMNS)
        self._width = max(1, COLUMNS // chunk)
        self._shape = (self._width, chunk)
        self._columns = self._width * chunk
        self.pieces = _ceil_to(samples, self._columns) // self._columns
        self._ring = np.zeros((along_k.reach, max(room, self.pieces * self._columns)), work)
        self._most_rows = max(band.stop - band.start for band in along_k.bands)
        self._scratch: list[np.ndarray | None] = [None] * workers

    def place(self, index: int) -> np.ndarray:
        """Where the resampled input slice `index` belongs."""
        return self._ring[index % len(self._ring)]

    def weights(self, band: Band) -> np.ndarray:
        """The band's weights in the order in which the ring holds its slices."""
        weights = np.zeros((band.stop - band.start, len(self._ring)), self._work)
        weights[:, np.arange(band.first, band.last) % len(self._ring)] = band.weights
        return weights

    def run(self, weights: np.ndarray, piece: int, target: np.ndarray, worker: int) -> None:
        """Write one piece of the columns of ``target`` (output slice, sample)."""
        if self._scratch[worker] is None:
            self._scratch[worker] = np.empty((self._most_rows, self._columns), self._work)
        first = piece * self._columns
        last = min(first + self._columns, self._samples)
        value = self._scratch[worker][: len(weights)]
        given = self._ring[:, first : first + self._columns].reshape(-1, *self._shape).transpose(1, 0, 2)
        np.matmul(weights, given, out=value.reshape(-1, *self._shape).transpose(1, 0, 2))
        if target.dtype.kind != "f":
            np.rint(value, out=value)
        if self._limits is not None:
            np.clip(value, *self._limits, out=value)
        target[:, first:last] = value[:, : last - first]
