"""The operations for any modality; importing this registers them."""

from . import normalize

__all__ = ["normalize"]
