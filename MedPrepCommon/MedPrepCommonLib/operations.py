"""The operations for any modality; importing this registers them."""

from . import normalize, resample

__all__ = ["normalize", "resample"]
