"""A head in coarse cells: block means of about 2 mm, what is signal and what is air, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import Volume
from MedPrepMRILib.numeric.log_field import LogField, Term

CELL = 2.0
# Signal starts here between the robust dark and bright end of an image (Smith 2002).
_SIGNAL_SHARE = 0.1


@dataclass(frozen=True)
class HeadCells:
    """An image in coarse cells.

    Parameters
    ----------
    means : (k, j, i) float32 block means. factors : voxels per cell along k, j, i.
    spacing_kji : mm of a cell. shape : (k, j, i) voxels of the image.
    dark, bright : 2nd and 98th percentile of the cells. signal : what is brighter is no air.
    head : bool cells of the largest connected piece of signal, holes filled.
    """

    means: np.ndarray
    factors: tuple[int, int, int]
    spacing_kji: tuple[float, float, float]
    shape: tuple[int, int, int]
    dark: float
    bright: float
    signal: float
    head: np.ndarray

    def near_head(self, k: int) -> np.ndarray:
        """Which voxels (j, i) of the slice k lie in cells of the head."""
        cells = self.head[k // self.factors[0]]
        rows = cells[np.arange(self.shape[1]) // self.factors[1]]
        return rows[:, np.arange(self.shape[2]) // self.factors[2]]

    def smooth_edge(self, cells: np.ndarray) -> Callable[[int], np.ndarray]:
        """Voxels (j, i) bool of any slice k inside `cells` (bool), the steps of the cells smoothed away."""
        soft = ndimage.gaussian_filter(cells.astype(np.float32), 0.6, mode="nearest")
        matrices = tuple(
            _linear(n, factor, count)
            for n, factor, count in zip(self.shape, self.factors, cells.shape, strict=True)
        )
        read = LogField((Term(soft, matrices),)).reader()
        return lambda k: read(k) > 0.5


def head_cells(volume: Volume, job: Job | None = None) -> HeadCells:
    """Look at an image in coarse cells.

    Raises
    ------
    InputError
        when every voxel has the same value.
    """
    factors = tuple(max(1, int(CELL / s + 0.5)) for s in volume.spacing_kji)
    means = block_means(volume.array, factors, job or Job.quiet())
    dark, bright = (float(v) for v in np.percentile(means, [2, 98]))
    if not bright > dark:
        dark, bright = float(means.min()), float(means.max())
    if not bright > dark:
        raise InputError(
            _("Every voxel of the image is {value:g}.").format(value=dark),
            _("Expected an image with contrast."),
            _("Choose another image."),
        )
    signal = dark + _SIGNAL_SHARE * (bright - dark)
    head = largest(means > signal)
    # A slice or a slab is closed within its planes: the skull of a slab is open at both ends.
    spacing = tuple(s * f for s, f in zip(volume.spacing_kji, factors, strict=True))
    for axis in range(3):
        if head.shape[axis] * spacing[axis] < 60.0:
            planes = np.moveaxis(head, axis, 0)
            for plane in planes:
                plane |= without_holes(plane)
    head = without_holes(head)
    return HeadCells(means, factors, spacing, volume.shape, dark, bright, signal, head)


def foreground(volume: Volume, job: Job | None = None) -> np.ndarray:
    """Voxels (k, j, i), bool, with signal in the largest object of an image of any part of the body.

    Signal is what is brighter than a tenth of the way from the 2nd to the 98th percentile of 2 mm block means
    (the rule of Smith 2002), which leaves out air and most of compact bone.

    Raises
    ------
    InputError
        when every voxel has the same value.
    """
    cells = head_cells(volume, job)
    # The head's outermost voxels may lie in cells that are air on average.
    grown = HeadCells(
        **{**cells.__dict__, "head": ndimage.binary_dilation(cells.head, np.ones((3, 3, 3), bool))}
    )
    found = np.empty(volume.shape, bool)
    for k in range(volume.shape[0]):
        if job is not None:
            job.check()
        found[k] = (volume.array[k] > cells.signal) & grown.near_head(k)
    return found


def block_means(array: np.ndarray, factors: tuple[int, int, int], job: Job) -> np.ndarray:
    """Means over blocks of voxels, float32; the blocks at the far edges may be smaller."""
    starts = [np.arange(0, n, f) for n, f in zip(array.shape, factors, strict=True)]
    counts = [np.diff(np.append(s, n)).astype(np.float32) for s, n in zip(starts, array.shape, strict=True)]
    means = np.empty([len(s) for s in starts], np.float32)
    for n, start in enumerate(starts[0]):
        job.check()
        plane = array[start : start + factors[0]].mean(axis=0, dtype=np.float32)
        rows = np.add.reduceat(plane, starts[1], axis=0)
        means[n] = np.add.reduceat(rows, starts[2], axis=1)
    means /= counts[1][:, None] * counts[2]
    return means


def largest(cells: np.ndarray) -> np.ndarray:
    """The largest piece of `cells` (bool) whose cells touch by faces."""
    labels, count = ndimage.label(cells)
    if count < 2:
        return cells
    return labels == np.bincount(labels.reshape(-1))[1:].argmax() + 1


def without_holes(cells: np.ndarray) -> np.ndarray:
    """`cells` (bool) and all that they enclose; faster than scipy's binary_fill_holes on large arrays."""
    labels, count = ndimage.label(~cells)
    outside = np.zeros(count + 1, bool)
    for axis in range(cells.ndim):
        for end in (0, -1):
            outside[labels.take(end, axis)] = True
    outside[0] = False
    return ~outside[labels]


def _linear(n: int, factor: int, count: int) -> np.ndarray:
    """(n, count) weights that interpolate between the middles of cells, constant beyond the outermost."""
    middles = np.minimum(np.arange(count) * factor + (factor - 1) / 2, n - 1)
    matrix = np.zeros((n, count), np.float32)
    for cell in range(count):
        matrix[:, cell] = np.interp(np.arange(n), middles, np.eye(count)[cell])
    return matrix
