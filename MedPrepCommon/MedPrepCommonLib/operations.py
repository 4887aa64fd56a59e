"""The operations for any modality; importing this registers them."""

from . import augment, cropforeground, croppad, denoise, normalize, patches, qc, resample, restore, validate

__all__ = [
    "augment",
    "cropforeground",
    "croppad",
    "denoise",
    "normalize",
    "patches",
    "qc",
    "resample",
    "restore",
    "validate",
]
