"""X-ray operations: quality control, local contrast, its measures, lung fields."""

from MedPrepCommonLib.version import __version__

__all__ = ["__version__"]
