"""An image and its label maps through one deformation: trilinear and nearest values, read without copies."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from ..core.integers import put_rounded, work_type
from ..core.job import Job
from ..core.parallel import Crew
from .deformation import Deformation

# Pixels of the rows that one piece of work takes: measured best of 2^12 .. 2^16.
_PIECE = 1 << 15
# All indices are valid; of the ways in which numpy takes values, this checks them fastest.
_MODE = "wrap"


class _Memory:
    """An array as one run of memory, its axes as steps in it (of either sign), so that views need no copy."""

    def __init__(self, view: np.ndarray) -> None:
        order = sorted(range(3), key=lambda axis: -abs(view.strides[axis]))
        turned = view.transpose(order)
        turned = turned[tuple(slice(None, None, -1 if step < 0 else 1) for step in turned.strides)]
        if not turned.flags.c_contiguous:
            view = turned = np.ascontiguousarray(view)
        self.flat = turned.reshape(-1)
        self.shape = view.shape
        sizes = list(zip(view.strides, view.shape, strict=True))
        self.steps = [step // view.itemsize if n > 1 else 0 for step, n in sizes]
        self.start = -sum(step // view.itemsize * (n - 1) for step, n in sizes if step < 0)

    def index(self, own: _Scratch, behind: int = 0) -> np.ndarray:
        """Where in memory the voxels of `own.cells` are, minus `behind`; in `own.index`."""
        own.total[...] = self.start - behind
        for cell, step in zip(own.cells, self.steps, strict=True):
            if step:
                own.total += np.multiply(cell, step, out=own.spare)
        own.index[...] = own.total
        return own.index


class _Scratch:
    """What one thread works in, made once: new memory for each piece takes longer than the work in it.

    Parameters
    ----------
    shape : rows and columns of a piece. size : voxels of the image. dtype : of the values.
    """

    def __init__(self, shape: tuple[int, int], size: int, dtype: np.dtype) -> None:
        whole = np.int32 if size < 1 << 31 else np.int64
        self.place = np.empty((3, *shape), np.float32)
        self.cells = np.empty((3, *shape), whole)
        self.total, self.spare = np.empty((2, *shape), whole)
        self.index = np.empty(shape, np.intp)
        self.floor = np.empty(shape, np.float32)
        self.values = np.empty((4, *shape), dtype)

    def rows(self, count: int) -> _Scratch:
        """The same memory for a piece of fewer rows."""
        part = copy.copy(self)
        vars(part).update({name: array[..., :count, :] for name, array in vars(self).items()})
        return part


def warp(
    image: np.ndarray,
    labels: Sequence[np.ndarray],
    deformation: Deformation,
    outside: float | None,
    results: Sequence[np.ndarray],
    job: Job,
) -> float:
    """Fill `results` with the deformed image (trilinear) and label maps (nearest voxel).

    A place counts as inside up to half a voxel beyond the outermost centres, where the outermost value
    continues.

    Parameters
    ----------
    image, labels : (k, j, i) on one grid, in any memory order; not copied where they fill their memory.
    outside : value of the image beyond its border; None continues it. Labels are 0 there.
    results : arrays of the same shape to write to, for labels of their type; whole numbers for the image are
        rounded half up and limited to what the type holds.

    Returns
    -------
    float : share of the output voxels that lie outside.
    """
    depth, height, width = image.shape
    read = deformation.reader()
    source, maps = _Memory(image), [_Memory(label) for label in labels]
    rows = min(height, max(1, _PIECE // width))
    starts = [(k, start) for k in range(depth) for start in range(0, height, rows)]
    missed = [0] * len(starts)
    with Crew() as crew:
        scratch: list[_Scratch | None] = [None] * crew.size

        def task(piece: int, worker: int) -> None:
            k, start = starts[piece]
            stop = min(start + rows, height)
            if scratch[worker] is None:
                scratch[worker] = _Scratch((rows, width), image.size, work_type(results[0].dtype))
            own = scratch[worker].rows(stop - start)
            gone = _beyond(read(k, start, stop, own.place), image.shape)
            _split(own, image.shape)
            values = _linear(source, own)
            if gone is not None:
                missed[piece] = int(np.count_nonzero(gone))
                if outside is not None:
                    values[gone] = outside
            put_rounded(values, results[0][k, start:stop])
            if maps:
                _to_nearest(own)
            for label, result in zip(maps, results[1:], strict=True):
                values = label.flat.take(label.index(own), mode=_MODE)
                if gone is not None:
                    values[gone] = 0
                result[k, start:stop] = values

        crew.run(task, len(starts), job)
    return sum(missed) / image.size


def _beyond(place: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray | None:
    """Where the places lie beyond the voxels' outer faces; None for nowhere."""
    gone = None
    for axis, n in enumerate(shape):
        for low in (True, False):
            limit = np.float32(-0.5 if low else n - 0.5)
            if place[axis].min() < limit if low else place[axis].max() > limit:
                here = place[axis] < limit if low else place[axis] > limit
                gone = here if gone is None else np.logical_or(gone, here, out=gone)
    return gone


def _split(own: _Scratch, shape: tuple[int, int, int]) -> None:
    """Turn places into cells, by the index of their first corner, and shares of the way to the next one."""
    for place, cell, n in zip(own.place, own.cells, shape, strict=True):
        place.clip(0, n - 1, out=place)
        np.floor(place, out=own.floor).clip(0, max(n - 2, 0), out=own.floor)
        place -= own.floor
        cell[...] = own.floor


def _to_nearest(own: _Scratch) -> None:
    """Turn cells into nearest voxels."""
    own.place += np.float32(0.5)
    for place, cell in zip(own.place, own.cells, strict=True):
        own.spare[...] = place
        cell += own.spare


def _linear(source: _Memory, own: _Scratch) -> np.ndarray:
    """Values between the voxels."""
    axes = [axis for axis in range(3) if source.shape[axis] > 1]
    steps = [source.steps[axis] for axis in axes]
    # The corner of each cell that comes first in memory; the other seven lie at fixed distances behind it.
    corner = source.index(own, -sum(min(step, 0) for step in steps))
    return _between(source.flat, corner, steps, [own.place[axis] for axis in axes], own.values)


def _between(
    flat: np.ndarray, corner: np.ndarray, steps: list[int], shares: list[np.ndarray], values: np.ndarray
) -> np.ndarray:
    """Fill values[0] with what lies between the corners of cells; the others are scratch."""
    low = values[0]
    if not steps:
        if flat.dtype == low.dtype:
            return flat.take(corner, out=low, mode=_MODE)
        low[...] = flat.take(corner, mode=_MODE)
        return low
    step = steps[0]
    _between(flat[max(-step, 0) :], corner, steps[1:], shares[1:], values)
    high = _between(flat[max(step, 0) :], corner, steps[1:], shares[1:], values[1:])
    high -= low
    high *= shares[0]
    low += high
    return low
