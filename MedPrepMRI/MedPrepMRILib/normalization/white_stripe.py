"""White Stripe: the band of intensities around the peak of normal-appearing white matter.

Shinohara et al., "Statistical normalization techniques for magnetic resonance imaging", NeuroImage: Clinical
6, 2014. The peak is found on a kernel density estimate (Gaussian, Scott's bandwidth) computed from a
histogram; the bounds are exact quantiles of the voxels. Everything is equivariant: a gain above zero and an
offset of the image are a gain and an offset of the stripe, and neither memory layout nor number of threads
changes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.parallel import BLOCK, Crew, block_indices, memory_views, real_array

BINS = 4096
# Voxels are sorted into this many finer bins first: fast, and nearly free of steps.
_FINE = 1 << 16

# T1: above this quantile lie fat, vessels and contrast agent, not tissue (as in the authors' own program).
_T1_TAIL = 0.96
# Maxima lower than these shares of the highest are no tissue. The second is the least rise above the valley
# beside a maximum: sampling noise of a million voxels stays below it.
_LEAST_HEIGHT, _LEAST_RISE = 0.2, 0.002
# T2 and PD: white matter is the darkest tissue; a maximum of this share of the highest is a tissue.
_TISSUE_HEIGHT = 0.5
# The histogram reaches half of the spread of 99.8 % of the voxels beyond them; hot voxels count at its end.
_TAIL, _MARGIN = 0.001, 0.5


@dataclass(frozen=True)
class Stripe:
    """The white stripe of one image.

    Parameters
    ----------
    peak : intensity of the white matter peak.
    quantile : share of the voxels below the peak.
    low, high : its bounds, quantiles of the voxels.
    above, below : the voxels next to the bounds; the stripe is between them. Comparing voxels with voxels is
        exact, where an interpolated bound could gain or lose one by rounding.
    closed : whether voxels equal to those belong to it (only where they hold fewer than two grey levels).
    levels, density : centres of histogram bins and the smoothed density there (shares per intensity).
    voxels : inside the mask. count, mean, deviation : of those in the stripe.
    """

    peak: float
    quantile: float
    low: float
    high: float
    above: float
    below: float
    closed: bool
    levels: np.ndarray
    density: np.ndarray
    voxels: int
    count: int
    mean: float
    deviation: float

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Boolean: which values lie in the stripe."""
        return _between(values, self.above, self.below, self.closed)


def find_stripe(
    array: np.ndarray,
    mask: np.ndarray,
    sequence: str = "T1",
    width: float = 0.05,
    *,
    workers: int | None = None,
    job: Job | None = None,
) -> Stripe:
    """The white stripe of the voxels of `array` in `mask`.

    Parameters
    ----------
    array : (k, j, i), integer or floating point, finite; any gain and offset.
    mask : same shape; voxels where it is not zero are brain.
    sequence : ``T1`` takes the last peak, ``FLAIR`` the largest, ``T2`` and ``PD`` the first that is at least
        half as high as the largest (white matter is the darkest tissue there).
    width : the stripe reaches this share of the brain's voxels to either side of the peak, in (0, 0.5).

    Raises
    ------
    InputError
        when the mask is empty, or all its voxels have one value.
    """
    with Crew(workers) as crew:
        values = _Inside(real_array(array), np.asarray(mask), crew, job)
        histogram = values.histogram()
        levels, density = _density(histogram, _T1_TAIL if sequence == "T1" else 1.0)
        peak = _peak(levels, density, sequence)
        quantile = values.below(peak) / values.count
        low, above, _next = values.quantile(max(quantile - width, 0.0))
        high, _previous, below = values.quantile(min(quantile + width, 1.0))
        stripe = values.between(above, below, closed=False)
        closed = not stripe.size or bool(stripe.min() == stripe.max())
        stripe = values.between(above, below, closed=True) if closed else stripe
    return Stripe(
        peak, quantile, low, high, above, below, closed, levels, density, values.count, stripe.size,
        *moments(stripe),
    )  # fmt: skip


def moments(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation, the same for any order of the values."""
    values = np.sort(values).astype(np.float64)
    return float(values.mean()), float(values.std())


def _between(values: np.ndarray, low: float, high: float, closed: bool) -> np.ndarray:
    if closed:
        return (values >= low) & (values <= high)
    return (values > low) & (values < high)


@dataclass(frozen=True)
class _Histogram:
    start: float
    step: float
    counts: np.ndarray

    @property
    def centres(self) -> np.ndarray:
        return self.start + self.step * np.arange(len(self.counts))

    def coarser(self) -> _Histogram:
        """In BINS bins; each fine bin is shared by the two nearest centres, so that no step is seen."""
        place = np.linspace(0.0, BINS - 1.0, len(self.counts))
        index = np.minimum(place.astype(np.intp), BINS - 2)
        upper = (place - index) * self.counts
        counts = np.bincount(index, self.counts - upper, BINS) + np.bincount(index + 1, upper, BINS)
        return _Histogram(self.start, self.step * (len(self.counts) - 1) / (BINS - 1), counts)


class _Inside:
    """The voxels inside a mask, block by block, with exact ranks."""

    def __init__(self, array: np.ndarray, mask: np.ndarray, crew: Crew, job: Job | None) -> None:
        self._crew, self._job = crew, job
        view, inside = memory_views(array, mask if mask.dtype == bool else mask != 0)
        pieces = block_indices(view.shape, BLOCK)
        found: list[np.ndarray | None] = [None] * len(pieces)
        ends: list[tuple[float, float] | None] = [None] * len(pieces)

        def pick(piece: int, worker: int) -> None:
            here = inside[pieces[piece]]
            block = view[pieces[piece]][here] if here.any() else np.empty(0, view.dtype)
            found[piece] = block
            ends[piece] = (float(block.min()), float(block.max())) if block.size else None

        crew.run(pick, len(pieces), job)
        self._blocks = [block for block in found if block.size]
        self._bins: list[np.ndarray] = []
        self.count = sum(block.size for block in self._blocks)
        if self.count == 0:
            raise InputError(
                _("The mask is empty."),
                _("Expected the brain inside."),
                _("Choose another mask, or none to have the brain found."),
            )
        self.low = min(end[0] for end in ends if end)
        self.high = max(end[1] for end in ends if end)
        if self.low == self.high:
            raise InputError(
                _("Every voxel inside the mask is {value:g}.").format(value=self.low),
                _("Expected a brain with contrast."),
                _("Choose another image or mask."),
            )

    def histogram(self) -> _Histogram:
        """Over the range where the tissue is: hot voxels do not make its bins coarse."""
        low, high = self.low, self.high
        while True:
            step = (high - low) / (_FINE - 1)
            counts = self._binned(low, step)
            ranks = np.cumsum(counts)
            first, last = np.searchsorted(ranks, [_TAIL * ranks[-1], (1 - _TAIL) * ranks[-1]])
            spread = max(int(last) - int(first), 1)
            start = max(low, low + (first - _MARGIN * spread - 1) * step)
            stop = min(high, low + (last + _MARGIN * spread + 1) * step)
            # Narrower only where it gains resolution.
            if stop - start > 0.9 * (high - low) or not low < start + (stop - start) / 2 < high:
                return _Histogram(low, step, counts).coarser()
            low, high = start, stop

    def _binned(self, low: float, step: float) -> np.ndarray:
        """Voxels per fine bin; the bins of all voxels are kept for the ranks."""
        counts: list[np.ndarray | None] = [None] * len(self._blocks)
        bins: list[np.ndarray | None] = [None] * len(self._blocks)
        kind = self._blocks[0].dtype
        # No coarser than the data itself.
        work = np.float32 if kind.itemsize <= 2 or kind == np.float32 else np.float64

        def count(piece: int, worker: int) -> None:
            place = self._blocks[piece].astype(work)
            place -= work(low)
            place *= work(1.0 / step)
            np.clip(place, 0, _FINE - 1, out=place)
            bins[piece] = place.astype(np.uint16)
            counts[piece] = np.bincount(bins[piece], minlength=_FINE)

        self._crew.run(count, len(self._blocks), self._job)
        self._bins, self._counts = bins, sum(counts)
        return self._counts

    def below(self, value: float) -> int:
        """Number of voxels below `value`."""
        return sum(int(np.count_nonzero(block < value)) for block in self._blocks)

    def quantile(self, share: float) -> tuple[float, float, float]:
        """Exact quantile, linear between neighbouring voxels as numpy's default, and the two neighbours."""
        place = share * (self.count - 1)
        if abs(place - round(place)) < 1e-6:
            place = round(place)
        lower = self._ranked(math.floor(place))
        upper = self._ranked(math.ceil(place)) if place != math.floor(place) else lower
        return lower + (upper - lower) * (place - math.floor(place)), lower, upper

    def _ranked(self, rank: int) -> float:
        """The voxel of this rank (0 is the darkest): looked for in its bin alone."""
        ends = np.cumsum(self._counts)
        index = int(np.searchsorted(ends, rank, side="right"))
        inside = np.concatenate(
            [block[bins == index] for block, bins in zip(self._blocks, self._bins, strict=True)]
        )
        within = rank - (int(ends[index - 1]) if index else 0)
        return float(np.partition(inside, within)[within])

    def between(self, low: float, high: float, closed: bool) -> np.ndarray:
        """The voxels between two values, or equal to them too."""
        return np.concatenate([block[_between(block, low, high, closed)] for block in self._blocks])


def _density(histogram: _Histogram, tail: float) -> tuple[np.ndarray, np.ndarray]:
    """Kernel density estimate of the voxels up to the quantile `tail`, Scott's bandwidth."""
    counts, centres = histogram.counts, histogram.centres
    if tail < 1.0:
        ranks = np.cumsum(counts)
        stop = int(np.searchsorted(ranks, tail * ranks[-1])) + 1
        counts, centres = counts[:stop], centres[:stop]
    total = counts.sum()
    mean = counts @ centres / total
    deviation = math.sqrt(max(counts @ (centres - mean) ** 2 / total, 0.0))
    bandwidth = max(deviation * total**-0.2 / histogram.step, 1.0)
    smooth = ndimage.gaussian_filter1d(counts.astype(np.float64), bandwidth, mode="constant", truncate=6.0)
    return centres, smooth / (total * histogram.step)


def _peak(levels: np.ndarray, density: np.ndarray, sequence: str) -> float:
    """Intensity of the maximum that is white matter, between the bins by a parabola."""
    maxima = _maxima(density)
    if sequence in ("T2", "PD"):
        maxima = maxima[density[maxima] >= _TISSUE_HEIGHT * density[maxima].max(initial=0.0)]
    if not len(maxima):
        chosen = int(density.argmax())
    elif sequence == "T1":
        chosen = int(maxima[-1])
    elif sequence == "FLAIR":
        chosen = int(maxima[density[maxima].argmax()])
    else:
        chosen = int(maxima[0])
    step = levels[1] - levels[0] if len(levels) > 1 else 0.0
    if not 0 < chosen < len(levels) - 1:
        return float(levels[chosen])
    before, here, after = density[chosen - 1 : chosen + 2]
    bend = before - 2 * here + after
    return float(levels[chosen] + (0.5 * (before - after) / bend * step if bend < 0 else 0.0))


def _maxima(density: np.ndarray) -> np.ndarray:
    """Indices of the maxima between the ends that are high enough and rise enough above their valleys.

    A pile of voxels at an end (constant background inside the mask, values that were cut off) is none.
    """
    steps = np.diff(density)
    moving = np.flatnonzero(steps)
    turns = (steps[moving][:-1] > 0) & (steps[moving][1:] < 0)
    found = moving[:-1][turns] + 1
    if not len(found):
        return found
    top = density[found].max()
    rises = np.array([_rise(density, index) for index in found])
    return found[(density[found] >= _LEAST_HEIGHT * top) & (rises >= _LEAST_RISE * top)]


def _rise(density: np.ndarray, index: int) -> float:
    """How far one must go down from a maximum before a higher place is reached (its prominence)."""
    height = density[index]
    left = np.flatnonzero(density[:index] > height)
    right = np.flatnonzero(density[index + 1 :] > height)
    first = left[-1] if left.size else 0
    last = index + 1 + right[0] if right.size else len(density) - 1
    return float(height - max(density[first : index + 1].min(), density[index : last + 1].min()))
