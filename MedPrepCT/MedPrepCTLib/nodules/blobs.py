"""Bright blobs of any size in a lung: maxima of the scale-normalised Laplacian of Gaussian.

At the centre of a ball the response is largest where the Gaussian's sigma is the radius over the square root
of three, and is then 0.93 of the ball's contrast (Lindeberg, Feature detection with automatic scale
selection, IJCV 30(2), 1998). The eigenvalues of the Hessian there tell a blob, which falls off alike in all
directions, from a vessel, which does not (Sato et al., Med Image Anal 2(2), 1998; Li, Sone and Doi, Med Phys
30(8), 2003). Everything is in millimetres, so slices may be thicker than pixels are wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.parallel import Crew

from ..grid.coarse_grid import CoarseGrid
from .juxtapleural import LungField

# Cells of the finest grid, and how much wider a Gaussian may be than a cell before a coarser grid does.
_CELL_MM, _CELLS_PER_SIGMA = 1.2, 2.2
# Ratio of one scale to the next.
_SCALE_STEP = 2**0.5
_TRUNCATE = 3.5
_SLAB_CELLS = 1 << 20
# Most seeds of one scale that are looked at; a response above the second says no more (dense, anyway).
_MOST_OF_A_SCALE, _ENOUGH_HU = 800, 150.0


@dataclass(frozen=True)
class Seeds:
    """Places to look at, the strongest first.

    Parameters
    ----------
    centre : (n, 3) mm from the field's first voxel along k, j, i. radius : (n,) mm. strength : (n,) HU.
    roundness : (n,) smallest over largest eigenvalue of the Hessian.
    """

    centre: np.ndarray
    radius: np.ndarray
    strength: np.ndarray
    roundness: np.ndarray

    def __len__(self) -> int:
        return len(self.radius)

    def pick(self, chosen: np.ndarray) -> Seeds:
        """The seeds at an index or mask."""
        return Seeds(*(x[chosen] for x in (self.centre, self.radius, self.strength, self.roundness)))


def find_blobs(
    field: LungField,
    diameters_mm: tuple[float, float],
    *,
    minimum_response: float = 55.0,
    minimum_roundness: float = 0.15,
    job: Job | None = None,
) -> Seeds:
    """Blobs between two diameters, one for each place.

    Parameters
    ----------
    diameters_mm : smallest and largest.
    minimum_response : HU; about the contrast of a nodule against lung.
    minimum_roundness : smallest over largest eigenvalue of the Hessian; 0 for a long vessel, 1 for a ball.
    """
    job = job or Job.quiet()
    low, high = (diameter / (2 * 3**0.5) for diameter in diameters_mm)
    count = max(1, int(np.ceil(np.log(high / low) / np.log(_SCALE_STEP))) + 1)
    sigmas = low * (high / low) ** (np.arange(count) / max(1, count - 1))
    found, level, factor = [], None, 0.0
    for n, sigma in enumerate(sigmas):
        here = job.part(n / count, (n + 1) / count)
        wanted = max(_CELL_MM, sigma / _CELLS_PER_SIGMA)
        if level is None or wanted > 1.6 * factor:
            grid = CoarseGrid(field.hu.shape, field.spacing_kji, wanted)
            level, factor = grid.mean(field.hu, here.part(0.0, 0.2)), wanted
        found.append(_maxima(level, grid, sigma, minimum_response, minimum_roundness, here.part(0.2, 1.0)))
    seeds = Seeds(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    return _apart(seeds.pick(_within(field, seeds)))


def _maxima(level, grid: CoarseGrid, sigma: float, least: float, roundness: float, job: Job):
    """Centre, radius and strength of the blobs of one scale."""
    spacing = np.array(grid.spacing_kji)
    # The mean over a cell has blurred already.
    blur = np.sqrt(np.maximum(sigma**2 - spacing**2 / 12, (0.3 * spacing) ** 2)) / spacing
    halo = int(_TRUNCATE * blur[0] + 0.5) + 2
    planes = max(4, _SLAB_CELLS // max(1, level[0].size))
    starts = range(0, len(level), planes)
    found = [None] * len(starts)

    def task(piece: int, worker: int) -> None:
        first, last = starts[piece], min(starts[piece] + planes, len(level))
        low, high = max(0, first - halo), min(len(level), last + halo)
        # Beyond the ends of the scan its outermost planes go on, as at the ends of `level`.
        smooth = ndimage.gaussian_filter(
            level[low:high].astype(np.float32), blur, mode="nearest", truncate=_TRUNCATE
        )
        smooth = np.pad(smooth, 1, mode="edge")
        found[piece] = _maxima_of(smooth, spacing, sigma, least, roundness, first - low, last - low, low)

    with Crew() as crew:
        crew.run(task, len(starts), job)
    cells, strength, roundness = (np.concatenate(parts) for parts in zip(*found, strict=True))
    best = np.lexsort((*cells.T, -_merit(strength, roundness)))[:_MOST_OF_A_SCALE]
    cells, strength, roundness = cells[best], strength[best], roundness[best]
    # Centre of cell n is at (n + 1/2) cells, that of voxel 0 at half a voxel.
    centre = ((cells + 0.5) * grid.factors - 0.5) * (spacing / grid.factors)
    return centre, np.full(len(cells), sigma * 3**0.5), strength, roundness


def _maxima_of(smooth, spacing, sigma, least, roundness, first, last, low):
    """Cells (n, 3) and strengths of the maxima in planes `first` to `last` of a padded, smoothed slab."""
    inner = (slice(1, -1),) * 3
    response = np.zeros(smooth.shape, np.float32)
    here = response[inner]
    for axis in range(3):
        weight = np.float32(-(sigma**2) / spacing[axis] ** 2)
        before, after = list(inner), list(inner)
        before[axis], after[axis] = slice(None, -2), slice(2, None)
        here += weight * (smooth[tuple(before)] + smooth[tuple(after)])
        here -= (2 * weight) * smooth[inner]
    flat = response.reshape(-1)
    steps = np.array([smooth.shape[1] * smooth.shape[2], smooth.shape[2], 1])
    index = np.flatnonzero(response[1 + first : 1 + last] > least) + (1 + first) * steps[0]
    for dk in (-1, 0, 1):
        for dj in (-1, 0, 1):
            for di in (-1, 0, 1):
                step = int(np.dot((dk, dj, di), steps))
                if step > 0:
                    index = index[flat[index] > flat[index + step]]
                elif step < 0:
                    index = index[flat[index] >= flat[index + step]]
    share = roundness_of(smooth.reshape(-1), index, steps, spacing)
    kept = share > roundness
    index, share = index[kept], share[kept]
    cells = np.stack(np.unravel_index(index, smooth.shape), axis=1) - 1.0
    cells[:, 0] += low
    return cells, flat[index], share


def roundness_of(
    flat: np.ndarray, index: np.ndarray, steps: np.ndarray, spacing: Sequence[float]
) -> np.ndarray:
    """Smallest over largest eigenvalue of the Hessian where all are negative (bright), else 0; (n,)."""
    hessian = np.empty((len(index), 3, 3))
    for a in range(3):
        hessian[:, a, a] = (flat[index + steps[a]] + flat[index - steps[a]] - 2.0 * flat[index]) / spacing[
            a
        ] ** 2
        for b in range(a):
            across = (
                flat[index + steps[a] + steps[b]]
                + flat[index - steps[a] - steps[b]].astype(np.float64)
                - flat[index + steps[a] - steps[b]]
                - flat[index - steps[a] + steps[b]]
            )
            hessian[:, a, b] = hessian[:, b, a] = across / (4 * spacing[a] * spacing[b])
    values = np.linalg.eigvalsh(hessian)
    return np.where(values[:, 2] < 0, values[:, 2] / np.minimum(values[:, 0], -1e-9), 0.0)


def _merit(strength: np.ndarray, roundness: np.ndarray) -> np.ndarray:
    """Ground glass is as good a find as a solid nodule, if only it is round."""
    return roundness * np.minimum(strength, _ENOUGH_HU)


def _within(field: LungField, seeds: Seeds) -> np.ndarray:
    """Whether a seed lies in the lung."""
    voxel = np.rint(seeds.centre / field.spacing_kji).astype(int)
    voxel = np.clip(voxel, 0, np.array(field.inside.shape) - 1)
    return field.inside[tuple(voxel.T)]


def _apart(seeds: Seeds) -> Seeds:
    """Without those that lie in the inner half of a stronger one of much the same size; strongest first."""
    merit = _merit(seeds.strength, seeds.roundness)
    seeds = seeds.pick(np.lexsort((*seeds.centre.T, seeds.radius, -merit)))
    kept: list[int] = []
    alive = np.ones(len(seeds), bool)
    for n in range(len(seeds)):
        if not alive[n]:
            continue
        kept.append(n)
        away = np.linalg.norm(seeds.centre - seeds.centre[n], axis=1)
        alike = np.abs(np.log(seeds.radius / seeds.radius[n])) < 0.8
        alive &= ~((away < 0.6 * np.minimum(seeds.radius, seeds.radius[n]) + 0.5) & alike)
    return seeds.pick(np.array(kept, int))
