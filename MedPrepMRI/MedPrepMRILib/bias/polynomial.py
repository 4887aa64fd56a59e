"""A bias field that is a polynomial of low degree in space: too stiff to follow anatomy."""

from __future__ import annotations

import itertools

import numpy as np

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import Volume
from MedPrepMRILib.bias.lowpass import coarse_signal
from MedPrepMRILib.bias.n4 import sharpened
from MedPrepMRILib.numeric.log_field import LogField, Term

_MOST_ITERATIONS, _CONVERGED = 100, 2e-4
# Residuals beyond this many robust standard deviations count less and less, beyond twice that not at all.
_TUKEY = 4.685
# Outside the mask the log field may leave its range inside by this much.
_BEYOND = 0.05
# Samples per product.
_PIECE = 200


def polynomial_field(image: Volume, mask: np.ndarray, degree: int, job: Job | None = None) -> LogField:
    """The log field of the given total degree that makes the histogram sharpest.

    As in N4, each voxel's true log intensity is estimated from the deconvolved histogram (Sled 1998); the
    difference is fitted with Legendre polynomials instead of B-splines, and robustly: voxels that fit no
    tissue (Tukey's biweight) count little.

    Raises
    ------
    InputError
        when the mask holds fewer voxels than the polynomial needs.
    """
    job = job or Job.quiet()
    coarse, inside, samples = coarse_signal(image, mask)
    index = np.nonzero(inside)
    thin = [n == 1 for n in image.shape]
    powers = [
        p
        for p in itertools.product(range(degree + 1), repeat=3)
        if sum(p) <= degree and not any(n and flat for n, flat in zip(p, thin, strict=True))
    ]
    if len(index[0]) < 4 * len(powers):
        raise InputError(
            _("Only {n} voxels above zero are left in the mask on the working grid.").format(n=len(index[0])),
            _("Expected at least {n}.").format(n=4 * len(powers)),
            _("Use a larger mask or a lower degree."),
        )
    # Legendre polynomials over the image's own length along each axis.
    matrices = [np.polynomial.legendre.legvander(np.linspace(-1, 1, n), degree) for n in image.shape]
    rows = [matrix[part][at] for matrix, part, at in zip(matrices, samples, index, strict=True)]
    design = np.stack([rows[0][:, a] * rows[1][:, b] * rows[2][:, c] for a, b, c in powers], axis=1)
    log = np.log(coarse[inside])
    field, solution = np.zeros_like(log), np.zeros(len(powers))
    # A little stiffness keeps a slab's or a corner's unseen directions at rest.
    stiffness = 1e-6 * len(log) * np.eye(len(powers))
    weighted, normal, robust = design, _gram(design, design) + stiffness, False
    for n in range(_MOST_ITERATIONS):
        corrected = log - field
        rest = corrected - sharpened(corrected)
        if robust:
            weighted = design * _biweight(rest)[:, None]
            normal = _gram(weighted, design) + stiffness
        step = np.linalg.solve(normal, _gram(weighted, rest))
        solution += step
        change = np.einsum("nc,c->n", design, step)
        field += change
        job.report((n + 1) / _MOST_ITERATIONS, _("Polynomial, iteration {n}").format(n=n + 1))
        if change.std() < _CONVERGED:
            if robust:
                break
            # Outliers can be told from bias only now that most of the bias is gone.
            robust = True
    coefficients = np.zeros((degree + 1,) * 3)
    for power, value in zip(powers, solution, strict=True):
        coefficients[power] = value
    # A polynomial runs away outside the mask.
    limits = float(field.min()) - _BEYOND, float(field.max()) + _BEYOND
    return LogField((Term(coefficients, tuple(matrices)),), limits)


def _gram(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a.T @ b`` in pieces so small that the linear algebra library starts no threads of its own."""
    total = np.zeros((a.shape[1], *b.shape[1:]))
    for start in range(0, len(a), _PIECE):
        total += a[start : start + _PIECE].T @ b[start : start + _PIECE]
    return total


def _biweight(rest: np.ndarray) -> np.ndarray:
    """Tukey's weights (0..1) of residuals."""
    middle = np.median(rest)
    scale = 1.4826 * np.median(np.abs(rest - middle))
    if scale <= 0:
        return np.ones_like(rest)
    ratio = (rest - middle) / (_TUKEY * scale)
    return np.square(np.maximum(1.0 - ratio * ratio, 0.0))
