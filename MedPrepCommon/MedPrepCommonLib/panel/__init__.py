"""The panel of a Slicer module, made from the operations."""
