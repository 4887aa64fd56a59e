"""Where the brain is in an MRI of any contrast: the network's log odds on voxels of 3 mm, and the way
back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.geometry.orientation import Orientation, orientation
from MedPrepCommonLib.geometry.resampling import antialias_sigma, resample_grid

from . import network
from .head import constant_background
from .recent import Recent

# Signal starts this far from the darkest to the brightest tissue; air around it is cut off but for a margin
# (mm).
_SIGNAL, _MARGIN = 0.1, 12.0
# Darkest and brightest shares of the voxels that are limited, as in training.
_DARKEST, _BRIGHTEST, _LIMIT = 0.005, 0.99, 1.2
# Log odds are limited here: a network that is sure of itself must not outvote the interpolation.
_SURE = 8.0
# Voxels of 3 mm to which a slice or a thin slab is drawn out.
_THINNEST = 8
# Voxels of 3 mm that a brain of the training has on average: a larger or smaller one is shown on larger or
# smaller voxels, in so many looks at most, until it is as large to this share.
_TRAINED, _LOOKS, _SAME_SIZE, _SPACINGS = 49_000, 2, 0.01, (2.6, 3.6)


@dataclass(frozen=True)
class Working:
    """An image on voxels of about 3 mm, axes to the patient's right, front and top.

    Parameters
    ----------
    array : (i, j, k) float32 from 0 to 1. stored : how the volume's axes become these.
    starts, steps : of its voxels along the volume's axes (after `stored`), in the volume's voxels.
    shape : voxels of the volume along them. background : the one value around a blanked image, or None.
    content : (i, j, k) bool, what is not air or background. ends : the image's values that became 0 and 1.
    spacing : mm of its voxels.
    """

    array: np.ndarray
    stored: Orientation
    starts: tuple[float, ...]
    steps: tuple[float, ...]
    shape: tuple[int, ...]
    background: float | None
    content: np.ndarray
    ends: tuple[float, float]
    spacing: float

    def sampled(self, mask: np.ndarray) -> np.ndarray:
        """A mask of the volume, (k, j, i) bool, on this grid: its nearest voxels."""
        seen = self.stored.view(mask)
        index = [
            np.clip(np.rint(start + step * np.arange(n)), 0, size - 1).astype(int)
            for start, step, n, size in zip(
                self.starts, self.steps, self.array.shape, seen.shape, strict=True
            )
        ]
        return seen[np.ix_(*index)]


@dataclass(frozen=True)
class Found:
    """Log odds (i, j, k) of brain on the working grid, and how well two looks agree (Dice, 0 to 1)."""

    odds: np.ndarray
    agreement: float
    working: Working

    def inside(self, least: float, job: Job) -> np.ndarray:
        """Voxels (k, j, i) bool of the volume whose log odds are above `least`."""
        grid = self.working
        mask = np.empty(grid.shape, bool)
        starts = [-start / step for start, step in zip(grid.starts, grid.steps, strict=True)]
        steps = [1 / step for step in grid.steps]
        slab = max(1, (1 << 22) // (grid.shape[1] * grid.shape[2]))
        for first in range(0, grid.shape[0], slab):
            job.check()
            count = min(slab, grid.shape[0] - first)
            mask[first : first + count] = (
                resample_grid(
                    self.odds,
                    (starts[0] + first * steps[0], *starts[1:]),
                    steps,
                    (count, *grid.shape[1:]),
                    order=1,
                )
                > least
            )
            job.report((first + count) / grid.shape[0])
        return grid.stored.undo(mask)


_RECENT: Recent[Found] = Recent()


def find(volume: Volume, job: Job | None = None) -> Found:
    """Log odds of brain: the mean of what the network says of the image and of its mirror image.

    Raises
    ------
    InputError
        when every voxel has the same value.
    """
    job = job or Job.quiet()
    if (known := _RECENT.of(volume)) is not None:
        return known
    spacing = network.SPACING
    for n in range(_LOOKS):
        working = prepared(volume, spacing, job.part(0.2 * n, 0.2 * n + 0.05))
        image, parts = _padded(working.array)
        seen = network.scores(image, job.part(0.2 * n + 0.05, 0.2 * (n + 1)))[parts]
        fitting = _fitting(seen > 0, spacing)
        if abs(fitting - spacing) < _SAME_SIZE * spacing:
            break
        spacing = fitting
    mirrored = network.scores(np.ascontiguousarray(image[::-1]), job.part(0.8, 1.0))[::-1][parts]
    both = 2 * np.count_nonzero((seen > 0) & (mirrored > 0))
    total = np.count_nonzero(seen > 0) + np.count_nonzero(mirrored > 0)
    odds = np.clip(seen, -_SURE, _SURE) + np.clip(mirrored, -_SURE, _SURE)
    return _RECENT.keep(volume, Found(odds / 2, both / total if total else 0.0, working))


def _fitting(brain: np.ndarray, spacing: float) -> float:
    """Voxel size (mm) at which a brain is as large as those of the training; what is cut keeps its own."""
    count = np.count_nonzero(brain)
    cut = any(brain.take(end, axis).mean() > 0.1 for axis in range(3) for end in (0, -1))
    if cut or not count:
        return spacing
    size = (count / _TRAINED) ** (1 / 3)
    return float(np.clip(spacing * size, *_SPACINGS))


def prepared(volume: Volume, spacing: float = network.SPACING, job: Job | None = None) -> Working:
    """The image as the network wants it: voxels of about 3 mm, in anatomical order, air cut off, 0 to 1."""
    if volume.array.min() == volume.array.max():
        raise InputError(
            _("Every voxel of the image is {value:g}.").format(value=float(volume.array.flat[0])),
            _("Expected an image with contrast."),
            _("Choose another image."),
        )
    stored = orientation(volume, "RAS")
    array, own = stored.view(volume.array), stored.reorder(volume.spacing_kji)
    background = constant_background(volume.array)
    starts, steps, shape = [], [], []
    for size, old in zip(array.shape, own, strict=True):
        count = max(1, math.ceil(size * old / spacing - 1e-6))
        step = spacing / old
        starts.append((size - 1) / 2 - step * (count - 1) / 2)
        steps.append(step)
        shape.append(count)
    sigma = [antialias_sigma(old, spacing) / old for old in own]
    coarse = resample_grid(array, starts, steps, shape, order=1, sigma=sigma, out_dtype=np.float32, job=job)
    box, low, high, content = _content(coarse, background)
    unit = np.clip((coarse[box] - low) / (high - low), 0, _LIMIT).astype(np.float32)
    if background is not None:  # of whatever value: as dark as air
        unit[np.abs(coarse[box] - background) <= 1e-5 * np.ptp(coarse)] = 0.0
    starts = [start + part.start * step for start, part, step in zip(starts, box, steps, strict=True)]
    return Working(
        unit, stored, tuple(starts), tuple(steps), array.shape, background, content, (low, high), spacing
    )


def _content(
    coarse: np.ndarray, background: float | None
) -> tuple[tuple[slice, ...], float, float, np.ndarray]:
    """Box around what gives signal, the values that become 0 and 1, and what gives signal in the box."""
    around = np.zeros(coarse.shape, bool)
    if background is not None:
        around = np.abs(coarse - background) <= 1e-5 * np.ptp(coarse)
    values = coarse[~around] if not around.all() else coarse
    low, high = (float(v) for v in np.quantile(values, (0.02, 0.98)))
    signal = coarse > low + _SIGNAL * (high - low)
    if background is not None:
        signal = coarse > background + _SIGNAL * (high - background)
        if background > low:  # half of a z-scored brain is darker than its background
            signal = np.abs(coarse - background) > 1e-4 * (high - low)
    opened = ndimage.binary_opening(signal) if min(coarse.shape) > 3 else signal
    parts, count = ndimage.label(opened if opened.any() else signal)
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1 if count else signal
    margin = round(_MARGIN / network.SPACING)
    ends = [np.flatnonzero(largest.any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
    box = tuple(
        slice(max(0, int(e[0]) - margin), min(n, int(e[-1]) + 1 + margin))
        for e, n in zip(ends, coarse.shape, strict=True)
    )
    inner = coarse[box]
    if background is not None:
        tissue = inner[~around[box]] if not around[box].all() else inner
        floor = min(background, float(tissue.min())) if background < low else float(tissue.min())
        bright = max(float(np.quantile(inner, _BRIGHTEST)), float(np.quantile(tissue, 0.9)))
        return box, floor, bright if bright > floor else floor + 1.0, largest[box]
    dark, bright = (float(v) for v in np.quantile(inner, (_DARKEST, _BRIGHTEST)))
    return box, dark, bright if bright > dark else dark + max(float(np.ptp(inner)), 1e-30), largest[box]


def _padded(image: np.ndarray) -> tuple[np.ndarray, tuple[slice, ...]]:
    """With zeros around, so that every axis is a multiple of the network's; and where the image lies in it.

    A slice or a thin slab is drawn out first: the network was shown none thinner.
    """
    drawn = [max(0, _THINNEST - n) for n in image.shape]
    image = np.pad(image, [(n // 2, n - n // 2) for n in drawn], mode="edge")
    pads = []
    for n in image.shape:
        more = max(2 * network.MULTIPLE, -(-n // network.MULTIPLE) * network.MULTIPLE) - n
        pads.append((more // 2, more - more // 2))
    parts = tuple(
        slice(a + d // 2, a + n - (d - d // 2))
        for (a, _b), n, d in zip(pads, image.shape, drawn, strict=True)
    )
    return np.pad(image, pads), parts
