"""Connected components of what lies above a threshold, where that is little of the image (metal, calcium).

The image is read once, in blocks; a block without anything above the threshold is skipped. What is above
it is kept as runs of voxels along i. Runs that touch are found by binary search and joined as a graph, so the
cost grows with the runs and not with the image. That also beats labelling every voxel of large smooth regions
(both lungs: 10 times); only noise has so many runs that the whole image is labelled instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from ..core.errors import InputError, ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.parallel import Crew, real_array

# Voxels in a block: small enough that many blocks of a scan are skipped, large enough that calls cost little.
# Measured best of 2^15 .. 2^18, with and without noise in every block.
BLOCK = 1 << 18

# Share of a block's voxels above the threshold up to which they are listed one by one.
FEW = 1 / 32

# Runs per voxel above which scipy.ndimage.label is faster than the graph. Measured on noise, the worst case.
MOST_RUNS = 0.03

# How far runs in neighbouring rows (dk, dj) may be apart along i: 0 must overlap, 1 may touch at a corner.
_REACH = {
    6: {(0, 1): 0, (1, 0): 0},
    18: {(0, 1): 1, (1, 0): 1, (1, -1): 0, (1, 1): 0},
    26: {(0, 1): 1, (1, 0): 1, (1, -1): 1, (1, 1): 1},
}


@dataclass(frozen=True)
class Runs:
    """Unbroken lines of voxels along i, in the order of the image.

    Parameters
    ----------
    shape : (k, j, i) of the image.
    start, length : first flat index, and number of voxels.
    total : sum of the voxel values.
    maximum : largest voxel value.
    """

    shape: tuple[int, int, int]
    start: np.ndarray
    length: np.ndarray
    total: np.ndarray
    maximum: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def indices(self) -> np.ndarray:
        """Flat indices of all their voxels, rising."""
        return _expanded(self.start, self.length)

    def pick(self, chosen: np.ndarray) -> Runs:
        """The runs at an index or mask."""
        return Runs(self.shape, *(x[chosen] for x in (self.start, self.length, self.total, self.maximum)))


@dataclass(frozen=True)
class Components:
    """Connected components, the largest first (then the one that comes first in the image).

    Parameters
    ----------
    shape : (k, j, i) of the image.
    count : (n,) voxels.
    centroid : (n, 3) mean voxel index (k, j, i).
    maximum, mean : (n,) of the voxel values.
    box : (n, 3, 2) first index and the one after the last, along k, j, i.
    """

    shape: tuple[int, int, int]
    count: np.ndarray
    centroid: np.ndarray
    maximum: np.ndarray
    mean: np.ndarray
    box: np.ndarray
    _runs: Runs
    _offset: np.ndarray

    def __len__(self) -> int:
        return len(self.count)

    def indices(self, component: int) -> np.ndarray:
        """Flat voxel indices of one component, rising."""
        chosen = slice(*self._offset[component : component + 2])
        return _expanded(self._runs.start[chosen], self._runs.length[chosen])

    def labels(self, dtype: np.dtype | type = np.int32) -> np.ndarray:
        """Label map: 1 for the first component, 2 for the next, 0 elsewhere."""
        if len(self) > np.iinfo(dtype).max:
            raise ParameterError(
                _("{n} components do not fit into {type}.").format(n=len(self), type=np.dtype(dtype)),
                _("Expected a larger integer type, or fewer components."),
            )
        painted = np.zeros(math.prod(self.shape), dtype)
        for component in range(len(self)):
            painted[self.indices(component)] = component + 1
        return painted.reshape(self.shape)

    def mask(self) -> np.ndarray:
        """Whether a voxel belongs to any component."""
        painted = np.zeros(math.prod(self.shape), bool)
        painted[_expanded(self._runs.start, self._runs.length)] = True
        return painted.reshape(self.shape)


def sparse_components(
    array: np.ndarray,
    threshold: float,
    *,
    connectivity: int = 26,
    minimum_voxels: int = 1,
    upper: float | None = None,
    workers: int | None = None,
    job: Job | None = None,
) -> Components:
    """Connected components of ``array > threshold`` (and ``<= upper``).

    Parameters
    ----------
    array : (k, j, i), integer or floating point, any strides. NaN is never above the threshold.
    threshold, upper : in the units of the image; may be fractional or outside its type.
    connectivity : 6 (faces), 18 (faces and edges) or 26 (also corners).
    minimum_voxels : smaller components are left out.
    workers : threads; the result does not depend on it.
    """
    found = find_runs(array, [threshold], upper=upper, workers=workers, job=job)
    return connect_runs(found[0], connectivity=connectivity, minimum_voxels=minimum_voxels)


def find_runs(
    array: np.ndarray,
    thresholds: Sequence[float],
    *,
    upper: float | None = None,
    workers: int | None = None,
    job: Job | None = None,
) -> list[Runs]:
    """Runs of voxels above each threshold (and not above `upper`), reading the image once."""
    array = real_array(array)
    if array.ndim != 3 or array.size == 0:
        raise InputError(
            _("The image has shape {shape}.").format(shape=array.shape),
            _("Expected (k, j, i) with at least one voxel."),
        )
    levels = [_level(value, array.dtype) for value in thresholds]
    most = None if upper is None else _level(upper, array.dtype)
    if not levels:
        return []
    lowest = min(levels)
    blocks = list(_blocks(array))
    found: list[list[tuple[np.ndarray, ...]]] = [[] for _block in blocks]
    with Crew(workers if len(blocks) > 1 else 1) as crew:

        def task(piece: int, worker: int) -> None:
            first, block = blocks[piece]
            candidates = block > lowest
            if not candidates.any():
                return
            for level in levels:
                above = candidates if level == lowest else block > level
                if most is not None:
                    above = above & (block <= most)
                found[piece].append(_block_runs(block, above, first * array.shape[2]))

        crew.run(task, len(blocks), job)
    nothing = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))
    return [
        Runs(
            array.shape, *map(np.concatenate, zip(nothing, *(part[n] for part in found if part), strict=True))
        )
        for n in range(len(levels))
    ]


def _level(value: float, dtype: np.dtype) -> float | int:
    """A bound that gives the same comparisons in the image's own type as `value` does in exact arithmetic."""
    value = float(value)
    if math.isnan(value):
        raise ParameterError(_("A threshold is not a number."), _("Expected a value in the image's units."))
    if dtype.kind != "f":  # x > 2500.5 <=> x > 2500, and x <= 2500.5 <=> x <= 2500
        info = np.iinfo(dtype)
        low, high = info.min - 1, info.max
        return int(min(max(math.floor(value) if math.isfinite(value) else value, low), high))
    with np.errstate(over="ignore"):
        nearest = dtype.type(value)
    return nearest if float(nearest) <= value else np.nextafter(nearest, dtype.type(-np.inf))


def _blocks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """First row (of k x j) and the rows of each block, as 2-D views."""
    size_k, size_j, size_i = array.shape
    rows = max(1, BLOCK // size_i)
    if array.flags.c_contiguous:
        lines = array.reshape(-1, size_i)
        for first in range(0, len(lines), rows):
            yield first, lines[first : first + rows]
    else:
        for k in range(size_k):
            for first in range(0, size_j, rows):
                yield k * size_j + first, array[k, first : first + rows]


def _block_runs(block: np.ndarray, above: np.ndarray, offset: int) -> tuple[np.ndarray, ...]:
    """Start, length, sum and maximum of the runs in a few rows; `offset` is their first flat index."""
    count = int(np.count_nonzero(above))
    if count == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0)
    if count <= FEW * above.size:
        start, length, values = _few_runs(block, above)
    else:
        start, length, values = _many_runs(block, above)
    first = np.cumsum(length) - length
    return start + offset, length, np.add.reduceat(values, first), np.maximum.reduceat(values, first)


def _few_runs(block: np.ndarray, above: np.ndarray) -> tuple[np.ndarray, ...]:
    """Start and length of the runs, and the values of all their voxels, from the voxels' indices."""
    width = block.shape[1]
    index = np.flatnonzero(above)
    begins = np.ones(len(index) + 1, bool)
    # A run begins where the voxel before is not above, and at the start of a row; the last is a sentinel.
    np.not_equal(index[1:], index[:-1] + 1, out=begins[1:-1])
    begins[:-1] |= index % width == 0
    edges = np.flatnonzero(begins)
    return index[edges[:-1]], np.diff(edges), block[np.divmod(index, width)].astype(np.float64)


def _many_runs(block: np.ndarray, above: np.ndarray) -> tuple[np.ndarray, ...]:
    """The same from where the mask changes; its cost does not grow with the voxels."""
    lines, width = block.shape
    # A column of False between the rows, and one before the first: runs end with their row.
    padded = np.zeros(1 + lines * (width + 1), bool)
    padded[1:].reshape(lines, width + 1)[:, :width] = above
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    start, stop = changes[::2], changes[1::2]
    return start - start // (width + 1), stop - start, block[above].astype(np.float64)


def connect_runs(runs: Runs, *, connectivity: int = 26, minimum_voxels: int = 1) -> Components:
    """Join runs that touch into components of at least `minimum_voxels`."""
    if connectivity not in _REACH:
        raise ParameterError(
            _("The connectivity is {n}.").format(n=connectivity),
            _("Expected 6 (faces), 18 (faces and edges) or 26 (also corners)."),
        )
    if len(runs) > MOST_RUNS * math.prod(runs.shape):
        label = _dense_labels(runs, connectivity)
    else:
        label = _graph_labels(runs, connectivity)
    count = np.bincount(label, runs.length).astype(np.int64)
    earliest = np.full(len(count), np.iinfo(np.int64).max)
    np.minimum.at(earliest, label, runs.start)
    kept = np.flatnonzero(count >= max(1, minimum_voxels))
    kept = kept[np.lexsort((earliest[kept], -count[kept]))]
    rank = np.full(len(count), len(kept))
    rank[kept] = np.arange(len(kept))
    rank = rank[label]
    order = np.argsort(rank, kind="stable")[: np.count_nonzero(rank < len(kept))]
    return _measured(runs.pick(order), rank[order], len(kept))


def _graph_labels(runs: Runs, connectivity: int) -> np.ndarray:
    """Component number of each run, by the graph of runs that touch."""
    _size_k, size_j, size_i = runs.shape
    row, i = np.divmod(runs.start, size_i)
    k, j = np.divmod(row, size_j)
    # Positions on a grid with a margin, where a step to a neighbouring row is one number and nothing wraps.
    line = size_i + 2
    start = (k * (size_j + 2) + j + 1) * line + i + 1
    stop = start + runs.length - 1
    ones, others = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for (dk, dj), reach in _REACH[connectivity].items():
        step = (dk * (size_j + 2) + dj) * line
        first = np.searchsorted(stop, start + step - reach, side="left")
        after = np.searchsorted(start, stop + step + reach, side="right")
        touching = np.maximum(after - first, 0)
        ones.append(np.repeat(np.arange(len(start)), touching))
        others.append(_expanded(first, touching))
    one, other = np.concatenate(ones), np.concatenate(others)
    # The graph routines of older scipy take 32-bit indices only.
    edges = one.astype(np.int32), other.astype(np.int32)
    graph = sparse.csr_matrix((np.ones(len(one), np.int8), edges), shape=(len(start), len(start)))
    return csgraph.connected_components(graph, directed=False)[1]


def _dense_labels(runs: Runs, connectivity: int) -> np.ndarray:
    """Component number of each run, by labelling the whole image (5 bytes per voxel)."""
    mask = np.zeros(math.prod(runs.shape), bool)
    mask[_expanded(runs.start, runs.length)] = True
    structure = ndimage.generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[connectivity])
    return ndimage.label(mask.reshape(runs.shape), structure)[0].reshape(-1)[runs.start] - 1


def _expanded(start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """All of ``start[n], start[n] + 1, ...`` of the given lengths, one after the other."""
    ends = np.cumsum(length)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(start - (ends - length), length)


def _measured(runs: Runs, label: np.ndarray, number: int) -> Components:
    """Components from their runs, sorted by component and then by place."""
    _size_k, size_j, size_i = runs.shape
    offset = np.searchsorted(label, np.arange(number + 1))
    row, i = np.divmod(runs.start, size_i)
    k, j = np.divmod(row, size_j)
    count = np.bincount(label, runs.length, minlength=number).astype(np.int64)
    middle = (k, j, i + (runs.length - 1) / 2)
    centroid = [np.bincount(label, x * runs.length, minlength=number) / count for x in middle]
    box = np.empty((number, 3, 2), np.int64)
    maximum = np.empty(number)
    if number:
        for axis, (low, high) in enumerate(((k, k + 1), (j, j + 1), (i, i + runs.length))):
            box[:, axis, 0] = np.minimum.reduceat(low, offset[:-1])
            box[:, axis, 1] = np.maximum.reduceat(high, offset[:-1])
        maximum = np.maximum.reduceat(runs.maximum, offset[:-1])
    mean = np.bincount(label, runs.total, minlength=number) / count
    return Components(runs.shape, count, np.stack(centroid, axis=1), maximum, mean, box, runs, offset)
