"""Importing this module registers every MRI operation."""

from ..bias import lowpass, polynomial
from ..brain import mask
from . import bias_field, compare_bias, fuse, n4, normalize, white_stripe

__all__ = [
    "bias_field",
    "mask",
    "compare_bias",
    "fuse",
    "lowpass",
    "n4",
    "normalize",
    "polynomial",
    "white_stripe",
]
