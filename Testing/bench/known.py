"""A small chest whose value is known at every point of space: balls seen through a scanner's point spread."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from .data import Chest

SHAPE, SPACING = (48, 94, 94), (1.25, 0.7, 0.7)
_SIGMA = 2.0 / 2.3548  # mm: a point spread of 2 mm, full width at half maximum

# Centre (z, y, x) and radius in mm, and HU added inside: body, two lungs, a nodule in each, bone.
_BALLS = (
    ((30.0, 33.0, 33.0), 27.0, 1040.0),
    ((30.0, 33.0, 22.0), 9.0, -880.0),
    ((30.0, 33.0, 45.0), 9.0, -880.0),
    ((28.0, 31.0, 22.0), 3.0, 900.0),
    ((32.0, 35.0, 45.0), 2.0, 850.0),
    ((30.0, 50.0, 33.0), 5.0, 1200.0),
)


def known_chest() -> Chest:
    """The chest sampled and rounded to whole HU."""
    hu = np.rint(values(*(s * np.arange(n) for s, n in zip(SPACING, SHAPE, strict=True)))).astype(np.int16)
    nothing = np.zeros(SHAPE, np.uint8)
    return Chest(hu, nothing, nothing, np.diag([*SPACING[::-1], 1.0]))


def truth(starts: Sequence[float], steps: Sequence[float], shape: Sequence[int]) -> np.ndarray:
    """HU at input indices ``starts + n * steps``."""
    grid = zip(starts, steps, shape, SPACING, strict=True)
    return values(*((start + step * np.arange(n)) * mm for start, step, n, mm in grid))


def values(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """HU on the grid of these positions in mm."""
    image = np.full((len(z), len(y), len(x)), -1000.0)
    for (cz, cy, cx), radius, value in _BALLS:
        square = (z[:, None, None] - cz) ** 2 + (y[:, None] - cy) ** 2 + (x - cx) ** 2
        image += value * _blurred_ball(np.sqrt(square), radius)
    return image


def _blurred_ball(distance: np.ndarray, radius: float) -> np.ndarray:
    """A ball of value 1 convolved with an isotropic Gaussian, at these distances from its centre."""
    r = np.maximum(distance, 1e-6)
    outer, inner = (radius + r) / (_SIGMA * math.sqrt(2)), (radius - r) / (_SIGMA * math.sqrt(2))
    shell = _SIGMA / (r * math.sqrt(2 * math.pi)) * (np.exp(-(inner**2)) - np.exp(-(outer**2)))
    return (special.erf(outer) + special.erf(inner)) / 2 - shell
