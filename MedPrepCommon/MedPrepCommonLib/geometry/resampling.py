"""Resampling of volumes on a grid with the same axes: nearest, linear, cubic and quintic B-spline.

Each axis is one banded matrix (see :mod:`resampling_kernels`). The volume is streamed along k: the slices
that a few output slices need are resampled in plane into a ring of slices, then weighted along k. The result
is the same bytes for any number of threads. Only numpy and scipy are used: OpenCV's resize cannot place its
samples freely, and its warps are no faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..core.errors import InputError, ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.parallel import Crew, real_array
from .resampling_kernels import AxisOperator, axis_operator
from .resampling_products import Finish, PairResampler, PlaneResampler, StackResampler

ORDERS = {"nearest": 0, "linear": 1, "cubic": 3, "quintic": 5}

# Samples that a thread resamples before it looks whether to stop: some tenths of a second.
LONGEST_RUN = 1 << 24


def output_grid(
    shape_kji: Sequence[int], spacing_kji: Sequence[float], new_spacing_kji: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...]]:
    """Grid of another spacing whose field of view has the same physical centre.

    The number of samples is ``n * spacing / new_spacing`` rounded half away from zero, at least 1. Since the
    centre is kept, the result does not depend on the direction of an axis.

    Returns
    -------
    starts, steps : input index of the first output sample and step between samples, per axis (k, j, i).
    shape : samples per axis (k, j, i). The caller moves the origin to input index `starts`.
    """
    starts, steps, shape = [], [], []
    for size, spacing, new in zip(shape_kji, spacing_kji, new_spacing_kji, strict=True):
        if not (size >= 1 and 0 < spacing < math.inf and 0 < new < math.inf):
            raise ParameterError(
                _("{size} samples of {spacing} mm cannot be resampled to {new} mm.").format(
                    size=size, spacing=spacing, new=new
                ),
                _("Expected spacing above zero."),
            )
        step = new / spacing
        # 1e-9: 300 * 1.25 / 1 and the like must not miss the tie for a rounding error.
        count = max(1, math.floor(size / step + 0.5 + 1e-9))
        starts.append((size - 1) / 2 - step * (count - 1) / 2)
        steps.append(step)
        shape.append(count)
    return tuple(starts), tuple(steps), tuple(shape)


def antialias_sigma(in_mm: float, out_mm: float) -> float:
    """Standard deviation in mm of the Gaussian that widens a point spread from `in_mm` to `out_mm` (FWHM).

    ``sqrt(out^2 - in^2) / (2 sqrt(2 ln 2))``; 0 when the output is not coarser (Cardoso et al., MICCAI 2015).
    Divide by the input spacing to get input voxels.
    """
    return math.sqrt(max(out_mm * out_mm - in_mm * in_mm, 0.0) / (8 * math.log(2)))


def resample_grid(
    array: np.ndarray,
    starts: Sequence[float],
    steps: Sequence[float],
    shape: Sequence[int],
    *,
    order: int = 3,
    sigma: Sequence[float] | None = None,
    out_dtype: np.dtype | type | None = None,
    limits: tuple[float, float] | None = None,
    outside: float | None = None,
    workers: int | None = None,
    job: Job | None = None,
) -> np.ndarray:
    """Sample an image at input indices ``starts[a] + n * steps[a]`` along each axis a.

    Parameters
    ----------
    array : (k, j, i) or (k, j, i, component), integer or floating point, any strides. Values should be
        finite: a NaN reaches further than its neighbours.
    starts, steps : per axis (k, j, i), in input samples; steps may be negative (a flipped axis).
    shape : output samples per axis (k, j, i).
    order : 0 nearest, 1 linear, 3 cubic or 5 quintic B-spline with prefilter (Unser 1999). Beyond the edge
        samples linear keeps the edge value, splines mirror the image at the edge sample, as ITK does.
        Nearest: a position midway between two samples takes the one nearer the centre of the image, so that
        flipping the image flips the result; midway at the very centre takes the lower index.
    sigma : standard deviations in input samples per axis of a Gaussian that is convolved with the
        interpolated image against aliasing, see :func:`antialias_sigma`. Not for order 0.
    out_dtype : default: that of the array. Integers are rounded half to even and limited to the type's range.
    limits : smallest and largest value of the result (splines overshoot at edges).
    outside : value of samples more than half an input sample outside the image. Default: that of the edge.
    workers : threads; the result does not depend on it.

    Returns
    -------
    ndarray : of `shape`, C-contiguous. Computed in float32 for 8- and 16-bit integers and float32, otherwise
        in float64.
    """
    array = real_array(array)
    starts, steps, shape, sigma = _checked(array, starts, steps, shape, order, sigma)
    dtype = np.dtype(out_dtype) if out_dtype is not None else array.dtype.newbyteorder("=")
    limits = _checked_limits(limits, dtype)
    # Bands advance evenly only within the image. Samples further out repeat the nearest one that is not.
    spans = [_span(array.shape[a], starts[a], steps[a], shape[a]) for a in range(3)]
    starts_inside = [
        start + step * span.start for start, step, span in zip(starts, steps, spans, strict=True)
    ]
    output = np.empty((*map(len, spans), *array.shape[3:]), dtype)
    components = [...] if array.ndim == 3 else [(..., c) for c in range(array.shape[3])]
    with Crew(workers) as crew:
        for number, component in enumerate(components):
            part = (job or Job.quiet()).part(number / len(components), (number + 1) / len(components))
            given, wanted = array[component], output[component]
            if order == 0:
                _nearest(given, starts_inside, steps, wanted, limits, crew, part)
            else:
                _weighted(given, starts_inside, steps, wanted, order, sigma, limits, crew, part)
    for axis, span in enumerate(spans):
        if len(span) < shape[axis]:
            repeated = np.clip(np.arange(shape[axis]) - span.start, 0, len(span) - 1)
            output = output.take(repeated, axis=axis)
    if outside is not None:
        _fill_outside(output, array.shape, starts, steps, outside)
    return output


def _span(size: int, start: float, step: float, count: int) -> range:
    """The output samples inside the image, and the next one on either side, which has the edge's value."""
    positions = start + step * np.arange(count)
    outside = np.maximum(-0.5 - positions, positions - (size - 0.5))
    inside = np.flatnonzero(outside <= 0)
    if len(inside) == 0:
        nearest = int(outside.argmin())
        return range(nearest, nearest + 1)
    return range(max(0, int(inside[0]) - 1), min(count, int(inside[-1]) + 2))


def _checked(
    array: np.ndarray,
    starts: Sequence[float],
    steps: Sequence[float],
    shape: Sequence[int],
    order: int,
    sigma: Sequence[float] | None,
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...], tuple[float, ...]]:
    if array.ndim not in (3, 4) or array.size == 0:
        raise InputError(
            _("The image has shape {shape}.").format(shape=array.shape),
            _("Expected (k, j, i) or (k, j, i, component), with at least one voxel."),
        )
    if order not in ORDERS.values():
        raise ParameterError(
            _("The interpolation order is {order}.").format(order=order),
            _("Expected 0 (nearest), 1 (linear), 3 (cubic) or 5 (quintic)."),
        )
    starts, steps = tuple(map(float, starts)), tuple(map(float, steps))
    shape = tuple(map(int, shape))
    sigma = (0.0, 0.0, 0.0) if sigma is None else tuple(map(float, sigma))
    sizes_right = len(starts) == len(steps) == len(shape) == len(sigma) == 3
    finite = all(map(math.isfinite, (*starts, *steps, *sigma)))
    if not (sizes_right and finite and min(shape) >= 1 and min(sigma) >= 0):
        raise ParameterError(
            _("The grid has starts {starts}, steps {steps}, shape {shape}, sigma {sigma}.").format(
                starts=starts, steps=steps, shape=shape, sigma=sigma
            ),
            _("Expected three finite numbers each, shapes of at least 1 and sigma of at least 0."),
        )
    if order == 0 and any(sigma):
        raise ParameterError(
            _("A blur was asked for with nearest-neighbour sampling."),
            _("Expected it with linear or spline interpolation only."),
            _("Labels are not blurred; leave sigma out."),
        )
    return starts, steps, shape, sigma


def _checked_limits(limits: tuple[float, float] | None, dtype: np.dtype) -> tuple[float, float] | None:
    """Limits within what the output type holds; None when there are none."""
    low, high = _type_limits(dtype) if limits is None else map(float, limits)
    if math.isnan(low) or math.isnan(high) or low > high:
        raise ParameterError(
            _("The limits are {low} to {high}.").format(low=low, high=high),
            _("Expected a lower limit that is not above the upper limit."),
        )
    least, most = _type_limits(dtype)
    low, high = max(low, least), min(high, most)
    return None if (low, high) == (-math.inf, math.inf) else (low, high)


def _type_limits(dtype: np.dtype) -> tuple[float, float]:
    if dtype.kind == "f":
        return -math.inf, math.inf
    info = np.iinfo(dtype)
    high = float(info.max)
    return float(info.min), high if int(high) == info.max else math.nextafter(high, 0.0)


# ---- linear and splines
def _weighted(
    array: np.ndarray,
    starts: Sequence[float],
    steps: Sequence[float],
    output: np.ndarray,
    order: int,
    sigma: Sequence[float],
    limits: tuple[float, float] | None,
    crew: Crew,
    job: Job,
) -> None:
    single = all(t in (np.float32, np.float16) or t.itemsize <= 2 for t in (array.dtype, output.dtype))
    work = np.dtype(np.float32 if single else np.float64)
    operators = []
    for axis in range(3):
        start, step = starts[axis], steps[axis]
        if step < 0:  # the same samples of the flipped image, at a positive step
            array, start, step = np.flip(array, axis), array.shape[axis] - 1 - start, -step
        operators.append(
            axis_operator(array.shape[axis], start, step, output.shape[axis], order, sigma[axis], work)
        )
    along_k, along_j, along_i = operators
    if (
        order == 1
        and single
        and limits == _type_limits(output.dtype)
        and np.can_cast(array.dtype, output.dtype)
    ):
        limits = None  # a weighted mean of values that fit
    plane = PlaneResampler(along_j, along_i, work, crew.size)
    finish = Finish(output.dtype, limits, work)
    flat = output.reshape(len(output), -1)  # a view, also of one component
    if PairResampler.fits(along_k):
        _by_pairs(array, flat, PairResampler(along_k, plane, work, finish, crew.size), crew, job)
    else:
        stack = StackResampler(along_k, flat.shape[1], work, finish, crew.size)
        _by_bands(array, flat, along_k, plane, stack, crew, job)


def _by_pairs(array: np.ndarray, output: np.ndarray, pairs: PairResampler, crew: Crew, job: Job) -> None:
    """Linear along k: each thread takes runs of output slices, long enough that few slices are done twice."""
    length = max(1, min(48, max(8, len(output) // (4 * crew.size)), LONGEST_RUN // output.shape[1]))
    starts = range(0, len(output), length)

    def run(piece: int, worker: int) -> None:
        for index in range(starts[piece], min(starts[piece] + length, len(output))):
            pairs.run(array, index, output[index], worker)
            if worker == 0:
                job.check()

    crew.run(run, len(starts), job)


def _by_bands(
    array: np.ndarray,
    output: np.ndarray,
    along_k: AxisOperator,
    plane: PlaneResampler,
    stack: StackResampler,
    crew: Crew,
    job: Job,
) -> None:
    """Splines along k: all threads first resample the slices that a band lacks, then weight them together."""
    held = range(0)
    for band in range(len(along_k.weights)):
        needed = along_k.window(band)
        new = [index for index in needed if index not in held]
        held = needed
        target = output[band * along_k.rows : (band + 1) * along_k.rows]
        weights = stack.weights(band)

        def resample_slice(piece: int, worker: int, new: list[int] = new) -> None:
            plane.run(array[new[piece]], stack.place(new[piece]).reshape(plane.shape), worker)

        def weight_slices(piece: int, worker: int, weights=weights, target=target) -> None:
            stack.run(weights, piece, target, worker)

        done, total = 2 * band, 2 * len(along_k.weights)
        crew.run(resample_slice, len(new), job.part(done / total, (done + 1) / total))
        crew.run(weight_slices, stack.pieces, job.part((done + 1) / total, (done + 2) / total))


# ---- nearest
def nearest_indices(size: int, start: float, step: float, count: int) -> np.ndarray:
    """Index of the sample nearest to each position ``start + n * step``; ties go towards the centre."""
    positions = np.clip(start + step * np.arange(count), 0, size - 1)
    lower = np.floor(positions)
    fraction = positions - lower
    tie = np.abs(fraction - 0.5) < 1e-6
    up = np.where(tie, positions < (size - 1) / 2 - 1e-6, fraction > 0.5)
    return np.minimum(lower + up, size - 1).astype(np.intp)


def _nearest(
    array: np.ndarray,
    starts: Sequence[float],
    steps: Sequence[float],
    output: np.ndarray,
    limits: tuple[float, float] | None,
    crew: Crew,
    job: Job,
) -> None:
    in_k, in_j, in_i = (
        nearest_indices(array.shape[a], starts[a], steps[a], output.shape[a]) for a in range(3)
    )
    same = array.dtype == output.dtype and limits in (None, _type_limits(output.dtype))

    slices, first = np.unique(
        in_k, return_index=True
    )  # positions, and with them indices, only rise or only fall
    stops = first + np.bincount(np.searchsorted(slices, in_k))

    def task(piece: int, worker: int) -> None:
        picked = array[slices[piece]].take(in_j, axis=0).take(in_i, axis=1)
        output[first[piece] : stops[piece]] = picked if same else _converted(picked, output.dtype, limits)

    crew.run(task, len(slices), job)


def _converted(values: np.ndarray, dtype: np.dtype, limits: tuple[float, float] | None) -> np.ndarray:
    if limits is not None:
        values = np.clip(values.astype(np.float64), *limits)
    return np.rint(values).astype(dtype) if dtype.kind in "iu" else values.astype(dtype)


def _fill_outside(
    output: np.ndarray, size: Sequence[int], starts: Sequence[float], steps: Sequence[float], value: float
) -> None:
    for axis in range(3):
        positions = starts[axis] + steps[axis] * np.arange(output.shape[axis])
        out = (positions < -0.5 - 1e-6) | (positions > size[axis] - 0.5 + 1e-6)
        if out.any():
            output[(slice(None),) * axis + (out,)] = value
