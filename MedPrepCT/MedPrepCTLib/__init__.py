"""CT: Hounsfield checks, clipping, windows, metal and lungs."""

from MedPrepCommonLib.version import __version__

__all__ = ["__version__"]
