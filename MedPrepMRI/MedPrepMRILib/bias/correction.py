"""Divide an image by its bias field at full resolution, and measure what that did.

The corrected image keeps the mean that the input has in the mask: the field is scaled accordingly, so that
field x corrected image is the input everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.parallel import Crew

# Voxels per piece of work: a few milliseconds, so that Cancel is noticed at once.
_PIECE = 1 << 18


@dataclass(frozen=True)
class Measures:
    """What a correction did inside the mask.

    Parameters
    ----------
    voxels : in the mask.
    mean : of the input there, and of the corrected image.
    deviation_before, deviation_after : standard deviation there.
    correlation : of input and corrected image there (Pearson); 1 where either is constant.
    field : (minimum, maximum, mean, standard deviation) of the field there.
    """

    voxels: int
    mean: float
    deviation_before: float
    deviation_after: float
    correlation: float
    field: tuple[float, float, float, float]

    @property
    def cv_before(self) -> float:
        """Coefficient of variation (standard deviation / mean) of the input; 0 for a mean of 0."""
        return abs(self.deviation_before / self.mean) if self.mean else 0.0

    @property
    def cv_after(self) -> float:
        """Coefficient of variation of the corrected image; 0 for a mean of 0."""
        return abs(self.deviation_after / self.mean) if self.mean else 0.0

    @property
    def reduction(self) -> float:
        """Share of the coefficient of variation that is gone; negative when it grew."""
        return 1.0 - self.cv_after / self.cv_before if self.cv_before else 0.0


@dataclass(frozen=True)
class Correction:
    """A corrected image and its bias field, (k, j, i) float32, with the measures in the mask."""

    image: np.ndarray
    field: np.ndarray
    measures: Measures


def divide(
    image: np.ndarray, mask: np.ndarray, log_slice: Callable[[int], np.ndarray], job: Job | None = None
) -> Correction:
    """Divide `image` by ``exp(log field)``.

    Parameters
    ----------
    image : (k, j, i), any real type.
    mask : (k, j, i) bool, not empty; where the mean is kept and the measures are taken.
    log_slice : gives the slice (j, i) of the log field for any k; called from several threads.
    job : told as the slices are done.
    """
    job = job or Job.quiet()
    field, corrected = np.empty(image.shape, np.float32), np.empty(image.shape, np.float32)
    sums = np.zeros((len(image), 7))
    extremes = np.tile([math.inf, -math.inf], (len(image), 1))
    # Sums are taken of values near zero, so that squares of large means do not swamp the deviations.
    first = np.unravel_index(int(np.argmax(mask)), mask.shape)
    shift = float(image[first])
    pieces = _pieces(image.shape)

    def work(piece: int, worker: int) -> None:
        for k in pieces[piece]:
            np.exp(log_slice(k), out=field[k])
            np.divide(image[k], field[k], out=corrected[k], casting="unsafe")
            inside = mask[k]
            if inside.any():
                before = image[k][inside].astype(np.float64) - shift
                after = corrected[k][inside].astype(np.float64) - shift
                gain = field[k][inside].astype(np.float64)
                sums[k] = (
                    before.sum(), _dot(before, before), after.sum(), _dot(after, after), _dot(before, after),
                    gain.sum(), _dot(gain, gain),
                )  # fmt: skip
                extremes[k] = gain.min(), gain.max()

    with Crew() as crew:
        crew.run(work, len(pieces), job.part(0.0, 0.8))
        n = int(np.count_nonzero(mask))
        measures, scale = _measures(sums.sum(axis=0), extremes, n, shift)

        def rescale(piece: int, worker: int) -> None:
            k = slice(pieces[piece][0], pieces[piece][-1] + 1)
            corrected[k] *= np.float32(scale)
            field[k] *= np.float32(1.0 / scale)

        crew.run(rescale, len(pieces), job.part(0.8, 1.0))
    return Correction(corrected, field, measures)


def measure(image: np.ndarray, corrected: np.ndarray, field: np.ndarray, mask: np.ndarray) -> Measures:
    """Measures of a correction that was made elsewhere, as it is; arguments as in :func:`divide`."""
    before, after, gain = (a[mask].astype(np.float64) for a in (image, corrected, field))
    deviations = float(before.std()), float(after.std())
    product = float(np.mean((before - before.mean()) * (after - after.mean())))
    return Measures(
        len(before),
        float(before.mean()),
        deviations[0],
        deviations[1] * (float(before.mean() / after.mean()) if after.mean() else 1.0),
        product / (deviations[0] * deviations[1]) if min(deviations) > 0 else 1.0,
        (float(gain.min()), float(gain.max()), float(gain.mean()), float(gain.std())),
    )


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of products; not by the linear algebra library, whose own threads would contend with ours."""
    return float(np.einsum("i,i->", a, b))


def _measures(total: np.ndarray, extremes: np.ndarray, n: int, shift: float) -> tuple[Measures, float]:
    """Measures after scaling the corrected image to the input's mean, and that scale."""
    before, before2, after, after2, product, gain, gain2 = (float(v) / n for v in total)
    mean_before, mean_after = before + shift, after + shift
    # A mean of zero or another sign (differences of images) cannot be kept by scaling.
    scale = mean_before / mean_after if mean_after and mean_before / mean_after > 0 else 1.0
    deviation_before = math.sqrt(max(before2 - before * before, 0.0))
    deviation_after = math.sqrt(max(after2 - after * after, 0.0))
    spread = deviation_before * deviation_after
    low, high = float(extremes[:, 0].min()), float(extremes[:, 1].max())
    field = (low, high, gain, math.sqrt(max(gain2 - gain * gain, 0.0)))
    return Measures(
        n,
        mean_before,
        deviation_before,
        deviation_after * scale,
        min(1.0, (product - before * after) / spread) if spread > 0 else 1.0,
        tuple(value / scale for value in field),
    ), scale


def _pieces(shape: tuple[int, int, int]) -> list[range]:
    step = max(1, _PIECE // max(1, shape[1] * shape[2]))
    return [range(k, min(k + step, shape[0])) for k in range(0, shape[0], step)]
