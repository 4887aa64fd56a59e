"""Rigid registration of two MRI sequences of one head by mutual information.

Mattes et al., IEEE TMI 22(1), 2003, as ITK implements it, on 8, 4 and 2 mm. ITK's metric adds up in the order
in which its threads finish, so it runs in one: the same images give the same matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from MedPrepCommonLib.core.errors import Cancelled, InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import LPS_TO_RAS, Volume

from ..brain.head import coarse, head

# Each level: voxel size (mm), samples, first and last step (mm), iterations at most.
_LEVELS = ((8.0, 20_000, 4.0, 0.05, 100), (4.0, 20_000, 1.0, 0.01, 100), (2.0, 40_000, 1.0, 0.001, 200))
_BINS = 32
# Samples reach this far (mm) beyond the head: the skin line tells where it is.
_AROUND = 8.0


@dataclass(frozen=True)
class Alignment:
    """Where the fixed head is found in the moving image.

    Parameters
    ----------
    matrix : (4, 4), takes RAS points of the fixed image to RAS points of the moving image.
    rotation : degrees.
    displacement : mean distance (mm) that points of the head are moved by.
    information : mutual information (nats) at 2 mm, before and after.
    inconsistency : mean distance (mm) over the head between this map and the one found the other way round.
    iterations : per level.
    """

    matrix: np.ndarray
    rotation: float
    displacement: float
    information: tuple[float, float]
    inconsistency: float
    iterations: tuple[int, ...]


def register(fixed: Volume, moving: Volume, job: Job | None = None) -> Alignment:
    """Find the rigid map from `fixed` to `moving`.

    The search starts from the scanner's coordinates and from heads laid centre on centre; the better one
    after the coarsest level goes on.

    Parameters
    ----------
    fixed, moving : scalar volumes of several slices, of any orientation.
    job : looked at in every iteration.

    Raises
    ------
    InputError
        for single slices, and where no start brings the heads together.
    """
    job = job or Job.quiet()
    for image in (fixed, moving):
        if min(image.shape) < 2:
            raise InputError(
                _("An image of one slice cannot be registered in space."),
                _("Expected volumes of several slices."),
                _("Switch the registration off, or choose volumes."),
            )
    levels = []
    for n, level in enumerate(_LEVELS):
        job.report(0.1 * n, _("Registering"))
        levels.append((_prepared(fixed, level[0]), _prepared(moving, level[0]), level))
    centre = levels[0][0].centre
    starts = [np.eye(4)]
    shift = levels[0][1].centre - centre
    # A part of the head has its centre elsewhere: only worth trying where the heads lie well apart.
    if np.linalg.norm(shift) > 5.0:
        starts.append(_translation(shift))
    found = []
    for n, start in enumerate(starts):
        part = job.part(0.3 + 0.1 * n / len(starts), 0.3 + 0.1 * (n + 1) / len(starts))
        found.append(_optimised(*levels[0], start, part))
    best = max(found, key=lambda result: result.value)
    if not math.isfinite(best.value):
        raise InputError(
            _("The two images do not overlap in space."),
            _("Expected the same head in both."),
            _("Choose images of one head, or move one over the other first."),
        )
    steps, matrix = [best.iterations], best.matrix
    for n, level in enumerate(levels[1:]):
        found_here = _optimised(*level, matrix, job.part(0.4 + 0.2 * n, 0.6 + 0.2 * n))
        steps.append(found_here.iterations)
        matrix = found_here.matrix
    finest_fixed, finest_moving, last = levels[-1]
    back = _optimised(finest_moving, finest_fixed, last, np.linalg.inv(matrix), job.part(0.8, 1.0))
    points = finest_fixed.points
    return Alignment(
        matrix,
        math.degrees(math.acos(min(1.0, max(-1.0, (np.trace(matrix[:3, :3]) - 1) / 2)))),
        _apart(matrix, np.eye(4), points),
        (_information(finest_fixed, finest_moving, np.eye(4)), found_here.value),
        _apart(matrix, np.linalg.inv(back.matrix), points),
        tuple(steps),
    )


@dataclass(frozen=True)
class _Prepared:
    image: sitk.Image
    mask: sitk.Image  # the head and a little around it
    points: np.ndarray  # (n, 3) RAS of the head
    size: int

    @property
    def centre(self) -> np.ndarray:
        return self.points.mean(axis=0)


@dataclass(frozen=True)
class _Found:
    matrix: np.ndarray
    value: float
    iterations: int


def _prepared(image: Volume, spacing: float) -> _Prepared:
    small = coarse(image, spacing)
    inside = head(small)
    if not inside.any():
        raise InputError(
            _("No head was found in one of the images."),
            _("Expected a head brighter than the air around it."),
            _("Choose another image."),
        )
    reach = [max(1, round(_AROUND / s)) for s in small.spacing_kji]
    grown = inside
    for axis, n in enumerate(reach):
        grown = ndimage.binary_dilation(grown, np.ones([3 if a == axis else 1 for a in range(3)]), n)
    points = np.argwhere(inside)[:, ::-1] @ small.ijkToRAS[:3, :3].T + small.ijkToRAS[:3, 3]
    mask = replace(small, array=grown.astype(np.uint8)).to_sitk()
    return _Prepared(small.to_sitk(), mask, points, small.array.size)


def _method(fixed: _Prepared, samples: int) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(min(1.0, samples / fixed.size), 1)
    method.SetMetricFixedMask(fixed.mask)
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _optimised(fixed: _Prepared, moving: _Prepared, level: tuple, start: np.ndarray, job: Job) -> _Found:
    """The best map near `start`; its value is minus infinity where the images do not meet."""
    _spacing, samples, first, last, most = level
    method = _method(fixed, samples)
    method.SetOptimizerAsRegularStepGradientDescent(first, last, most, 0.7, 1e-12)
    method.SetOptimizerScalesFromPhysicalShift()
    transform = _transform(start, fixed.centre)
    method.SetInitialTransform(transform, True)
    count, stopped = [0], []

    def step() -> None:
        # An exception may not pass through ITK: it is kept and raised after ITK has stopped.
        count[0] += 1
        try:
            job.report(count[0] / most, _("Registering"))
        except Cancelled as cancelled:
            stopped.append(cancelled)
            method.StopRegistration()

    method.AddCommand(sitk.sitkIterationEvent, step)
    try:
        method.Execute(fixed.image, moving.image)
        value = -float(method.GetMetricValue())
    except RuntimeError:
        value = -math.inf
    if stopped:
        raise stopped[0]
    job.report(1.0)
    return _Found(_matrix(transform), value, count[0])


def _information(fixed: _Prepared, moving: _Prepared, matrix: np.ndarray) -> float:
    """Mutual information (nats) under a map, 0 where the images do not meet."""
    method = _method(fixed, _LEVELS[-1][1])
    method.SetInitialTransform(_transform(matrix, fixed.centre), True)
    try:
        return -float(method.MetricEvaluate(fixed.image, moving.image))
    except RuntimeError:
        return 0.0


def _transform(matrix: np.ndarray, centre: np.ndarray) -> sitk.Euler3DTransform:
    """A RAS matrix as an ITK transform (LPS) that turns about `centre` (RAS)."""
    lps = LPS_TO_RAS @ matrix @ LPS_TO_RAS
    middle = LPS_TO_RAS[:3, :3] @ centre
    transform = sitk.Euler3DTransform()
    transform.SetCenter(middle.tolist())
    transform.SetMatrix(lps[:3, :3].ravel().tolist(), 1e-6)
    transform.SetTranslation((lps[:3, 3] + lps[:3, :3] @ middle - middle).tolist())
    return transform


def _matrix(transform: sitk.Euler3DTransform) -> np.ndarray:
    """RAS matrix, rounded to 1e-8: machines that agree so far give the same bytes."""
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    middle = np.array(transform.GetCenter())
    lps[:3, 3] = middle + transform.GetTranslation() - lps[:3, :3] @ middle
    return np.round(LPS_TO_RAS @ lps @ LPS_TO_RAS, 8)


def _translation(shift: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix


def _apart(one: np.ndarray, other: np.ndarray, points: np.ndarray) -> float:
    """Mean distance (mm) between where two maps take the points."""
    moved = points @ (one - other)[:3, :3].T + (one - other)[:3, 3]
    return float(np.linalg.norm(moved, axis=1).mean())
