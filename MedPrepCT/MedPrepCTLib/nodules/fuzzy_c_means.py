"""Fuzzy c-means clustering of Hounsfield units (Bezdek 1981): soft classes of a lung's density.

Each voxel belongs to every class in part. As the density is one number, a histogram is clustered in place of
the voxels: the result is the same, and its cost does not grow with the scan.
"""

from __future__ import annotations

import numpy as np

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _

_MOST_ROUNDS, _CLOSE_HU = 200, 0.01


def fuzzy_c_means(
    values: np.ndarray, weights: np.ndarray, classes: int, *, fuzziness: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the classes, rising, and how much each value belongs to each.

    Parameters
    ----------
    values : (n,) different values. weights : (n,) how often each occurs. classes : at least two.
    fuzziness : Bezdek's m, above 1; 2 is usual.

    Returns
    -------
    centres : (classes,). membership : (classes, n), sums to 1 over the classes.

    Raises
    ------
    InputError : fewer different values than classes.
    """
    values, weights = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    used = np.unique(values[weights > 0])
    if len(used) < classes:
        raise InputError(
            _("The lungs hold {n} different values.").format(n=len(used)),
            _("Expected at least {n}, one for each class.").format(n=classes),
            _("Check that the image was not windowed or turned into labels."),
        )
    # Spread over the range, as the dense class is rare: quantiles would start every class in aerated lung.
    centres = np.linspace(used[0], used[-1], 2 * classes + 1)[1::2]
    for _round in range(_MOST_ROUNDS):
        share = membership(values, centres, fuzziness) ** fuzziness * weights
        moved = (share @ values) / np.maximum(share.sum(axis=1), 1e-300)
        change, centres = np.abs(moved - centres).max(), moved
        if change < _CLOSE_HU:
            break
    centres = np.sort(centres)
    return centres, membership(values, centres, fuzziness)


def membership(values: np.ndarray, centres: np.ndarray, fuzziness: float = 2.0) -> np.ndarray:
    """(classes, n): the share of each value in each class, larger the nearer its centre."""
    away = np.maximum(np.abs(np.asarray(values, np.float64) - np.asarray(centres)[:, None]), 1e-9)
    # Relative to the nearest centre: no power of a tiny distance overflows.
    near = (away.min(axis=0) / away) ** (2.0 / (fuzziness - 1.0))
    return near / near.sum(axis=0)
