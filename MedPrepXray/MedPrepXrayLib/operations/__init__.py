"""Importing this module registers every X-ray operation."""

from . import (
    check,
    clahe,
    clahe_auto,
    clahe_compare,
    crop,
    denoise,
    evaluate,
    lung_fields,
    lung_normalize,
    polarity,
)

__all__ = [
    "clahe_auto",
    "check",
    "clahe_compare",
    "clahe",
    "crop",
    "denoise",
    "evaluate",
    "polarity",
    "lung_fields",
    "lung_normalize",
]
