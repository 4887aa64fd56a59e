"""How an image's values are distributed, and how far two such distributions lie apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..core.job import Job

# Equal steps between the extremes. Whole numbers that span less have one bin each: counts are exact.
BINS = 1 << 16


@dataclass(frozen=True)
class Distribution:
    """Counts of values in equal bins; bin n is centred on ``low + n * step``."""

    counts: np.ndarray
    low: float
    high: float
    step: float
    mean: float
    deviation: float

    @property
    def total(self) -> int:
        """How many voxels were counted."""
        return int(self.counts.sum())

    @property
    def centres(self) -> np.ndarray:
        """The value that each bin stands for."""
        return self.low + self.step * np.arange(self.counts.size)

    def quantile(self, share: float) -> float:
        """The value below which `share` of the voxels lie, to one bin."""
        reached = np.searchsorted(np.cumsum(self.counts), share * self.total)
        return self.low + self.step * min(int(reached), self.counts.size - 1)

    @property
    def levels(self) -> int:
        """How many different values there are, at most 65,536."""
        return int(np.count_nonzero(self.counts))

    @property
    def entropy(self) -> float:
        """Shannon entropy of the binned values in bits."""
        return entropy(self.counts)

    @property
    def at_low(self) -> float:
        """Share of the voxels that have the smallest value."""
        return float(self.counts[0] / self.total)

    @property
    def at_high(self) -> float:
        """Share of the voxels that have the largest value."""
        return float(self.counts[-1] / self.total) if self.counts.size > 1 else 0.0


def entropy(counts: np.ndarray) -> float:
    """Shannon entropy of counts in bits."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0


def distribution(array: np.ndarray, mask: np.ndarray | None = None, job: Job | None = None) -> Distribution:
    """The distribution of the voxels of `array` (k, j, i; finite), or of those in the boolean `mask`.

    The mask must not be empty.
    """
    job = job or Job.quiet()
    low, high, first, second, count = math.inf, -math.inf, 0.0, 0.0, 0
    shift = float(array[(0,) * array.ndim])
    for values in _slices(array, mask, job.part(0.0, 0.5)):
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        away = values.astype(np.float64) - shift
        first, second, count = first + away.sum(), second + (away * away).sum(), count + values.size
    mean = first / count
    deviation = math.sqrt(max(second / count - mean * mean, 0.0))
    whole = array.dtype.kind in "iu"
    if whole and high - low < BINS:
        bins, step = int(high - low) + 1, 1.0
    else:
        bins, step = (BINS, (high - low) / (BINS - 1)) if high > low else (1, 1.0)
    counts = np.zeros(bins, np.int64)
    for values in _slices(array, mask, job.part(0.5, 1.0)):
        index = np.rint((values.astype(np.float64) - low) / step).astype(np.intp)
        counts += np.bincount(index, minlength=bins)
    return Distribution(counts, low, high, step, mean + shift, deviation)


def _slices(array: np.ndarray, mask: np.ndarray | None, job: Job):
    for k in range(len(array)):
        job.report(k / len(array))
        values = array[k].reshape(-1) if mask is None else array[k][mask[k]]
        if values.size:
            yield values


def wasserstein(one: Distribution, other: Distribution, scale: float = 1.0, offset: float = 0.0) -> float:
    """Mean distance by which values must move to turn `one` into ``scale * other + offset``.

    The Wasserstein-1 or "earth mover's" distance, in the units of `one`.
    """
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(one.centres, scale * other.centres + offset, one.counts, other.counts))


def jensen_shannon(
    one: Distribution, other: Distribution, scale: float = 1.0, offset: float = 0.0, bins: int = 256
) -> float:
    """Jensen-Shannon distance of `one` and ``scale * other + offset``: 0 for equal, 1 for disjoint.

    In `bins` bins over the range that holds 99.8 % of each; what lies outside counts in the outermost bins.
    """
    moved = [scale * other.quantile(q) + offset for q in (0.001, 0.999)]
    low, high = min(one.quantile(0.001), *moved), max(one.quantile(0.999), *moved)
    if not high > low:
        return 0.0
    shares = []
    for values, counts in ((one.centres, one.counts), (scale * other.centres + offset, other.counts)):
        index = np.clip((values - low) / (high - low) * bins, 0, bins - 1).astype(np.intp)
        shares.append(np.bincount(index, counts, bins) / counts.sum())
    middle = (shares[0] + shares[1]) / 2
    divergence = 0.0
    for share in shares:
        used = share > 0
        divergence += 0.5 * float((share[used] * np.log2(share[used] / middle[used])).sum())
    return math.sqrt(min(max(divergence, 0.0), 1.0))
