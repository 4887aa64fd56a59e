"""Intensities as another scan might have had them: resolution, contrast, coil sensitivity and noise.

In the order in which a scanner causes them: blur, gamma, bias field, noise. Slice by slice over a few
threads; each slice's noise has a seed of its own, so that the bytes do not depend on the threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..core.integers import put_rounded
from ..core.job import Job
from ..core.parallel import Crew, along_axis
from .spline_lattice import ORDER, Rows, basis

# Cells per axis of a bias field's lattice: a field varies a few times over the image.
BIAS_CELLS = 2


@dataclass(frozen=True)
class Intensities:
    """What is done to the values.

    Parameters
    ----------
    blur : standard deviation of a Gaussian, in voxels along axes 0, 1, 2.
    gamma : exponent between `low` and `high`; beyond them values stay.
    low, high : the range of contrast.
    bias : (a, b, c) control points of the logarithm of a field over the image, or None; distances from
        `floor` are multiplied with it.
    floor : the value of no signal.
    noise : standard deviation, in the image's own unit.
    rician : as in magnitude images, in place of Gaussian.
    seed : for slice k, the seed of its noise.
    """

    blur: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gamma: float = 1.0
    low: float = 0.0
    high: float = 1.0
    bias: np.ndarray | None = None
    floor: float = 0.0
    noise: float = 0.0
    rician: bool = False
    seed: Callable[[int], np.random.SeedSequence] = np.random.SeedSequence

    @property
    def changes(self) -> bool:
        """Whether anything is done."""
        return any(self.blur) or self.pointwise

    @property
    def pointwise(self) -> bool:
        """Whether anything but blur is done."""
        return self.gamma != 1 or self.bias is not None or self.noise > 0


def bias_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Control points of a bias field along each axis."""
    k, j, i = (1 if n == 1 else BIAS_CELLS + ORDER for n in shape)
    return k, j, i


def apply(work: np.ndarray, wanted: Intensities, out: np.ndarray, job: Job) -> None:
    """Fill `out` with the changed values of `work`.

    Parameters
    ----------
    work : (k, j, i), float32 or float64, any strides; blurred in place.
    out : same shape, any type; whole numbers are rounded half up and limited to what the type holds. May be
        `work` itself.
    """
    if any(wanted.blur):
        _blur(work, wanted.blur, job.part(0.0, 0.5))
    share = 0.5 if any(wanted.blur) else 0.0
    field = None
    if wanted.bias is not None:
        matrices = [
            basis(count, np.linspace(0, 1, n)) for count, n in zip(wanted.bias.shape, work.shape, strict=True)
        ]
        field = Rows(wanted.bias[None], matrices)
    if work is out and not wanted.pointwise:
        return

    def task(k: int, worker: int) -> None:
        values = work[k].copy(order="C")
        if wanted.gamma != 1:
            _gamma(values, wanted)
        if field is not None:
            values -= wanted.floor
            values *= np.exp(field(k, 0, len(values))[0])
            values += wanted.floor
        if wanted.noise > 0:
            _noise(values, wanted, k)
        put_rounded(values, out[k])

    with Crew() as crew:
        crew.run(task, len(work), job.part(share, 1.0))


def _blur(work: np.ndarray, sigma: tuple[float, float, float], job: Job) -> None:
    """Gaussian along each axis in place, in pieces across another one."""
    axes = [axis for axis in range(3) if sigma[axis] > 0]
    for n, axis in enumerate(axes):

        def smooth(part: np.ndarray, axis: int = axis) -> None:
            ndimage.gaussian_filter1d(part, sigma[axis], axis, output=part, mode="nearest", truncate=4.0)

        along_axis(work, axis, smooth, job.part(n / len(axes), (n + 1) / len(axes)))


def _gamma(values: np.ndarray, wanted: Intensities) -> None:
    width = wanted.high - wanted.low
    if not width > 0:
        return
    share = (values - wanted.low) / width
    inside = (share > 0) & (share < 1)
    np.power(share, wanted.gamma, out=share, where=inside)
    share *= width
    share += wanted.low
    np.copyto(values, share, where=inside)


def _noise(values: np.ndarray, wanted: Intensities, k: int) -> None:
    draw = np.random.default_rng(wanted.seed(k))
    values += wanted.noise * draw.standard_normal(values.shape, np.float32)
    if wanted.rician:
        imaginary = wanted.noise * draw.standard_normal(values.shape, np.float32)
        np.hypot(values, imaginary, out=values)
