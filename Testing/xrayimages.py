"""Radiographs for tests: a drawn chest whose every part is known, at any depth and stored in any way."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.volume import Volume

PICTURE = np.diag([-1.0, -1.0, 1.0, 1.0])


def chest(shape=(192, 224), bits: int = 8, noise: float = 0.012, seed: int = 0) -> np.ndarray:
    """(j, i) of a chest: dark lungs with ribs, bright spine and abdomen, air beside the shoulders."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    grey = 0.5 + 0.12 * y + np.zeros(shape)
    for side in (-1, 1):
        lung = ((x - 0.42 * side) / 0.3) ** 2 + ((y + 0.1) / 0.62) ** 4
        grey -= 0.26 / (1 + np.exp(12 * (lung - 1)))
    grey += 0.16 * np.exp(-((x / 0.12) ** 2)) + 0.1 * np.exp(
        -(((x - 0.15) / 0.25) ** 2 + ((y - 0.2) / 0.3) ** 2)
    )
    grey += 0.05 * (np.abs(np.sin(9 * y + 2.0 * np.abs(x))) > 0.9) * (np.abs(x) < 0.8)
    grey -= 0.35 * ((np.abs(x) > 0.75) & (y < -0.6 + 0.5 * (np.abs(x) - 0.75)))
    grey = ndimage.gaussian_filter(grey, 0.7) + rng.normal(0, noise, shape)
    top = 2**bits - 1
    return np.rint(np.clip(grey, 0.02, 0.98) * top).astype(np.uint8 if bits == 8 else np.uint16)


def volume_of(plane: np.ndarray, **fields) -> Volume:
    """A plane (j, i) or (j, i, component) as a one-slice volume, where a picture lies."""
    return Volume(plane[np.newaxis], PICTURE, **{"modality": "DX", **fields})


def bordered(plane: np.ndarray, value: float, noise: float = 0.0, seed: int = 1) -> tuple[np.ndarray, tuple]:
    """The plane inside shutters of one grey level; and (top, bottom, left, right) of the plane in it."""
    rng = np.random.default_rng(seed)
    rows, columns = plane.shape
    framed = np.full((rows + 40, columns + 44), float(value)) + rng.normal(
        0, noise, (rows + 40, columns + 44)
    )
    limits = np.iinfo(plane.dtype)
    framed = np.rint(np.clip(framed, limits.min, limits.max)).astype(plane.dtype)
    framed[18 : 18 + rows, 20 : 20 + columns] = plane
    return framed, (18, 18 + rows, 20, 20 + columns)
