"""Contrast enhancement and how good it is."""
