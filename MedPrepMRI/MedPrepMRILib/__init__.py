"""MRI operations: bias fields, intensity normalization and fusion of sequences."""

from MedPrepCommonLib.version import __version__

__all__ = ["__version__"]
