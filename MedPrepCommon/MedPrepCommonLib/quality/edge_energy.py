"""How much of an image's edges survived its preparation: a sign of too much smoothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..core.job import Job
from ..core.volume import Volume
from ..geometry import regrid

# Edges: where the change per millimetre is among the strongest of this share of the voxels.
_STRONGEST = 0.03
_BINS = 512
_SAMPLE = 500_000
_SLICES = 16


def kept(image: Volume, original: Volume, job: Job | None = None) -> float | None:
    """The edge energy of `image` as a share of that which its original has at the same edges.

    The original is brought onto the grid of `image`, with the smoothing that a coarser grid needs, and its
    values through the tone curve of the preparation (the mean prepared value for each original value), so
    that resampling, clipping, windowing and scaling by themselves cost nothing. Energy is the mean square of
    the gradient per millimetre over the strongest 3 % of the original's gradients: the edges, not the noise.

    Returns
    -------
    float, near 1 when nothing was lost and above 1 after sharpening; None where there is no edge to compare.
    """
    job = job or Job.quiet()
    if original.same_grid(image):
        values, inside = original.array, None
    else:
        values, inside = regrid.onto(original, image, job.part(0.0, 0.4))
        if inside.mean() < 0.01:
            return None
    curve = _tone_curve(values, image.array, inside, job.part(0.4, 0.5))
    if curve is None:
        return None

    def expected(part: np.ndarray) -> np.ndarray:
        return np.interp(part, *curve).astype(np.float32)

    wanted = np.empty(image.shape, np.float32)
    for at, energy in _energies(values, expected, image.spacing_kji, job.part(0.5, 0.75)):
        wanted[at] = energy
    if inside is not None:
        from scipy import ndimage

        # The border of the original is no edge of the anatomy.
        wanted[~ndimage.binary_erosion(inside, iterations=2, border_value=1)] = 0.0
    step = max(1, wanted.size // _SAMPLE)
    limit = max(float(np.quantile(wanted.reshape(-1)[::step], 1 - _STRONGEST)), np.finfo(np.float32).tiny)
    total = found = 0.0
    for at, energy in _energies(image.array, _single, image.spacing_kji, job.part(0.75, 1.0)):
        edges = wanted[at] >= limit
        total += float(wanted[at][edges].sum(dtype=np.float64))
        found += float(energy[edges].sum(dtype=np.float64))
    return found / total if total > 0 else None


def _single(part: np.ndarray) -> np.ndarray:
    return part.astype(np.float32)


def _tone_curve(
    values: np.ndarray, after: np.ndarray, inside: np.ndarray | None, job: Job
) -> tuple[np.ndarray, np.ndarray] | None:
    """Original values, and the mean of `after` where the original is about that value."""
    known = values if inside is None else values[inside]
    # Equally filled bins follow the tissue, equally wide ones reach to the rare values of bone and metal.
    sample = known.reshape(-1)[:: max(1, known.size // _SAMPLE)]
    filled = np.quantile(sample, np.linspace(0, 1, _BINS + 1))
    edges = np.unique([*filled, *np.linspace(known.min(), known.max(), _BINS + 1)])
    if edges.size < 2:
        return None
    bins = edges.size - 1
    counts, x, y = np.zeros(bins, np.int64), np.zeros(bins), np.zeros(bins)
    for k in range(len(values)):
        job.report(k / len(values))
        a, b = (v[k].reshape(-1) if inside is None else v[k][inside[k]] for v in (values, after))
        index = np.clip(np.searchsorted(edges, a, "right") - 1, 0, bins - 1)
        counts += np.bincount(index, minlength=bins)
        x += np.bincount(index, a, bins)
        y += np.bincount(index, b, bins)
    used = counts > 0
    return x[used] / counts[used], y[used] / counts[used]


def _energies(
    array: np.ndarray,
    through: Callable[[np.ndarray], np.ndarray],
    spacing: tuple[float, float, float],
    job: Job,
) -> Iterator[tuple[slice, np.ndarray]]:
    """The gradient energy of ``through(array)``, some slices at a time: which slices, and theirs."""
    for first in range(0, len(array), _SLICES):
        job.report(first / len(array))
        last = min(first + _SLICES, len(array))
        low, high = max(first - 1, 0), min(last + 1, len(array))
        energy = _gradient_energy(through(array[low:high]), spacing)
        yield slice(first, last), energy[first - low : last - low]


def _gradient_energy(array: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Squared gradient per voxel, of differences of neighbours: central ones would miss the finest detail."""
    energy = np.zeros(array.shape, np.float32)
    for axis, mm in enumerate(spacing):
        if array.shape[axis] < 2:
            continue
        step = np.diff(array, axis=axis)
        step *= step
        step /= np.float32(2 * mm * mm)
        lower = tuple(slice(0, -1) if a == axis else slice(None) for a in range(3))
        upper = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        energy[lower] += step
        energy[upper] += step
    return energy
