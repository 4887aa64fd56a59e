"""The operations for any modality; importing this registers them."""

from . import normalize, qc, resample, validate

__all__ = ["normalize", "qc", "resample", "validate"]
