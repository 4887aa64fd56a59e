"""The CT operations; importing this registers them."""

from . import check, clipping, windowing

__all__ = ["check", "clipping", "windowing"]
