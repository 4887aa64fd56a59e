"""How near an image comes to a reference: mean squared error, peak signal to noise, structural similarity.

And how near one mask comes to another.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy import ndimage

from ..core.errors import InputError, ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.parallel import Crew, block_indices, memory_views, real_array

# Wang et al. 2004: voxels of the uniform window, constants, and the Gaussian that the paper weights with.
_WIDTH, _K1, _K2 = 7, 0.01, 0.03
_SIGMA, _RADIUS = 1.5, 5

# Pixels of a strip of rows: its running sums then stay in a second-level cache. Best of 2^12 .. 2^16.
_STRIP = 1 << 14
_BLOCK = 1 << 17
# Up to here OpenBLAS stays in the calling thread.
_DOT = 1 << 13


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice coefficient of two boolean arrays: 2 |a and b| / (|a| + |b|); 1 when both are empty."""
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return float(2 * np.count_nonzero(a & b) / total) if total else 1.0


def mse(
    image: np.ndarray,
    reference: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    workers: int | None = None,
    job: Job | None = None,
) -> float:
    """Mean squared difference, of the voxels where `mask` is not zero; to 6 digits.

    Parameters
    ----------
    image, reference : integer or floating point, of one shape. mask : of the same shape, or None.

    Raises
    ------
    InputError
        when the shapes differ or the mask is empty.
    """
    image, reference, mask = _checked(image, reference, mask)
    arrays = (image, reference) if mask is None else (image, reference, mask)
    views = memory_views(*arrays)
    pieces = block_indices(views[0].shape, _BLOCK)
    # Both lie within float32's 24 bits: their difference there is as good as in float64.
    narrow = all(a.dtype == np.float32 or a.dtype.kind in "iu" and a.dtype.itemsize <= 2 for a in arrays[:2])
    kind = np.float32 if narrow else np.float64
    sums = [0.0] * len(pieces)
    with Crew(workers if len(pieces) > 1 else 1) as crew:
        scratch = [
            np.empty(max((views[0][p].size for p in pieces), default=0), kind) for _n in range(crew.size)
        ]

        def task(piece: int, worker: int) -> None:
            first, second, *inside = (view[pieces[piece]] for view in views)
            difference = scratch[worker][: first.size]
            np.subtract(first, second, out=difference.reshape(first.shape), dtype=kind)
            if inside:
                difference = difference[inside[0].reshape(-1) != 0]
            whole = difference.size - difference.size % _DOT
            many, rest = difference[:whole].reshape(-1, _DOT), difference[whole:]
            sums[piece] = math.fsum([*np.vecdot(many, many).tolist(), float(np.dot(rest, rest))])

        crew.run(task, len(pieces), job)
    return math.fsum(sums) / (image.size if mask is None else int(np.count_nonzero(mask)))


def psnr(
    image: np.ndarray,
    reference: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    data_range: float,
    workers: int | None = None,
    job: Job | None = None,
) -> float:
    """Peak signal-to-noise ratio in dB, ``10 log10(data_range^2 / mse)``; infinite for equal images.

    Parameters
    ----------
    image, reference, mask : as for :func:`mse`. data_range : from the lowest to the highest possible value.

    Raises
    ------
    InputError, ParameterError
        when the shapes differ or the mask is empty; for a range that is not above zero.
    """
    peak = _checked_range(data_range)
    error = mse(image, reference, mask, workers=workers, job=job)
    return 10 * math.log10(peak * peak / error) if error > 0 else math.inf


def ssim(
    image: np.ndarray,
    reference: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    data_range: float,
    window: Literal["uniform", "gaussian"] = "uniform",
    workers: int | None = None,
    job: Job | None = None,
) -> float:
    """Mean structural similarity (Wang et al., IEEE TIP 13(4), 2004); 1 for equal images.

    Both images are compared as they are; the mask says only which voxels' similarities are averaged, so its
    edge is no structure. Without a mask, those voxels are averaged whose window lies in the image, as is
    usual; with one, every voxel of the mask, images continued by reflection.

    Parameters
    ----------
    image, reference : (k, j, i), one slice for 2-D. mask : same shape, not zero inside; None is everywhere.
    data_range : from the lowest to the highest possible value (255 for 8 bits).
    window : "uniform", 7 voxels wide, with the sample variance; "gaussian", sigma 1.5 and 11 voxels wide,
        with the population variance, as in the paper. Along a shorter axis: the largest odd width that fits.

    Raises
    ------
    InputError, ParameterError
        when the shapes differ or the mask is empty; for a range that is not above zero.
    """
    peak = _checked_range(data_range)
    image, reference, mask = _checked(image, reference, mask)
    if image.ndim != 3:
        raise InputError(
            _("The images have {n} dimensions.").format(n=image.ndim),
            _("Expected (k, j, i)."),
            _("Add a slice axis to a 2-D image."),
        )
    weights = [_weights(n, window) for n in image.shape]
    reach = [len(w) // 2 for w in weights]
    if mask is None:
        spans = [(r, n - r) for r, n in zip(reach, image.shape, strict=True)]
        count = math.prod(stop - start for start, stop in spans)
    else:
        box = ndimage.find_objects((mask != 0).view(np.uint8), max_label=1)[0]
        spans = [(part.start, part.stop) for part in box]
        count = int(np.count_nonzero(mask))
    comparison = _Comparison(image, reference, mask, spans, weights, peak, window)
    rows = max(1, _STRIP // (spans[2][1] - spans[2][0]))
    starts = range(spans[1][0], spans[1][1], rows)
    sums = [0.0] * len(starts)
    # The caller's thread reports after each of its strips; within a strip it only looks for a cancel.
    check = None if job is None else job.check

    def task(piece: int, worker: int) -> None:
        first = starts[piece]
        last = min(first + rows, spans[1][1])
        sums[piece] = comparison.strip(first, last, check if worker == 0 else None)

    with Crew(workers if len(sums) > 1 else 1) as crew:
        crew.run(task, len(sums), job)
    return math.fsum(sums) / count


class _Comparison:
    """Sums of similarity over strips of rows, walking through the slices with a ring of filtered fields."""

    def __init__(self, image, reference, mask, spans, weights, peak, window) -> None:
        self.image, self.reference, self.mask, self.spans, self.weights = (
            image,
            reference,
            mask,
            spans,
            weights,
        )
        self.uniform = window == "uniform"
        number = math.prod(map(len, weights)) if self.uniform else math.inf
        self.unbiased = 1.0 if number in (1, math.inf) else number / (number - 1)
        self.c1, self.c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
        # Variances do not depend on a shift; near zero the squares lose no digits.
        self.shift = float(reference[len(reference) // 2].mean(dtype=np.float64))
        if not math.isfinite(self.shift):
            self.shift = 0.0

    def strip(self, first: int, last: int, check) -> float:
        """Sum of the similarities in rows [first, last)."""
        (low, high), _rows, (left, right) = self.spans
        depth, height, width = map(len, self.weights)
        rows = _reflected(first - height // 2, last + height // 2, self.image.shape[1])
        columns = _reflected(left - width // 2, right + width // 2, self.image.shape[2])
        slices = _reflected(low - depth // 2, high + depth // 2, self.image.shape[0])
        shape = last - first, right - left
        ring = np.empty((depth, 4, *shape))
        total, running = 0.0, np.zeros((4, *shape))
        for n, k in enumerate(slices):
            if check is not None:
                check()
            place = ring[n % depth]
            if self.uniform and n >= depth:
                running -= place
            self._fields(int(k), rows, columns, place)
            if self.uniform:
                running += place
            if n < depth - 1:
                continue
            if self.uniform:
                means = running / math.prod(map(len, self.weights))
            else:
                means = self._across_slices(ring, n)
            similarity = self._similarity(*means)
            if self.mask is not None:
                inside = self.mask[low + n - depth + 1, first:last, left:right]
                similarity = similarity[inside != 0]
            total += float(similarity.sum())
        return total

    def _across_slices(self, ring: np.ndarray, last: int) -> np.ndarray:
        """The ring's slices weighted; place `last` was filled last. By hand: BLAS has threads of its own."""
        weights = self.weights[0]
        depth = len(weights)
        total = weights[depth // 2] * ring[(last - depth // 2) % depth]
        for d in range(depth // 2):
            pair = ring[(last - d) % depth] + ring[(last + d + 1) % depth]
            pair *= weights[d]
            total += pair
        return total

    def _fields(self, k: int, rows: np.ndarray, columns: np.ndarray, out: np.ndarray) -> None:
        """x, y, x² + y² and xy of a slice, weighted along rows and columns."""
        fields = np.empty((4, len(rows), len(columns)))
        x, y, squares, product = fields
        np.subtract(_part(self.image[k], rows, columns), self.shift, out=x)
        np.subtract(_part(self.reference[k], rows, columns), self.shift, out=y)
        np.multiply(x, y, out=product)
        np.multiply(x, x, out=squares)
        squares += y * y
        _depth, down, across = self.weights
        # Flat, so that every operation runs over whole memory; what wraps around a row's end is cut off.
        gather = _sums if self.uniform else _weighted
        flat = gather(gather(fields.reshape(4, -1), down, len(columns)), across, 1)
        wide = np.empty((4, out.shape[1], len(columns)))
        wide.reshape(4, -1)[:, : flat.shape[1]] = flat
        out[...] = wide[:, :, : out.shape[2]]

    def _similarity(self, x, y, squares, product) -> np.ndarray:
        """Of the local means; overwrites them."""
        both, each = x * y, x * x
        each += y * y
        squares -= each
        squares *= self.unbiased
        squares += self.c2
        product -= both
        product *= 2 * self.unbiased
        product += self.c2
        x += self.shift
        y += self.shift
        np.multiply(x, y, out=both)
        both *= 2
        both += self.c1
        np.multiply(x, x, out=each)
        each += np.multiply(y, y, out=y)
        each += self.c1
        both *= product
        each *= squares
        both /= each
        return both


def _weights(n: int, window: str) -> np.ndarray:
    """Along an axis of `n` voxels; the sum is 1."""
    if window == "uniform":
        width = min(_WIDTH, n - 1 + n % 2)
        return np.full(width, 1 / width)
    if window != "gaussian":
        raise ParameterError(
            _("The window is {window!r}.").format(window=window), _("Expected uniform or gaussian.")
        )
    radius = min(_RADIUS, (n - 1) // 2)
    weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / _SIGMA))
    return weights / weights.sum()


def _weighted(values: np.ndarray, weights: np.ndarray, step: int) -> np.ndarray:
    """Symmetrically weighted sums of values that lie `step` apart along the last axis."""
    n = values.shape[-1] - (len(weights) - 1) * step
    reach = len(weights) // 2
    total = weights[reach] * values[..., reach * step : reach * step + n]
    for d in range(reach):
        pair = values[..., d * step : d * step + n] + values[..., -n - d * step : values.shape[-1] - d * step]
        pair *= weights[d]
        total += pair
    return total


def _sums(values: np.ndarray, weights: np.ndarray, step: int) -> np.ndarray:
    """Sums of ``len(weights)`` values that lie `step` apart along the last axis, by doubling."""
    width = len(weights)
    n = values.shape[-1] - (width - 1) * step
    total: np.ndarray | None = None
    part, size, offset = values, 1, 0
    while True:
        if width & size:
            piece = part[..., offset * step : offset * step + n]
            total = piece if total is None else total + piece
            offset += size
        if total is not None and 2 * size > width:
            return total
        part = part[..., : part.shape[-1] - size * step] + part[..., size * step :]
        size *= 2


def _reflected(start: int, stop: int, n: int) -> np.ndarray:
    """Indices of [start, stop) on an axis of `n` that is continued by reflection, the ends repeated."""
    index = np.arange(start, stop) % (2 * n)
    return np.where(index < n, index, 2 * n - 1 - index)


def _part(picture: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """These rows and columns; a view where nothing is reflected."""
    if all(
        index[-1] - index[0] == len(index) - 1 and (np.diff(index) == 1).all() for index in (rows, columns)
    ):
        return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return picture[np.ix_(rows, columns)]


def _checked_range(data_range: float) -> float:
    peak = float(data_range)
    if not (math.isfinite(peak) and peak > 0):
        raise ParameterError(
            _("The range of the data is {range}.").format(range=data_range),
            _("Expected a number above zero: highest minus lowest possible value."),
            _("Choose images with contrast, or give the range."),
        )
    return peak


def _checked(image, reference, mask):
    image, reference = real_array(image), real_array(reference)
    mask = None if mask is None else np.asarray(mask)
    for other, name in ((reference, _("reference")), (mask, _("mask"))):
        if other is not None and other.shape != image.shape:
            raise InputError(
                _("The {name} has shape {other}, the image {image}.").format(
                    name=name, other=other.shape, image=image.shape
                ),
                _("Expected the same shape."),
                _("Resample one to the other first."),
            )
    if image.size == 0 or (mask is not None and not mask.any()):
        raise InputError(
            _("The mask is empty.") if image.size else _("The image is empty."),
            _("Expected at least one voxel inside."),
            _("Choose another mask, or none."),
        )
    return image, reference, mask
