"""A coarse grid over a large volume: block means down, and from a coarse answer back to every voxel.

Organs as large as a lung are found on cells of about 3 mm; only the cells on the organ's surface are looked
at again voxel by voxel.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from MedPrepCommonLib.core.job import Job

# Means are taken of values clipped to this range: metal and padding must not pull their whole block along.
LOWEST_HU, HIGHEST_HU = -1100, 1000


def thread_count() -> int:
    """Threads worth using for work that is bound by memory."""
    return max(1, min(4, os.cpu_count() or 1))


class CoarseGrid:
    """Blocks of voxels of nearly cubic size.

    Parameters
    ----------
    shape : (k, j, i) of the volume. spacing_kji : mm.
    cell_mm : wanted size of a cell; an axis whose spacing is already near it or above is left as it is.
    """

    def __init__(self, shape: Sequence[int], spacing_kji: Sequence[float], cell_mm: float) -> None:
        self.fine_shape = tuple(int(size) for size in shape)
        self.factors = tuple(max(1, int(cell_mm / step + 0.5)) for step in spacing_kji)
        self.shape = tuple(-(-size // f) for size, f in zip(self.fine_shape, self.factors, strict=True))
        self.spacing_kji = tuple(step * f for step, f in zip(spacing_kji, self.factors, strict=True))
        self.cell_mm3 = float(np.prod(self.spacing_kji))

    def mean(self, volume: np.ndarray, job: Job) -> np.ndarray:
        """Mean of each block, clipped to [-1100, 1000] before; int16 of `shape`. Any layout, any type."""
        # Read in the order in which the volume lies in memory, whatever its axes are called.
        order = sorted(range(3), key=lambda axis: -abs(volume.strides[axis]))
        laid_out = volume.transpose(order)
        factors = tuple(self.factors[axis] for axis in order)
        means = np.empty(tuple(self.shape[axis] for axis in order), np.int16)
        exact = laid_out.dtype.kind == "i" and factors[0] * factors[1] * -LOWEST_HU < 32767
        total_type = np.int16 if exact else np.float32 if laid_out.dtype.kind == "f" else np.int32

        def slab(first: int, last: int) -> None:
            buffer = np.empty((factors[0], *laid_out.shape[1:]), total_type)
            for k in range(first, last):
                job.check()
                block = laid_out[k * factors[0] : (k + 1) * factors[0]]
                clipped = buffer[: len(block)]
                if block.dtype.kind == "u":
                    block = block.astype(np.int64)
                np.clip(block, LOWEST_HU, HIGHEST_HU, out=clipped, casting="unsafe")
                total = _sum_of_blocks(clipped, factors[1:])
                count = len(block) * _block_sizes(laid_out.shape[1], factors[1])[:, None]
                mean = total / (count * _block_sizes(laid_out.shape[2], factors[2]))
                # Not-a-number counts as water: never as air.
                means[k] = np.rint(np.nan_to_num(mean)) if mean.dtype.kind == "f" else mean

        threads = thread_count()
        edges = np.linspace(0, means.shape[0], min(means.shape[0], 4 * threads) + 1).astype(int)
        with ThreadPoolExecutor(threads) as pool:
            slabs = [pool.submit(slab, a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
            for n, done in enumerate(slabs):
                done.result()
                job.report((n + 1) / len(slabs))
        return means.transpose(np.argsort(order))


def _block_sizes(size: int, factor: int) -> np.ndarray:
    """Voxels in each block along an axis; the last block may be short."""
    count = -(-size // factor)
    sizes = np.full(count, factor)
    sizes[-1] = size - (count - 1) * factor
    return sizes


def _sum_of_blocks(clipped: np.ndarray, factors: tuple[int, int]) -> np.ndarray:
    """Sum over all planes and over blocks of rows and columns: (n, rows, columns) to (blocks, blocks)."""
    fj, fi = factors
    _, nj, ni = clipped.shape
    whole = nj // fj * fj
    rows = np.zeros((-(-nj // fj), ni), clipped.dtype)
    for plane in clipped:
        for b in range(fj):
            rows[: whole // fj] += plane[b:whole:fj]
        for b in range(whole, nj):
            rows[-1] += plane[b]
    whole = ni // fi * fi
    wide = np.float32 if rows.dtype.kind == "f" else np.int32
    sums = np.zeros((rows.shape[0], -(-ni // fi)), wide)
    for b in range(fi):
        sums[:, : whole // fi] += rows[:, b:whole:fi]
    for b in range(whole, ni):
        sums[:, -1] += rows[:, b]
    return sums
