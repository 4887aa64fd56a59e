"""Lattices and fields in logarithms that masks and bias correction share."""
