"""The operations for any modality; importing this registers them."""

from . import augment, cropforeground, croppad, normalize, qc, resample, restore, validate

__all__ = ["augment", "cropforeground", "croppad", "normalize", "qc", "resample", "restore", "validate"]
