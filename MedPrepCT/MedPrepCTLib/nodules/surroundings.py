"""What lies around a bright spot, from the same rays that felt it out.

A branching of vessels goes on in two or three thick directions, often in opposite ones; a nodule has at most
a thin vessel or two. Ground glass that a vessel crosses has its own border below the vessel's, so the shape
is taken once more where the HU have fallen close to those of lung. Ratios to contrast and to size leave out
scanner and scale.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

# HU above the lung around at which ground glass ends, and the share of the contrast that it may not exceed.
_GLASS_HU, _GLASS_SHARE = 90.0, 0.5
# Shells around a spot, in its radii: close by, a little out, far out.
_CLOSE, _OUT, _FAR = (1.25, 1.6), (1.6, 2.0), (2.0, 2.6)


@dataclass(frozen=True)
class Surroundings:
    """One entry for each seed.

    Parameters
    ----------
    glass_size : radius down to the HU of ground glass's border over radius down to half way.
    glass_elongation, glass_spread : as of the shape, down to that border.
    close, out, far : share of the directions that are dense 1.25 to 1.6, 1.6 to 2, 2 to 2.6 radii away.
    through : share of the directions that are dense 1.6 to 2 radii away on both sides.
    lopsided : how far the dense directions point to one side, 0 to 1.
    calipers : the 10th over the 90th percentile of the widths between opposite ends.
    thin : the 5th percentile of those widths over the median.
    edge : fall of the mean HU from 0.7 to 1.3 radii, in contrasts.
    grain : deviation of HU within 0.7 radii, in contrasts.
    noise : spread of HU around below their lower quartile, in contrasts.
    border : share of the directions that have left the lung 1.8 radii away.
    """

    glass_size: np.ndarray
    glass_elongation: np.ndarray
    glass_spread: np.ndarray
    close: np.ndarray
    out: np.ndarray
    far: np.ndarray
    through: np.ndarray
    lopsided: np.ndarray
    calipers: np.ndarray
    thin: np.ndarray
    edge: np.ndarray
    grain: np.ndarray
    noise: np.ndarray
    border: np.ndarray

    def pick(self, chosen: np.ndarray) -> Surroundings:
        """Those at an index or mask."""
        return Surroundings(*(getattr(self, f.name)[chosen] for f in fields(self)))

    @staticmethod
    def joined(parts) -> Surroundings:
        """One after the other."""
        return Surroundings(
            *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Surroundings))
        )


def glass_border(around: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """(n,) HU at which ground glass ends towards the lung around it."""
    return around + np.minimum(_GLASS_HU, _GLASS_SHARE * (inner - around))


def elongation_and_spread(way: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shortest over longest axis, and 80th over 20th percentile, of rays (n, rays) along `way` (rays, 3)."""
    ends = way * np.minimum(whole, 3 * np.median(whole, axis=1)[:, None])[..., None]
    axes = np.linalg.eigvalsh(np.einsum("nda,ndb->nab", ends, ends) / len(way))
    low, high = np.percentile(whole, (20, 80), axis=1)
    return np.sqrt(np.maximum(axes[:, 0], 1e-9) / np.maximum(axes[:, 2], 1e-9)), high / np.maximum(low, 1e-6)


def look_around(
    hu: np.ndarray,
    ratio: np.ndarray,
    way: np.ndarray,
    whole: np.ndarray,
    glass: np.ndarray,
    outside: np.ndarray,
    threshold: np.ndarray,
    inner: np.ndarray,
    around: np.ndarray,
    darker: np.ndarray,
) -> Surroundings:
    """Measure what the rays met.

    Parameters
    ----------
    hu : (n, rays, steps). ratio : (n, steps) distance in radii. way : (rays, 3); the last half is the first
        turned round. whole, glass : (n, rays) lengths down to the border and to that of ground glass, mm.
    outside : (n, rays) has left the lung 1.8 radii away. threshold, inner, around, darker : (n,) HU;
        the last is the spread below the lower quartile of what is around.
    """
    contrast = np.maximum(inner - around, 20.0)
    glass_elongation, glass_spread = elongation_and_spread(way, glass)
    dense = hu > threshold[:, None, None]
    close, out, far = (_dense_in(dense, ratio, *shell) for shell in (_CLOSE, _OUT, _FAR))
    half = len(way) // 2
    through = np.minimum(out, np.roll(out, half, axis=1)).mean(axis=1)
    total = np.maximum(out.sum(axis=1), 1.0)
    lopsided = np.linalg.norm(out @ way, axis=1) / total * np.minimum(1.0, total / 4)
    widths = whole[:, :half] + whole[:, half:]
    thin, narrow, usual, wide = np.percentile(widths, (5, 10, 50, 90), axis=1)
    profile = hu.mean(axis=1)
    edge = _mean_in(profile, ratio, 0.55, 0.8) - _mean_in(profile, ratio, 1.2, 1.45)
    core = (ratio < 0.7)[:, None]
    first = _mean_in(profile, ratio, -1.0, 0.7)
    grain = np.sqrt(
        np.where(core, (hu - first[:, None, None]) ** 2, 0.0).sum(axis=(1, 2))
        / np.maximum(core.sum(axis=2)[:, 0] * hu.shape[1], 1)
    )
    return Surroundings(
        np.median(glass, axis=1) / np.maximum(np.median(whole, axis=1), 1e-6),
        glass_elongation,
        glass_spread,
        close.mean(axis=1),
        out.mean(axis=1),
        far.mean(axis=1),
        through,
        lopsided,
        narrow / np.maximum(wide, 1e-6),
        thin / np.maximum(usual, 1e-6),
        edge / contrast,
        grain / contrast,
        darker / contrast,
        outside.mean(axis=1),
    )


def _dense_in(dense: np.ndarray, ratio: np.ndarray, low: float, high: float) -> np.ndarray:
    """(n, rays) share of a ray's samples between two distances that are dense."""
    here = ((ratio > low) & (ratio <= high)).astype(np.float32)
    return np.einsum("nds,ns->nd", dense, here) / np.maximum(here.sum(axis=1), 1.0)[:, None]


def _mean_in(profile: np.ndarray, ratio: np.ndarray, low: float, high: float) -> np.ndarray:
    """(n,) mean of a profile (n, steps) between two distances."""
    here = (ratio > low) & (ratio <= high)
    return (profile * here).sum(axis=1) / np.maximum(here.sum(axis=1), 1)
