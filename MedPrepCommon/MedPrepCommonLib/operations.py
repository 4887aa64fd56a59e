"""The operations for any modality; importing this registers them."""

from . import cropforeground, croppad, normalize, qc, resample, restore, validate

__all__ = ["cropforeground", "croppad", "normalize", "qc", "resample", "restore", "validate"]
