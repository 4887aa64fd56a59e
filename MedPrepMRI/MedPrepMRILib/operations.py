"""Importing this module registers every MRI operation."""

from . import (
    biasfield,
    brainmask,
    comparebias,
    fusion,
    lowpass,
    n4_operation,
    normalization,
    polynomial,
    whitestripe_operation,
)

__all__ = [
    "biasfield",
    "brainmask",
    "comparebias",
    "fusion",
    "lowpass",
    "n4_operation",
    "normalization",
    "polynomial",
    "whitestripe_operation",
]
