"""How much of an image's edges survived its preparation: a sign of too much smoothing."""

from __future__ import annotations

import numpy as np

from . import regrid
from .job import Job
from .volume import Volume

# Edges: where the change per millimetre is among the strongest of this share of the voxels.
_STRONGEST = 0.03
_BINS = 512


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
        values, inside = original.array.astype(np.float32), None
    else:
        values, inside = regrid.onto(original, image, job.part(0.0, 0.4))
        if inside.mean() < 0.01:
            return None
    after = image.array.astype(np.float32)
    expected = _through_tone_curve(values, after, inside)
    if expected is None:
        return None
    job.report(0.6)
    wanted = _gradient_energy(expected, image.spacing_kji)
    job.report(0.75)
    found = _gradient_energy(after, image.spacing_kji)
    job.report(0.9)
    if inside is not None:
        from scipy import ndimage

        # The border of the original is no edge of the anatomy.
        wanted = np.where(ndimage.binary_erosion(inside, iterations=2, border_value=1), wanted, 0.0)
    limit = np.partition(wanted.reshape(-1), -max(1, int(_STRONGEST * wanted.size)))[
        -max(1, int(_STRONGEST * wanted.size))
    ]
    edges = wanted >= max(limit, np.finfo(np.float32).tiny)
    total = float(wanted[edges].sum(dtype=np.float64))
    return float(found[edges].sum(dtype=np.float64)) / total if total > 0 else None


def _through_tone_curve(
    values: np.ndarray, after: np.ndarray, inside: np.ndarray | None
) -> np.ndarray | None:
    """`values` with each replaced by the mean of `after` where the original is about that value."""
    known, seen = (values, after) if inside is None else (values[inside], after[inside])
    # Equally filled bins follow the tissue, equally wide ones reach to the rare values of bone and metal.
    sample = known.reshape(-1)[:: max(1, known.size // 500_000)]
    filled = np.quantile(sample, np.linspace(0, 1, _BINS + 1))
    edges = np.unique([*filled, *np.linspace(known.min(), known.max(), _BINS + 1)])
    if edges.size < 2:
        return None
    index = np.clip(np.searchsorted(edges, known.reshape(-1), "right") - 1, 0, edges.size - 2)
    counts = np.bincount(index, minlength=edges.size - 1)
    used = counts > 0
    x = np.bincount(index, known.reshape(-1), edges.size - 1)[used] / counts[used]
    y = np.bincount(index, seen.reshape(-1), edges.size - 1)[used] / counts[used]
    return np.interp(values, x, y).astype(np.float32)


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
