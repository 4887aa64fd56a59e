"""Bias fields: N4, polynomial, low-pass; their results and quality."""
