"""MRI operations: bias fields, intensity normalization and fusion of sequences."""
