"""MRI for tests: the brain phantom on small grids, stored any way, and what it is measured with."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepCommonLib.phantoms.brain import BrainPhantom, make_brain_phantom
from MedPrepMRILib.brain.mask import BRAIN


@lru_cache(maxsize=12)
def phantom(bias: float = 0.4, **changes) -> BrainPhantom:
    """A coarse phantom (3 mm), drawn once per test run; everything is cached, so nothing may be changed."""
    arguments = {"shape": (64, 72, 60), "spacing_kji": (3.0, 3.0, 3.0), "sequences": ("T1",), **changes}
    return make_brain_phantom(bias=bias, **arguments)


def image_of(made: BrainPhantom, sequence: str = "T1", **changes) -> Volume:
    """The observed image of a sequence."""
    return Volume(made.images[sequence], made.ijkToRAS, sequence, "MR", **changes)


def mask_of(volume: Volume, mask: np.ndarray) -> LabelVolume:
    """A mask on the grid of `volume`."""
    return LabelVolume(mask.astype(np.uint8), volume.ijkToRAS, "mask", volume.modality, segments=(BRAIN,))


def inner_white(made: BrainPhantom) -> np.ndarray:
    """White matter without the voxels at its surface, bool."""
    return ndimage.binary_erosion(made.labels == 3)


def variation(array: np.ndarray, mask: np.ndarray) -> float:
    """Coefficient of variation in percent."""
    inside = array[mask].astype(np.float64)
    return float(100 * inside.std() / inside.mean())


def agreement(field: np.ndarray, other: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Correlation of two fields' logarithms, and coefficient of variation (percent) of their ratio."""
    a, b = (np.log(f[mask].astype(np.float64)) for f in (field, other))
    ratio = np.exp(a - b)
    return float(np.corrcoef(a, b)[0, 1]), float(100 * ratio.std() / ratio.mean())


def stored(volume: Volume, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Volume:
    """The same voxels in the same places, stored with axes permuted and reversed."""
    array, place = volume.array.transpose(axes), volume.ijkToRAS.copy()
    place[:3, :3] = volume.ijkToRAS[:3, [2 - axes[2 - n] for n in range(3)]]
    for n, flip in enumerate(flips):
        if flip:
            array, column = np.flip(array, n), 2 - n
            place[:3, 3] += place[:3, column] * (array.shape[n] - 1)
            place[:3, column] *= -1
    return dataclasses.replace(volume, array=array, ijkToRAS=place)
