"""The only code that touches Slicer's MRML scene."""
