"""The CT operations; importing this registers them."""

from . import check, clahe, clip, lungs, metal, nodules, window

__all__ = ["check", "clip", "clahe", "lungs", "metal", "nodules", "window"]
