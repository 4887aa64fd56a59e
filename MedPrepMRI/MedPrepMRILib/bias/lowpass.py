"""Bias fields by low-pass filtering: fast and simple, but anatomy of the field's own size goes along.

Both filters are normalized convolutions: only voxels of the mask count, so that air does not darken the
brain's border (Guillemaud 1998). They run on a grid of about 4 mm, which holds all that a low-pass leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from scipy import fft, ndimage

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Unit, operation
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepMRILib.bias.correction import divide
from MedPrepMRILib.bias.result import OUTPUTS, RECORDS, bias_result, require_signal, working_mask
from MedPrepMRILib.numeric import shrink
from MedPrepMRILib.numeric.log_field import LogField, interpolated

# Where fewer of a filter's weights than this fall inside the mask, the field goes over into 1.
_LEAST_SHARE = 1e-3


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
    # Twice the wavelength beyond the edges: what is filtered must not come round from the other side.
    sizes = [
        fft.next_fast_len(n + int(np.ceil(2 * wavelength / s)), True) if n > 1 else 1
        for n, s in zip(log.shape, spacing, strict=True)
    ]
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


def _spacing(image: Volume, samples: Sequence[slice]) -> list[float]:
    return [s * (part.step or 1) for s, part in zip(image.spacing_kji, samples, strict=True)]


def _gaussian(values: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """Zero beyond the edges: there is no mask there."""
    return ndimage.gaussian_filter(values, sigmas, mode="constant", truncate=3.0)


@operation(
    "mri.biasGaussian",
    title=_("Gaussian bias correction"),
    console="correctBiasGaussian",
    modality="MR",
    outputs=OUTPUTS,
    records=RECORDS,
    cite=(
        "Brinkmann, Manduca and Robb 1998, IEEE Trans Med Imaging 17(2):161-171 (unsharp masking), "
        "doi:10.1109/42.700729",
    ),
)
class BiasGaussian:
    """Divide by the local mean intensity under a wide Gaussian; keeps the input's mean in the mask.

    Fast, but broad differences between tissues count as bias too: N4 is better where it can be used.
    """

    sigma: Annotated[
        float,
        Span(5, 200, 5, 1),
        Unit("mm"),
        Help(_("Standard deviation of the Gaussian: larger corrects only broader variation")),
    ] = 40.0

    presets = {
        "brain": Preset(_("Brain, 40 mm"), "", sigma=40),
        "local": Preset(_("Strong local variation, 20 mm: takes anatomy along"), "", sigma=20),
    }

    def __call__(self, image: Volume, mask: LabelVolume | None, job: Job) -> Result:
        inside = working_mask(image, mask, job.part(0.0, 0.3))
        require_signal(image.array, inside)
        field = gaussian_field(image, inside, self.sigma, job.part(0.3, 0.6))
        return bias_result(image, inside, divide(image.array, inside, field.reader(), job.part(0.6, 1.0)))


@operation(
    "mri.biasHomomorphic",
    title=_("Homomorphic bias correction"),
    console="correctBiasHomomorphic",
    modality="MR",
    outputs=OUTPUTS,
    records=RECORDS,
    cite=(
        "Guillemaud 1998, IEEE International Conference on Image Processing 2:872-875 (homomorphic filtering "
        "on a region of interest), doi:10.1109/ICIP.1998.723695",
    ),
)
class BiasHomomorphic:
    """Take slow waves out of the logarithm of the image; keeps the input's mean in the mask.

    Fast, but broad differences between tissues count as bias too: N4 is better where it can be used.
    """

    wavelength: Annotated[
        float,
        Span(20, 1000, 10, 0),
        Unit("mm"),
        Help(_("Waves of this length are halved, longer ones taken out: larger corrects only the broadest")),
    ] = 200.0
    order: Annotated[int, Span(1, 6, 1, 0), Help(_("Steepness of the Butterworth filter"))] = 2

    presets = {
        "brain": Preset(_("Brain, 200 mm"), "", wavelength=200),
        "local": Preset(_("Strong local variation, 100 mm: takes anatomy along"), "", wavelength=100),
    }

    def __call__(self, image: Volume, mask: LabelVolume | None, job: Job) -> Result:
        inside = working_mask(image, mask, job.part(0.0, 0.3))
        require_signal(image.array, inside)
        field = homomorphic_field(image, inside, self.wavelength, self.order, job.part(0.3, 0.6))
        return bias_result(image, inside, divide(image.array, inside, field.reader(), job.part(0.6, 1.0)))
