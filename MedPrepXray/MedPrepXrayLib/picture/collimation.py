"""The exposed field of a radiograph: what lies inside the collimator's edges and drawn borders.

Shutters and padding are rows (or columns) at the image's edge that are all alike, black or white, and end in
a straight step. Air beside the patient is dark and smooth too, but no straight step ends it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Longest side on which the borders are looked for; each end is then found to the pixel.
_COARSE = 512
# A border's line: at least this share of its pixels lies near its median.
_ALIKE = 0.95
# ... "near" and "step", as shares of the image's range (1st to 99th percentile).
_NEAR, _STEP = 0.05, 0.02
# Share of a border's edge along which there is a step.
_EDGE = 0.5
# Narrower borders, as a share of the side, are left where they are: a few black rows are no collimator.
_NARROW = 0.015
# The field is at least this share of each side; otherwise nothing certain has been found.
_LEAST = 0.3


class Field(NamedTuple):
    """The exposed field: rows [top, bottom), columns [left, right) of the plane."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def where(self) -> tuple[slice, slice]:
        """Slices of rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    def covers(self, shape: tuple[int, int]) -> bool:
        """Whether it is the whole of an image of that shape."""
        return self == (0, shape[0], 0, shape[1])


def find_field(plane: np.ndarray) -> Field:
    """The exposed field of a (j, i) radiograph; the whole of it when there is no border.

    Parameters
    ----------
    plane : grey levels, integer or finite floating point.
    """
    rows, columns = plane.shape
    whole = Field(0, rows, 0, columns)
    step = max(1, -(-max(rows, columns) // _COARSE))
    low, high = (float(v) for v in np.percentile(plane[::step, ::step], (1, 99)))
    if low == high:
        low, high = float(plane.min()), float(plane.max())
    if not high > low:
        return whole
    scale = np.float32(1 / (high - low))
    grey = (plane.astype(np.float32) - np.float32(low)) * scale
    field = whole
    for _again in range(3):
        inside = grey[field.where]
        top, bottom = _ends(inside)
        left, right = _ends(inside[top:bottom].T)
        found = Field(field.top + top, field.top + bottom, field.left + left, field.left + right)
        if found == field:
            break
        field = found
    if field.shape[0] < _LEAST * rows or field.shape[1] < _LEAST * columns:
        return whole
    return field


def _ends(grey: np.ndarray) -> tuple[int, int]:
    """The first row of the field and the one after its last."""
    if len(grey) < 8 or grey.shape[1] < 8:
        return 0, len(grey)
    first, last = (n if n >= max(4, _NARROW * len(grey)) else 0 for n in map(_border, (grey, grey[::-1])))
    return (first, len(grey) - last) if first + last < len(grey) else (0, len(grey))


def _border(grey: np.ndarray) -> int:
    """How many rows from the first one on are border."""
    # A few pixels across stand for a row, so that a large image takes no longer.
    thin = grey[:, :: max(1, grey.shape[1] // _COARSE)]
    level = float(np.median(thin[0]))
    alike = _run(np.abs(thin - level) < _NEAR)
    if alike == 0 or alike == len(grey):
        return 0
    # Exactly one value at an end of the range: drawn, or exposed to the full; nothing is lost with it.
    drawn = _run(thin == level) if level <= thin.min() or level >= thin.max() else 0
    return max(drawn, _shutter(thin, alike))


def _run(pixels: np.ndarray) -> int:
    """Rows from the first one on of which (nearly) all pixels are true."""
    lines = np.mean(pixels, axis=1) >= _ALIKE
    return len(lines) if lines.all() else int(np.argmin(lines))


def _shutter(thin: np.ndarray, alike: int) -> int:
    """Where, among the first rows that are alike, a straight step ends the border; 0 for nowhere."""
    # Over two rows, or more in a large image, whose edges are wider.
    lag = 2 + len(thin) // 400
    last = min(alike, len(thin) - lag)
    if last < 3:
        return 0
    steps = thin[lag:] - thin[:-lag]
    heights = np.abs(np.median(steps, axis=1))
    # A smooth ramp climbs everywhere; a step stands out, from noise too.
    usual = float(np.median(heights))
    noise = float(np.median(np.abs(thin[1:3] - thin[:2]))) / 0.954
    least = max(_STEP, 3 * noise)
    found, height = 0, max(_STEP, 5 * usual)
    for row in range(2, last + 1):
        step, size = steps[row - 1], float(heights[row - 1])
        if size > height and max(np.mean(step > least), np.mean(step < -least)) >= _EDGE:
            found, height = row, size
    if found:  # to the row: the edge lies within the lag
        within = np.median(np.diff(thin[found - 1 : found + lag], axis=0), axis=1)
        found += int(np.argmax(np.abs(within)))
    return found
