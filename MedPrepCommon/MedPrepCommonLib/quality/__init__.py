"""Checks of prepared images and data sets: sharpness, agreement, coverage, leakage."""
