"""An image and its label maps through one deformation: trilinear and nearest values, read without copies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .deformation import Deformation
from .job import Job
from .parallel import Crew

# Pixels of the rows that one piece of work takes, so that its scratch stays in the second-level cache.
_PIECE = 1 << 14


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

    def index(self, places: Sequence[np.ndarray]) -> np.ndarray:
        """Where in memory the voxels of these whole indices (3, n) are."""
        total = np.full(places[0].shape, self.start, np.int64)
        for place, step in zip(places, self.steps, strict=True):
            if step:
                distance = place.astype(np.int64)
                distance *= step
                total += distance
        return total


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
    results : arrays of the same shape to write to: float32 or float64 for the image, for labels their own.

    Returns
    -------
    float : share of the output voxels that lie outside.
    """
    depth, height, width = image.shape
    read = deformation.reader()
    source, maps = _Memory(image), [_Memory(label) for label in labels]
    rows = max(1, _PIECE // width)
    starts = [(k, start) for k in range(depth) for start in range(0, height, rows)]
    missed = [0] * len(starts)

    def task(piece: int, worker: int) -> None:
        k, start = starts[piece]
        stop = min(start + rows, height)
        place = read(k, start, stop)
        gone = _beyond(place, image.shape)
        for axis, n in enumerate(image.shape):
            np.clip(place[axis], 0, n - 1, out=place[axis])
        target = results[0][k, start:stop]
        target[...] = _linear(source, place, results[0].dtype)
        if gone is not None:
            missed[piece] = int(np.count_nonzero(gone))
            if outside is not None:
                target[gone] = outside
        if not maps:
            return
        place += np.float32(0.5)
        nearest = [np.minimum(p.astype(np.int32), n - 1) for p, n in zip(place, image.shape, strict=True)]
        index = maps[0].index(nearest)
        for n, (label, result) in enumerate(zip(maps, results[1:], strict=True)):
            if n and label.steps != maps[0].steps:
                index = label.index(nearest)
            values = label.flat.take(index, mode="clip")
            if gone is not None:
                values[gone] = 0
            result[k, start:stop] = values

    with Crew() as crew:
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


def _linear(source: _Memory, place: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values between the voxels; places within the outermost centres."""
    axes = [axis for axis in range(3) if source.shape[axis] > 1]
    whole, share = [], []
    for p, n in zip(place, source.shape, strict=True):
        cell = np.floor(p)
        np.minimum(cell, max(n - 2, 0), out=cell)
        whole.append(cell)
        share.append((p - cell).astype(dtype, copy=False))
    # The corner of each cell that comes first in memory; the other seven lie at fixed distances behind it.
    corner = source.index(whole) + sum(min(source.steps[axis], 0) for axis in axes)

    def between(axes: list[int], behind: int) -> np.ndarray:
        if not axes:
            return source.flat[behind:].take(corner, mode="clip").astype(dtype, copy=False)
        axis, rest = axes[0], axes[1:]
        step = source.steps[axis]
        low = between(rest, behind + max(-step, 0))
        high = between(rest, behind + max(step, 0))
        high -= low
        high *= share[axis]
        low += high
        return low

    return between(axes, 0)
