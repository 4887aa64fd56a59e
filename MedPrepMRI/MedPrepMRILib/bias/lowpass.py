"""Bias fields by low-pass filtering: fast and simple, but anatomy of the field's own size goes along.

Both filters are normalized convolutions: only voxels of the mask count, so that air does not darken the
brain's border (Guillemaud 1998). They run on a grid of about 4 mm, which holds all that a low-pass leaves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft, ndimage

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import Volume
from MedPrepMRILib.numeric import shrink
from MedPrepMRILib.numeric.log_field import LogField, interpolated

# Where fewer of a filter's weights than this fall inside the mask, the field goes over into 1.
_LEAST_SHARE = 1e-3
# Points of the grid that is filtered: of a head with the usual wavelength it has a quarter as many.
_LARGEST_GRID = 2**24


def coarse_signal(image: Volume, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[slice, ...]]:
    """Image (float64) and mask (signal above zero) on a grid of about 4 mm, and the voxels that make it."""
    samples = shrink.samples(image, shrink.factors(image))
    if not (mask[samples] & (image.array[samples] > 0)).any():
        # A mask so thin that the grid misses it: the grid is laid through its first voxel.
        first = np.unravel_index(int(np.argmax(mask & (image.array > 0))), mask.shape)
        samples = tuple(
            slice(int(start) % part.step, None, part.step) for start, part in zip(first, samples, strict=True)
        )
    coarse = image.array[samples].astype(np.float64)
    return coarse, mask[samples] & (coarse > 0), samples


def gaussian_field(image: Volume, mask: np.ndarray, sigma: float, job: Job | None = None) -> LogField:
    """Log of the mean intensity in the mask under a Gaussian of `sigma` mm, relative to the whole mean."""
    job = job or Job.quiet()
    coarse, inside, samples = coarse_signal(image, mask)
    sigmas = [sigma / s for s in _spacing(image, samples)]
    job.check()
    mean = coarse[inside].mean()
    excess = _gaussian(np.where(inside, coarse / mean - 1.0, 0.0), sigmas)
    job.check()
    share = _gaussian(inside.astype(np.float64), sigmas)
    local = 1.0 + excess / (share + _LEAST_SHARE)
    return interpolated(np.log(np.maximum(local, 0.05)), samples, image.shape)


def homomorphic_field(
    image: Volume, mask: np.ndarray, wavelength: float, order: int = 2, job: Job | None = None
) -> LogField:
    """Log intensities in the mask through a Butterworth low-pass that halves waves of `wavelength` mm."""
    job = job or Job.quiet()
    coarse, inside, samples = coarse_signal(image, mask)
    log = np.log(np.where(inside, coarse, 1.0))
    log = np.where(inside, log - log[inside].mean(), 0.0)
    spacing = _spacing(image, samples)
    sizes = _padded(log.shape, spacing, wavelength)
    squares = [
        np.square((fft.rfftfreq if axis == 2 else fft.fftfreq)(n, s) * wavelength)
        for axis, (n, s) in enumerate(zip(sizes, spacing, strict=True))
    ]
    square = squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :]
    gain = 1.0 / (1.0 + square**order)

    def low_pass(values: np.ndarray) -> np.ndarray:
        job.check()
        back = fft.irfftn(fft.rfftn(values, sizes) * gain, sizes)
        return back[tuple(slice(n) for n in values.shape)]

    # A Butterworth filter undershoots: far from the mask its share is no weight any more.
    share = np.maximum(low_pass(inside.astype(np.float64)), 0.0)
    return interpolated(low_pass(log) * share / (share**2 + 1e-2 * share.max() ** 2), samples, image.shape)


def _padded(shape: Sequence[int], spacing: Sequence[float], wavelength: float) -> list[int]:
    """Sizes for the Fourier transform, (k, j, i).

    Twice the wavelength beyond the edges: what is filtered must not come round from the other side. Less
    where that would take more memory than the image is worth: a wave that long hardly changes over it.
    """
    share = 1.0
    while True:
        sizes = [
            fft.next_fast_len(n + int(np.ceil(share * 2 * wavelength / s)), True) if n > 1 else 1
            for n, s in zip(shape, spacing, strict=True)
        ]
        if share < 0.01 or np.prod(sizes, dtype=float) <= max(_LARGEST_GRID, 2 * np.prod(shape, dtype=float)):
            return sizes
        share *= 0.8


def _spacing(image: Volume, samples: Sequence[slice]) -> list[float]:
    return [s * (part.step or 1) for s, part in zip(image.spacing_kji, samples, strict=True)]


def _gaussian(values: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """Zero beyond the edges: there is no mask there."""
    return ndimage.gaussian_filter(values, sigmas, mode="constant", truncate=3.0)
