"""The CT operations; importing this registers them."""

from . import check, clipping, contrast, lungs_operation, metal, nodules_operation, windowing

__all__ = ["check", "clipping", "contrast", "lungs_operation", "metal", "nodules_operation", "windowing"]
