"""The products of a resampling: within slices, and across slices.

numpy hands a stack of small matrices to the linear algebra library one by one, without holding the
interpreter lock. Each is kept below the size at which OpenBLAS would start threads of its own, so that our
threads do not contend for them, and has the same shape whatever the number of threads, so that the result is
the same bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided
from scipy import sparse

from .resampling_kernels import AxisOperator

# Multiplications up to which OpenBLAS stays in the calling thread.
MOST_PRODUCTS = 1 << 18

# Samples weighted across slices at a time: with their inputs they stay in the second-level cache. Measured.
STACK_COLUMNS = 1 << 12
PAIR_COLUMNS = 1 << 16

# Mean number of weights per output sample up to which a sparse product beats a banded one. Measured.
FEW_WEIGHTS = 4


def _spans(length: int, operator: AxisOperator) -> list[slice]:
    """Cut `length` lines such that lines x band stay below MOST_PRODUCTS."""
    size = max(8, MOST_PRODUCTS // (operator.rows * operator.reach) // 8 * 8)
    return [slice(a, min(a + size, length)) for a in range(0, length, size)]


class PlaneResampler:
    """Resamples slices along j, then i; each thread has its own work arrays."""

    def __init__(self, along_j: AxisOperator, along_i: AxisOperator, work: np.dtype, workers: int) -> None:
        self._j, self._i, self._work = along_j, along_i, work
        self._same_j, self._same_i = along_j.identity, along_i.identity
        self._sparse = None
        rows, columns, values = along_j.entries()
        if not self._same_j and len(values) <= FEW_WEIGHTS * along_j.outputs:
            self._sparse = sparse.csr_array(
                (values, (rows, columns)), shape=(along_j.outputs, along_j.inputs)
            )
        self._transposed = np.ascontiguousarray(along_i.weights.transpose(0, 2, 1))
        self._wide: list[np.ndarray | None] = [None] * workers
        self._tall: list[np.ndarray | None] = [None] * workers
        self.shape = along_j.outputs, along_i.outputs

    def run(self, source: np.ndarray, target: np.ndarray, worker: int) -> None:
        """Resample the slice `source` (j, i) into the C-contiguous `target` (j, i)."""
        if self._same_j and self._same_i:
            target[...] = source
            return
        tall = self._along_j(source, worker)
        inside = slice(self._i.before, self._i.before + self._i.inputs)
        if self._same_i:
            target[...] = tall[: self._j.outputs, inside]
            return
        band, last = self._i.rows, len(self._transposed) - 1
        start = self._i.before + self._i.first
        line, sample = tall.strides
        for span in _spans(self._j.outputs, self._i):
            lines = span.stop - span.start
            given = as_strided(
                tall[span, start:], (last + 1, lines, self._i.reach), (self._i.advance * sample, line, sample)
            )
            if last:
                wanted = target[span, : last * band].reshape(lines, last, band).transpose(1, 0, 2)
                np.matmul(given[:last], self._transposed[:last], out=wanted)
            # The last band may have rows beyond the slice; they are not written.
            rest = self._i.outputs - last * band
            np.matmul(given[last], self._transposed[last, :, :rest], out=target[span, last * band :])

    def _along_j(self, source: np.ndarray, worker: int) -> np.ndarray:
        """The slice resampled along j, with the columns beyond its edges that the bands along i touch."""
        padded = self._i.before + self._i.inputs + self._i.after
        inside = slice(self._i.before, self._i.before + self._i.inputs)
        banded = not self._same_j and self._sparse is None
        ahead, past = (self._j.before, self._j.after) if banded else (0, 0)
        if self._wide[worker] is None:
            self._wide[worker] = np.zeros((ahead + self._j.inputs + past, padded), self._work)
            self._tall[worker] = np.zeros(
                (len(self._j.weights) * self._j.rows if banded else 0, padded), self._work
            )
        wide, tall = self._wide[worker], self._tall[worker]
        wide[ahead : ahead + self._j.inputs, inside] = source
        if self._same_j:
            return wide
        if self._sparse is not None:
            return self._sparse @ wide
        line, sample = wide.strides
        bands, rows, reach = self._j.weights.shape
        for span in _spans(padded, self._j):
            columns = span.stop - span.start
            given = as_strided(
                wide[ahead + self._j.first :, span],
                (bands, reach, columns),
                (self._j.advance * line, line, sample),
            )
            wanted = tall.reshape(bands, rows, padded)[:, :, span]
            np.matmul(self._j.weights, given, out=wanted)
        return tall


class Finish:
    """Rounds half to even and limits, then stores as the output's type."""

    def __init__(self, dtype: np.dtype, limits: tuple[float, float] | None, work: np.dtype) -> None:
        self._round = dtype.kind != "f"
        self._limits = None if limits is None else tuple(map(work.type, limits))

    def run(self, value: np.ndarray, target: np.ndarray) -> None:
        """Store `value`, which is changed, in `target`."""
        if self._round:
            np.rint(value, out=value)
        if self._limits is not None:
            np.clip(value, *self._limits, out=value)
        target[...] = value


class StackResampler:
    """Holds the resampled slices that one band of output slices needs in a ring, and weights them along k."""

    def __init__(
        self, along_k: AxisOperator, samples: int, work: np.dtype, finish: Finish, workers: int
    ) -> None:
        self._k, self._samples, self._finish, self._work = along_k, samples, finish, work
        chunk = min(_spans(samples, along_k)[0].stop, STACK_COLUMNS)
        self._shape = (max(1, STACK_COLUMNS // chunk), chunk)
        self._columns = self._shape[0] * chunk
        self.pieces = (samples + self._columns - 1) // self._columns
        self._ring = np.zeros((along_k.reach, self.pieces * self._columns), work)
        self._scratch: list[np.ndarray | None] = [None] * workers

    def place(self, index: int) -> np.ndarray:
        """Where the resampled input slice `index` belongs, flat."""
        return self._ring[index % len(self._ring), : self._samples]

    def weights(self, band: int) -> np.ndarray:
        """The band's weights (output slice, place in the ring)."""
        start = self._k.first + band * self._k.advance
        used = min(self._k.rows, self._k.outputs - band * self._k.rows)
        return np.ascontiguousarray(np.roll(self._k.weights[band, :used], start % len(self._ring), axis=1))

    def run(self, weights: np.ndarray, piece: int, target: np.ndarray, worker: int) -> None:
        """Write one piece of the columns of `target` (output slice, sample)."""
        if self._scratch[worker] is None:
            self._scratch[worker] = np.empty((self._k.rows, self._columns), self._work)
        first = piece * self._columns
        last = min(first + self._columns, self._samples)
        value = self._scratch[worker][: len(weights)]
        given = self._ring[:, first : first + self._columns].reshape(-1, *self._shape).transpose(1, 0, 2)
        np.matmul(weights, given, out=value.reshape(-1, *self._shape).transpose(1, 0, 2))
        self._finish.run(value[:, : last - first], target[:, first:last])


class PairResampler:
    """Weights at most two neighbouring slices along k, keeping the last ones that were resampled."""

    def __init__(
        self, along_k: AxisOperator, plane: PlaneResampler, work: np.dtype, finish: Finish, workers: int
    ) -> None:
        self._plane, self._finish, self._work = plane, finish, work
        rows, columns, values = along_k.entries()
        self._terms: list[list[tuple[int, np.generic]]] = [[] for _ in range(along_k.outputs)]
        for row, column, value in zip(rows, columns, values, strict=True):
            self._terms[row].append((int(column), value))
        self._held: list[dict[int, np.ndarray]] = [{} for _ in range(workers)]
        self._scratch: list[tuple[np.ndarray, np.ndarray] | None] = [None] * workers

    @staticmethod
    def fits(along_k: AxisOperator) -> bool:
        """Whether no output slice needs more than two input slices."""
        return bool(np.bincount(along_k.entries()[0]).max() <= 2)

    def run(self, array: np.ndarray, index: int, target: np.ndarray, worker: int) -> None:
        """Write the output slice `index` to the flat `target`."""
        terms = self._terms[index]
        slices = self._slices(array, [term[0] for term in terms], worker)
        if self._scratch[worker] is None:
            self._scratch[worker] = np.empty(PAIR_COLUMNS, self._work), np.empty(PAIR_COLUMNS, self._work)
        for first in range(0, len(target), PAIR_COLUMNS):
            last = min(first + PAIR_COLUMNS, len(target))
            value, other = (scratch[: last - first] for scratch in self._scratch[worker])
            np.multiply(slices[0][first:last], terms[0][1], out=value)
            if len(terms) == 2:
                value += np.multiply(slices[1][first:last], terms[1][1], out=other)
            self._finish.run(value, target[first:last])

    def _slices(self, array: np.ndarray, wanted: list[int], worker: int) -> list[np.ndarray]:
        held = self._held[worker]
        free = [held.pop(index) for index in list(held) if index not in wanted]
        for index in wanted:
            if index not in held:
                place = free.pop() if free else np.empty(self._plane.shape, self._work)
                self._plane.run(array[index], place, worker)
                held[index] = place
        return [held[index].reshape(-1) for index in wanted]
