"""Importing this module registers every X-ray operation."""

from . import (
    autocontrast,
    check,
    comparecontrast,
    contrast,
    crop,
    denoising,
    evaluation,
    inversion,
    lungfields_operation,
    lungnormalize,
)

__all__ = [
    "autocontrast",
    "check",
    "comparecontrast",
    "contrast",
    "crop",
    "denoising",
    "evaluation",
    "inversion",
    "lungfields_operation",
    "lungnormalize",
]
