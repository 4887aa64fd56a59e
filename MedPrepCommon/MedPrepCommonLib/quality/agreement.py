"""How well two images of one grid agree: correlation, shared information, structural similarity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..core.job import Job
from ..numeric import similarity
from ..numeric.distribution import Distribution, distribution, entropy, jensen_shannon, wasserstein

_JOINT = 128
_TRANSFER = 256


@dataclass(frozen=True)
class Agreement:
    """What two images have in common in one region.

    `slope` and `intercept` take values of the second to the scale of the first (least squares);
    `similarity`, `psnr`, `wasserstein` and `jensenShannon` are measured after that where `fitted`.
    """

    before: Distribution
    after: Distribution
    correlation: float
    slope: float
    intercept: float
    explained: float
    information: float
    ssim: float
    psnr: float
    wasserstein: float
    jensen_shannon: float
    transfer: tuple[np.ndarray, np.ndarray]


def agreement(
    before: np.ndarray, after: np.ndarray, mask: np.ndarray | None, fit: bool, job: Job | None = None
) -> Agreement:
    """Compare two images (k, j, i) of the same shape, in the boolean `mask` or everywhere.

    Parameters
    ----------
    fit : bring the values of `after` to the scale of `before` by a least-squares line before similarity and
        histogram distances are measured.

    Returns
    -------
    Agreement : ``correlation`` is Pearson's (0 where an image is constant). ``explained`` is the share of
        the variance of `after`, limited to 99.8 % of its values, that its mean for each value of `before`
        explains (correlation ratio): 1 for anything done to each value by itself. ``information`` is the
        share of the entropy of `before`, in 128 bins, that `after` tells (mutual information). The range for
        SSIM and PSNR is that of 99.8 % of `before`.
    """
    job = job or Job.quiet()
    one = distribution(before, mask, job.part(0.0, 0.2))
    two = distribution(after, mask, job.part(0.2, 0.4))
    joint = _Joint(one, two)
    for k in range(len(before)):
        job.report(0.4 + 0.2 * k / len(before))
        a, b = (x[k].reshape(-1) if mask is None else x[k][mask[k]] for x in (before, after))
        if a.size:
            joint.add(a.astype(np.float64), b.astype(np.float64))
    correlation, slope, intercept = joint.line()
    if not fit:
        slope, intercept = 1.0, 0.0
    reach = one.quantile(0.999) - one.quantile(0.001) or one.high - one.low or 1.0
    scaled = after if not fit else (after.astype(np.float32) * np.float32(slope) + np.float32(intercept))
    inside = None if mask is None else mask.view(np.uint8)
    return Agreement(
        one,
        two,
        correlation,
        slope,
        intercept,
        joint.explained(),
        joint.information(),
        similarity.ssim(scaled, before, inside, data_range=reach, job=job.part(0.6, 0.9)),
        similarity.psnr(scaled, before, inside, data_range=reach, job=job.part(0.9, 1.0)),
        wasserstein(one, two, slope, intercept),
        jensen_shannon(one, two, slope, intercept),
        joint.transfer(),
    )


class _Joint:
    """Sums over pairs of values, collected slice by slice."""

    def __init__(self, one: Distribution, two: Distribution) -> None:
        self.one, self.two = one, two
        self.covariance = 0.0
        self.limits = [(d.quantile(0.001), d.quantile(0.999)) for d in (one, two)]
        self.pairs = np.zeros(_JOINT * _JOINT, np.int64)
        self.squares = 0.0
        self.sums, self.counts = np.zeros(_TRANSFER), np.zeros(_TRANSFER, np.int64)

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        self.covariance += float(((a - self.one.mean) * (b - self.two.mean)).sum())
        x, y = (_binned(v, *limits, _JOINT) for v, limits in zip((a, b), self.limits, strict=True))
        self.pairs += np.bincount(x * _JOINT + y, minlength=_JOINT * _JOINT)
        fine = _binned(a, *self.limits[0], _TRANSFER)
        # Single extreme values have more variance than all the rest: they are judged apart.
        b = b.clip(*self.limits[1])
        self.squares += float((b * b).sum())
        self.sums += np.bincount(fine, b, _TRANSFER)
        self.counts += np.bincount(fine, minlength=_TRANSFER)

    def line(self) -> tuple[float, float, float]:
        """Pearson's correlation, and slope and intercept that take `two` to `one`."""
        sx, sy = self.one.deviation, self.two.deviation
        if sx == 0 or sy == 0:
            return 0.0, 0.0, self.one.mean
        covariance = self.covariance / self.one.total
        correlation = min(max(covariance / (sx * sy), -1.0), 1.0)
        slope = covariance / sy**2
        return correlation, slope, self.one.mean - slope * self.two.mean

    def explained(self) -> float:
        used = self.counts > 0
        means, total = self.sums[used] / self.counts[used], self.one.total
        mean = float(self.sums.sum()) / total
        between = float((self.counts[used] * (means - mean) ** 2).sum()) / total
        variance = self.squares / total - mean * mean
        return min(between / variance, 1.0) if variance > 1e-12 * self.squares / total else 0.0

    def information(self) -> float:
        table = self.pairs.reshape(_JOINT, _JOINT)
        alone = entropy(table.sum(axis=1))
        shared = alone + entropy(table.sum(axis=0)) - entropy(self.pairs)
        return min(max(shared / alone, 0.0), 1.0) if alone > 0 else 0.0

    def transfer(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = self.limits[0]
        used = self.counts > 0
        x = low + (np.arange(_TRANSFER) + 0.5) * (high - low) / _TRANSFER
        return x[used], self.sums[used] / self.counts[used]


def _binned(values: np.ndarray, low: float, high: float, bins: int) -> np.ndarray:
    if not high > low:
        return np.zeros(values.shape, np.intp)
    return np.clip((values - low) * (bins / (high - low)), 0, bins - 1).astype(np.intp)


def infinite_as(value: float, instead: float) -> float:
    """`value`, or `instead` where it is infinite (the PSNR of equal images), which JSON cannot hold."""
    return value if math.isfinite(value) else instead
