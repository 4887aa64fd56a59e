"""White matter, grey matter and CSF in a brain of any contrast: where they usually lie says which is which.

A map of the tissues' usual places (20 heads, see ``Training/MODEL_CARD.md``) is laid onto the brain's mask,
and a mixture of three intensities is fitted that starts from it (Ashburner and Friston, NeuroImage 26(3),
2005), with a smooth bias field (Van Leemput et al., IEEE Trans Med Imaging 18(10), 1999). No order of the
intensities is assumed: it is what is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.errors import FileError
from MedPrepCommonLib.core.i18n import _

ATLAS = Path(__file__).resolve().parents[1] / "models" / "brain_tissue.npz"
WHITE, GREY, FLUID = range(3)
# Masks are compared on a grid of this spacing (mm), smoothed by as much.
_COARSE = 6.0
# Share of voxels that fit no tissue (lesions, vessels), and the least prior share of each tissue.
_OTHER, _LEAST = 0.03, 0.02
_ROUNDS = 25


@dataclass(frozen=True)
class Atlas:
    """Usual share of each tissue (3, i, j, k) float32 on voxels of `spacing` mm, centre of the brain's mask
    in the middle of the grid, axes to the right, the front and the top."""

    shares: np.ndarray
    spacing: float

    @property
    def brain(self) -> np.ndarray:
        return self.shares.sum(axis=0)


@dataclass(frozen=True)
class Tissues:
    """Intensities and places of white matter, grey matter and CSF.

    Parameters
    ----------
    means, deviations : (3,) of white matter, grey matter, CSF; the bias field taken away. CSF shares most
        of its voxels
        with brain: its "mean" is the quartile furthest from grey matter.
    shares : (3, i, j, k) float32, how much each voxel is of each; 0 outside the mask.
    field : (i, j, k) float32 bias field, mean 1 in the mask.
    fit : how well the brain's shape fits the usual one, Dice of the laid-on mask (0 to 1).
    explained : share of the intensities' variance in the mask that the usual places alone explain: a brain
        has tissues where they belong, a fluid or a liver has not.
    """

    means: np.ndarray
    deviations: np.ndarray
    shares: np.ndarray
    field: np.ndarray
    fit: float
    explained: float


@lru_cache(maxsize=1)
def atlas() -> Atlas:
    """The tissues' usual places.

    Raises
    ------
    FileError
        when the file is missing.
    """
    try:
        with np.load(ATLAS, allow_pickle=False) as stored:
            return Atlas(stored["shares"].astype(np.float32) / 255, float(stored["spacing"]))
    except (OSError, ValueError, KeyError) as error:
        raise FileError(
            _("The map of the brain's tissues is missing."),
            _("Expected {name} in MedPrepMRILib/models.").format(name=ATLAS.name),
            _("Install MedPrep again."),
        ) from error


def tissues(image: np.ndarray, mask: np.ndarray, spacing: float, usual: Atlas | None = None) -> Tissues:
    """Fit the three tissues in a mask.

    Parameters
    ----------
    image : (i, j, k) float, axes to the patient's right, front and top. mask : bool, not empty.
    spacing : mm, the same along every axis.
    """
    usual = usual or atlas()
    matrix, shift, fit = laid_on(mask, spacing, usual)
    where = np.argwhere(mask)
    places = (where * spacing) @ matrix.T + shift
    index = (places / usual.spacing + (np.array(usual.brain.shape) - 1) / 2).T
    prior = np.stack(
        [ndimage.map_coordinates(share, index, order=1, mode="nearest") for share in usual.shares]
    )
    prior = np.maximum(prior, _LEAST)
    prior /= prior.sum(axis=0)
    values = image[mask].astype(np.float64)
    means, deviations, posterior, factors = _mixture(values, prior, where, mask.shape)
    means = np.array([*means[:2], _pure_fluid(values / factors, posterior[FLUID], means)])
    shares = np.zeros((3, *mask.shape), np.float32)
    shares[:, mask] = posterior
    field = np.ones(mask.shape, np.float32)
    field[mask] = factors
    return Tissues(means, deviations, shares, field, fit, _explained(values, prior))


def laid_on(
    mask: np.ndarray, spacing: float, usual: Atlas | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Affine map from mm of the mask's first voxel to mm of the atlas' middle, and the masks' Dice there.

    Gauss-Newton on smoothed masks, from the same centre and extent.
    """
    usual = usual or atlas()
    brain, middle = usual.brain, (np.array(usual.brain.shape) - 1) / 2
    own = np.argwhere(mask) * spacing
    centre, extent = own.mean(axis=0), own.std(axis=0)
    theirs = (np.argwhere(brain > 0.5) - middle) * usual.spacing
    matrix = np.diag(theirs.std(axis=0) / np.maximum(extent, 1e-3))
    # A slab tells nothing of the size across it.
    cut = [bool(mask.take(0, a).mean() > 0.1 or mask.take(-1, a).mean() > 0.1) for a in range(3)]
    if any(cut):
        whole = [a for a in range(3) if not cut[a]]
        scale = float(np.mean([matrix[a, a] for a in whole])) if whole else 1.0
        for a in range(3):
            matrix[a, a] = matrix[a, a] if a in whole else scale
    shift = theirs.mean(axis=0) - matrix @ centre
    smooth = ndimage.gaussian_filter(brain, _COARSE / usual.spacing)
    slopes = [np.gradient(smooth, axis=a) / usual.spacing for a in range(3)]
    step = max(1, round(_COARSE / spacing))
    grid = np.stack(np.meshgrid(*(np.arange(0, n, step) for n in mask.shape), indexing="ij"), -1).reshape(
        -1, 3
    )
    target = ndimage.gaussian_filter(mask.astype(np.float32), _COARSE / spacing, mode="nearest")[
        tuple(grid.T)
    ]
    points = grid * spacing - centre
    shift = shift + matrix @ centre
    for _n in range(12):
        index = ((points @ matrix.T + shift) / usual.spacing + middle).T
        found = ndimage.map_coordinates(smooth, index, order=1)
        slope = np.stack([ndimage.map_coordinates(s, index, order=1) for s in slopes], 1)
        jacobian = np.concatenate([slope[:, a : a + 1] * points for a in range(3)] + [slope], axis=1)
        # Sizes and angles stay near where they start from: the outline alone does not tell everything.
        weight = np.diag([1e-3 * (jacobian[:, n] ** 2).sum() + 1e-9 for n in range(12)])
        change = np.linalg.solve(jacobian.T @ jacobian + weight, jacobian.T @ (target - found))
        matrix = matrix + change[:9].reshape(3, 3)
        shift = shift + change[9:]
        if np.abs(change[9:]).max() < 0.05:
            break
    index = ((points @ matrix.T + shift) / usual.spacing + middle).T
    there = ndimage.map_coordinates(brain, index, order=1) > 0.5
    here = mask[tuple(grid.T)]
    fit = 2 * np.count_nonzero(here & there) / max(1, np.count_nonzero(here) + np.count_nonzero(there))
    return matrix, shift - matrix @ centre, float(fit)


def _mixture(
    values: np.ndarray, prior: np.ndarray, where: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Means, deviations, posterior shares (3, n) and bias factors (n,)."""
    means = np.linalg.lstsq(prior.T, values, rcond=None)[0]
    low, high = np.quantile(values, (0.005, 0.995))
    reach = max(high - low, 1e-12)
    means = np.clip(means, low, high)
    deviations = np.full(3, reach / 6)
    terms = _polynomial(where, shape)
    factors, posterior = np.ones(len(values)), prior
    for n in range(_ROUNDS):
        clean = values / factors
        likely = prior * np.exp(-0.5 * ((clean - means[:, None]) / deviations[:, None]) ** 2)
        likely /= deviations[:, None] * np.sqrt(2 * np.pi)
        posterior = likely / (likely.sum(axis=0) + _OTHER / reach)
        amounts = posterior.sum(axis=1) + 1e-9
        means = (posterior @ clean) / amounts
        spread = ((clean - means[:, None]) ** 2 * posterior).sum(axis=1) / amounts
        deviations = np.sqrt(np.maximum(spread, (reach / 200) ** 2))
        if n >= 3:
            factors = _bias(values, posterior, means, deviations, terms)
    return means, deviations, posterior / np.maximum(posterior.sum(axis=0), 1e-9), factors


def _explained(values: np.ndarray, prior: np.ndarray) -> float:
    low, high = np.quantile(values, (0.02, 0.98))
    kept = np.clip(values, low, high)
    left = kept - prior.T @ np.linalg.lstsq(prior.T, kept, rcond=None)[0]
    return float(1 - left.var() / kept.var()) if kept.var() > 0 else 0.0


def _pure_fluid(values: np.ndarray, share: np.ndarray, means: np.ndarray) -> float:
    """The quartile of CSF that is furthest from grey matter."""
    order = np.argsort(values)
    ranks = np.cumsum(share[order])
    quartile = 0.75 if means[FLUID] > means[GREY] else 0.25
    return float(values[order][min(np.searchsorted(ranks, quartile * ranks[-1]), len(order) - 1)])


def _bias(
    values: np.ndarray, posterior: np.ndarray, means: np.ndarray, deviations: np.ndarray, terms: np.ndarray
) -> np.ndarray:
    """A smooth factor between what is seen in white and grey matter and what their means say."""
    solid = posterior[:2]
    expected = (solid * means[:2, None]).sum(axis=0) / np.maximum(solid.sum(axis=0), 1e-9)
    weight = (solid / deviations[:2, None] ** 2).sum(axis=0) * expected**2
    usable = expected > 1e-6 * max(abs(means).max(), 1e-30)
    ratio = np.where(usable, values / np.where(usable, expected, 1), 1.0)
    weight = np.where(usable & (np.abs(ratio - 1) < 0.7), weight, 0.0)
    weighted = terms * weight[:, None]
    found = np.linalg.solve(
        terms.T @ weighted + 1e-6 * np.eye(terms.shape[1]) * weight.sum(), weighted.T @ ratio
    )
    field = np.clip(terms @ found, 0.3, 3.0)
    return field / field.mean()


def _polynomial(where: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """All products of up to second degree of the coordinates, (n, 10)."""
    x = 2 * where / np.maximum(np.array(shape) - 1, 1) - 1
    pairs = [x[:, a] * x[:, b] for a in range(3) for b in range(a, 3)]
    return np.stack([np.ones(len(x)), *x.T, *pairs], 1)
