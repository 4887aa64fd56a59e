"""The operations for any modality; importing this registers them."""

from . import (
    augment,
    crop_foreground,
    crop_pad,
    denoise,
    normalize,
    patches,
    qc,
    resample,
    restore,
    validate,
)

__all__ = [
    "augment",
    "crop_foreground",
    "crop_pad",
    "denoise",
    "normalize",
    "patches",
    "qc",
    "resample",
    "restore",
    "validate",
]
