"""Nodule candidates of a chest CT: found, felt out, scored, drawn and described.

A first step of any reading machine (Setio et al., Validation, comparison, and combination of algorithms for
automatic detection of pulmonary nodules, Med Image Anal 42, 2017): it must miss little; what follows, a
network or a radiologist, sorts out the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.job import Job

from ..grid.morphology import CROSS
from .blobs import find_blobs
from .dense_regions import fuzzy_seeds, threshold_seeds
from .juxtapleural import LungField
from .score import score
from .shape import Probe, Shapes, feel_out

METHODS = {"blobs": find_blobs, "threshold": threshold_seeds, "fuzzyCMeans": fuzzy_seeds}
# Half way down to the lung around suits most nodules.
_HALF = 0.5
# Vessels that end at a nodule are thinner than this share of it and are cut off.
_VESSEL_SHARE = 0.4
_REACH = 1.7
SOLID_HU, GLASS_HU = -300.0, -700.0
_SOLID_SHARE, _CORE_SHARE, _CORE_MM3 = 0.35, 0.05, 12.0
# Where a halo of ground glass is looked for, mm outside the dense part, and how much of it must be there.
_HALO_MM, _HALO_SHARE = (1.5, 3.0), 0.6
_PLEURAL_SHARE = 0.12
# Fainter is a cloud of vessels or lung that holds less air; denser at the border of the lung is rib or spine.
_FAINTEST_HU, _BONE_HU = -770.0, 300.0
# What is not wider than this many voxels has no shape to judge.
_VOXELS_ACROSS = 1.5


@dataclass(frozen=True)
class Candidate:
    """A spot that may be a nodule.

    Parameters
    ----------
    centre : (k, j, i) voxel index in the scan, with fractions. diameter : mm, of the ball of equal volume.
    volume : mm3. mean, maximum : HU. kind : "solid", "part-solid" or "ground-glass".
    pleural : it touches the border of the lung. score : 0 to 1.
    start, mask : first voxel (k, j, i) in the scan, and bool: the voxels that belong to it.
    """

    centre: tuple[float, float, float]
    diameter: float
    volume: float
    mean: float
    maximum: float
    kind: str
    pleural: bool
    score: float
    start: tuple[int, int, int]
    mask: np.ndarray

    @property
    def box(self) -> tuple[slice, ...]:
        """Where the mask lies in the scan."""
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.mask.shape, strict=True))


def find_candidates(
    field: LungField,
    hu: np.ndarray,
    *,
    method: str = "blobs",
    minimum_score: float = 0.5,
    diameters_mm: tuple[float, float] = (3.0, 40.0),
    most: int = 50,
    job: Job | None = None,
) -> list[Candidate]:
    """Candidates in a lung field, the highest score first.

    Parameters
    ----------
    hu : (k, j, i) the whole scan that the field was made of.
    method : one of METHODS. diameters_mm : smallest and largest. most : how many at most.
    """
    job = job or Job.quiet()
    seeds = METHODS[method](field, diameters_mm, job=job.part(0.0, 0.45))
    if not len(seeds):
        return []
    probe = Probe(field, job.part(0.45, 0.5))
    shapes = feel_out(probe, seeds, _HALF, job.part(0.5, 0.85))
    points = score(shapes, seeds, field.spacing_kji, field.lung_hu)
    fits = of_a_size(shapes, field.spacing_kji, diameters_mm)
    order = np.lexsort((*shapes.centre.T, -points))
    order = order[(points >= minimum_score)[order] & fits[order]]
    found: list[Candidate] = []
    taken: list[int] = []
    for n in order:
        if len(found) == most:
            break
        job.report(0.85 + 0.15 * len(found) / most)
        if any(_same(shapes, n, other) for other in taken):
            continue
        candidate = _describe(field, hu, shapes, n, float(points[n]))
        if candidate is not None and diameters_mm[0] <= candidate.diameter <= diameters_mm[1]:
            found.append(candidate)
            taken.append(n)
    return found


def of_a_size(shapes: Shapes, spacing_kji: Sequence[float], diameters_mm: tuple[float, float]) -> np.ndarray:
    """(n,) bool: whether a spot may turn out between two diameters once drawn, and has a shape at all."""
    least = max(0.7 * diameters_mm[0], _VOXELS_ACROSS * float(np.cbrt(np.prod(spacing_kji))))
    return (shapes.diameter > least) & (shapes.diameter < 1.4 * diameters_mm[1])


def _same(shapes: Shapes, one: int, other: int) -> bool:
    """Whether the middle of one lies in the other."""
    away = np.linalg.norm(shapes.centre[one] - shapes.centre[other])
    return bool(away < max(shapes.diameter[one], shapes.diameter[other]) / 2)


def _describe(field: LungField, hu: np.ndarray, shapes: Shapes, n: int, points: float) -> Candidate | None:
    """Draw the spot on the voxels and measure it there; None when its density is no nodule's."""
    spacing = np.array(field.spacing_kji)
    centre, radius = shapes.centre[n], float(shapes.radius[n])
    room = max(_REACH * radius, radius + _HALO_MM[1] + 1.0)
    low = np.maximum(np.floor((centre - room) / spacing).astype(int), 0)
    high = np.minimum(np.ceil((centre + room) / spacing).astype(int) + 1, field.hu.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    away = np.sqrt(
        sum(
            ((np.arange(s.start, s.stop) * step - c) ** 2).reshape([-1 if a == axis else 1 for a in range(3)])
            for axis, (s, step, c) in enumerate(zip(box, spacing, centre, strict=True))
        )
    )
    values, inside = field.hu[box], field.inside[box]
    mask = _drawn(values > shapes.threshold[n], away, inside, radius, spacing)
    if mask is None:
        return None
    start = np.array(field.start) + low
    scan = hu[tuple(slice(int(a), int(a) + size) for a, size in zip(start, mask.shape, strict=True))]
    halo = _halo(values, mask, inside, field.lung_hu, spacing)
    if halo is not None:
        wide = _drawn(values > halo, away, inside, max(radius, room / _REACH), spacing)
        mask = mask if wide is None else wide | mask
    inner = scan[mask]
    volume = float(inner.size * np.prod(spacing))
    mean, pleural = float(inner.mean(dtype=np.float64)), bool(shapes.pleural[n] >= _PLEURAL_SHARE)
    if mean < _FAINTEST_HU or (pleural and mean > _BONE_HU):
        return None
    kind = _kind(inner, float(np.prod(spacing)), halo is not None)
    return Candidate(
        # Rays out of a spot on an end slice meet beyond it; the centre stays in the scan.
        tuple(float(x) for x in np.clip(centre / spacing + field.start, 0, np.array(hu.shape) - 1)),
        float(np.cbrt(6 * volume / np.pi)),
        volume,
        mean,
        float(inner.max()),
        kind,
        pleural,
        points,
        tuple(int(x) for x in start),
        mask,
    )


def _drawn(dense, away, inside, radius: float, spacing: np.ndarray) -> np.ndarray | None:
    """The dense voxels around the middle without the vessels that end there; None when there are none."""
    dense = dense & inside & (away <= _REACH * radius)
    if not dense.any():
        return None
    mask = _piece_at(dense, away)
    # An opening measured in mm: what a ball of a part of the radius does not fit into is a vessel.
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    ball = _VESSEL_SHARE * float(depth.max())
    core = depth > ball
    if ball > 1.01 * spacing.max() and core.any():
        near = ndimage.distance_transform_edt(~_piece_at(core, away), sampling=spacing)
        mask = mask & (near <= ball + 0.5 * spacing.min())
    return mask


def _piece_at(mask: np.ndarray, away: np.ndarray) -> np.ndarray:
    """The connected piece that holds the voxel nearest to the middle."""
    labels, _count = ndimage.label(mask, CROSS)
    nearest = np.argmin(np.where(mask, away, np.inf))
    return labels == labels.reshape(-1)[nearest]


def _halo(values, mask, inside, lung_hu: float, spacing: np.ndarray) -> float | None:
    """HU of the border of a halo of ground glass around a dense part, or None when there is none."""
    if (values[mask] > SOLID_HU).mean() < _SOLID_SHARE:
        return None
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    first = max(_HALO_MM[0], 0.7 * float(spacing.max()))
    shell = (outside > first) & (outside <= first + _HALO_MM[1] - _HALO_MM[0]) & inside
    if np.count_nonzero(shell) < 20:
        return None
    border = 0.5 * (lung_hu + min(GLASS_HU + 100.0, lung_hu + 250.0))
    return border if (values[shell] > border).mean() >= _HALO_SHARE else None


def _kind(inner: np.ndarray, voxel_mm3: float, halo: bool) -> str:
    """Solid, part-solid or ground-glass, by how much of it is denser than -300 HU."""
    dense = float((inner > SOLID_HU).mean())
    if dense >= _SOLID_SHARE and not halo:
        return "solid"
    if halo or (dense >= _CORE_SHARE and dense * inner.size * voxel_mm3 >= _CORE_MM3):
        return "part-solid"
    return "ground-glass"


def label_map(candidates: Sequence[Candidate], shape: Sequence[int]) -> np.ndarray:
    """uint8 (k, j, i): n for the n-th candidate; where two meet, the higher score keeps the voxel."""
    labels = np.zeros(tuple(shape), np.uint8)
    for value in range(len(candidates), 0, -1):
        labels[candidates[value - 1].box][candidates[value - 1].mask] = value
    return labels
