"""Importing this module registers every X-ray operation."""

from . import autocontrast, comparecontrast, contrast, denoising, evaluation

__all__ = ["autocontrast", "comparecontrast", "contrast", "denoising", "evaluation"]
