"""Lung fields, and the polarity that they give away."""
