"""Coarse grids, cells and morphology that lungs and nodules share."""
