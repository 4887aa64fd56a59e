"""Contrast limited adaptive histogram equalization (CLAHE) that keeps more than 8 bits.

Tiles, clipping, redistribution and interpolation are OpenCV's; an 8-bit image gives OpenCV's 8-bit result.
Beyond 8 bits OpenCV counts its clip limit over 65536 bins, so that a 12-bit image is hardly equalized. Here
the bins cover the range that the image occupies, and are so wide that a tile has 16 pixels for each (but 256
bins at least), so the clip limit means the same at any bit depth. Within a bin the cumulative histogram is
interpolated: grey levels stay apart, and a smooth ramp stays smooth.

References
----------
Zuiderveld K. Contrast limited adaptive histogram equalization. Graphics Gems IV:474-485, 1994.
"""

from __future__ import annotations

import math

import numpy as np

from ..core.errors import InputError, ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.parallel import Crew, real_array
from .voxel_statistics import extremes

# Fewest bins of a histogram, and the pixels per bin that more bins must leave.
LEAST_BINS = 256
PIXELS_PER_BIN = 16

# Pixels interpolated at a time: their work arrays stay in the second-level cache. Measured.
PIXELS = 1 << 15


def clahe(
    image: np.ndarray,
    clip_limit: float = 2.0,
    tiles: int | tuple[int, int] = 8,
    *,
    dtype: np.dtype | type = np.uint16,
    out_levels: float | None = None,
    bits: int = 14,
    value_range: tuple[float, float] | None = None,
    workers: int | None = None,
    job: Job | None = None,
) -> np.ndarray:
    """Equalize a 2-D image.

    Parameters
    ----------
    image : (j, i), integer or floating point, any strides. NaN counts as the lowest value.
    clip_limit : largest slope of the mapping relative to a plain stretch of the range; 0 for no limit.
    tiles : along j and i, or one number for both.
    dtype : uint8, uint16, or floating point.
    out_levels : largest value of the result. Default: 255, 65535, or 1.0.
    bits : the range is resolved into 2**bits levels; integers that occupy fewer are taken as they are.
    value_range : values that become the first and the last level. Default: the smallest and largest of the
        image; 0 and 255 for 8-bit images, as in OpenCV.
    workers : threads; the result does not depend on it.

    Returns
    -------
    ndarray : (j, i), from 0 to `out_levels`. An image of one single value becomes 0.
    """
    image = _checked(image, 2)
    output = np.zeros(image.shape, dtype)
    equalizer = _equalizer(image, clip_limit, tiles, output.dtype, out_levels, bits, value_range)
    if equalizer is None:
        return output
    levels = np.empty(image.shape, np.uint16)
    tables = [np.empty(0)] * equalizer.tiles[0]
    job = job or Job.quiet()
    with Crew(workers) as crew:

        def make_levels(piece: int, worker: int) -> None:
            rows = slice(*equalizer.bands[piece][:2])
            levels[rows] = equalizer.levels(image[rows])

        def make_table(row: int, worker: int) -> None:
            tables[row] = equalizer.table(padded, row)

        def interpolate(piece: int, worker: int) -> None:
            equalizer.interpolate(levels, tables, piece, output)

        crew.run(make_levels, len(equalizer.bands), job.part(0.0, 0.2))
        padded = equalizer.padded(levels)
        crew.run(make_table, len(tables), job.part(0.2, 0.5))
        crew.run(interpolate, len(equalizer.bands), job.part(0.5, 1.0))
    return output


def clahe_stack(
    array: np.ndarray,
    clip_limit: float = 2.0,
    tiles: int | tuple[int, int] = 8,
    *,
    dtype: np.dtype | type = np.uint16,
    out_levels: float | None = None,
    bits: int = 14,
    value_range: tuple[float, float] | None = None,
    workers: int | None = None,
    job: Job | None = None,
) -> np.ndarray:
    """Equalize each slice of a volume by itself, with levels that are the same for all slices.

    Parameters
    ----------
    array : (k, j, i); each (j, i) slice is equalized.
    value_range : default: the smallest and largest of the volume, so that a slice of air stays dark.

    Other parameters and the result are those of :func:`clahe`.
    """
    array = _checked(array, 3)
    output = np.zeros(array.shape, dtype)
    equalizer = _equalizer(array, clip_limit, tiles, output.dtype, out_levels, bits, value_range)
    if equalizer is None:
        return output

    def equalize(k: int, worker: int) -> None:
        levels = equalizer.levels(array[k])
        padded = equalizer.padded(levels)
        tables = [equalizer.table(padded, row) for row in range(equalizer.tiles[0])]
        for piece in range(len(equalizer.bands)):
            equalizer.interpolate(levels, tables, piece, output[k])

    with Crew(workers) as crew:
        crew.run(equalize, len(array), job)
    return output


def _checked(array: np.ndarray, dimensions: int) -> np.ndarray:
    array = real_array(array)
    if array.ndim != dimensions or array.size == 0:
        raise InputError(
            _("The image has shape {shape}.").format(shape=array.shape),
            _("Expected {n} axes with at least one pixel.").format(n=dimensions),
        )
    return array


def _equalizer(
    array: np.ndarray,
    clip_limit: float,
    tiles: int | tuple[int, int],
    dtype: np.dtype,
    out_levels: float | None,
    bits: int,
    value_range: tuple[float, float] | None,
) -> Equalizer | None:
    """The equalizer for slices of this array, or None when there is nothing to equalize."""
    rows_columns = (tiles, tiles) if isinstance(tiles, (int, float, np.number)) else tuple(tiles)
    top = out_levels if out_levels is not None else (1.0 if dtype.kind == "f" else np.iinfo(dtype).max)
    fits = dtype.kind == "f" or (dtype in (np.uint8, np.uint16) and 1 <= top <= np.iinfo(dtype).max)
    if not (len(rows_columns) == 2 and all(int(n) == n and n >= 1 for n in rows_columns) and clip_limit >= 0):
        raise ParameterError(
            _("The clip limit is {limit}, the tiles are {tiles}.").format(
                limit=clip_limit, tiles=rows_columns
            ),
            _("Expected a limit of at least 0 and at least one tile along each side."),
        )
    if not (fits and top > 0 and 8 <= bits <= 16):
        raise ParameterError(
            _("A result of type {type} up to {top} from {bits} bits is not possible.").format(
                type=dtype, top=top, bits=bits
            ),
            _("Expected uint8, uint16 or floating point that can hold the largest value, and 8 to 16 bits."),
        )
    if value_range is None:
        value_range = (0, 255) if array.dtype == np.uint8 else extremes(array)
    low, high = map(float, value_range)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ParameterError(
            _("The range is {low} to {high}.").format(low=low, high=high),
            _("Expected finite values, the lower first."),
        )
    if low == high:
        return None
    return Equalizer(
        array.shape[-2:], array.dtype, low, high, clip_limit, rows_columns, dtype, float(top), bits
    )


class Equalizer:
    """Geometry and parameters for slices of one shape.

    Attributes
    ----------
    tiles : along j and i.
    bands : (first row, last row + 1, tile above, tile below) of strips between the same two rows of tiles.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        source: np.dtype,
        low: float,
        high: float,
        clip_limit: float,
        tiles: tuple[int, int],
        target: np.dtype,
        top: float,
        bits: int,
    ) -> None:
        self.tiles = tuple(map(int, tiles))
        self._low, self._high, self._top, self._round = low, high, top, target.kind != "f"
        # Integers that fit are their own levels.
        self._exact = source.kind != "f" and low == int(low) and high == int(high) and high - low < 2**bits
        self._levels = int(high - low) + 1 if self._exact else 2**bits
        # As in OpenCV: if either side is not divisible both grow, a divisible one by one pixel per tile.
        extend = any(size % n for size, n in zip(shape, self.tiles, strict=True))
        self._pad = tuple(n - size % n if extend else 0 for size, n in zip(shape, self.tiles, strict=True))
        self._size = tuple((s + p) // n for s, p, n in zip(shape, self._pad, self.tiles, strict=True))
        self._area = self._size[0] * self._size[1]
        self._shift = 0
        while self._bins > LEAST_BINS and self._bins * PIXELS_PER_BIN > self._area:
            self._shift += 1
        self._limit = max(1, int(clip_limit * self._area / self._bins)) if clip_limit > 0 else self._area
        self._place_columns(shape[1])
        self._place_rows(shape)

    @property
    def _bins(self) -> int:
        return ((self._levels - 1) >> self._shift) + 1

    def _between(self, length: int, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tiles before and after each pixel, and the weight of the latter (float32, as in OpenCV)."""
        position = np.arange(length, dtype=np.float32) * np.float32(1 / np.float32(self._size[axis]))
        position -= np.float32(0.5)
        before = np.floor(position).astype(np.intp)
        weight = position - before.astype(np.float32)
        return np.maximum(before, 0), np.minimum(before + 1, self.tiles[axis] - 1), weight

    def _place_columns(self, width: int) -> None:
        left, right, self._weight_right = self._between(width, 1)
        self._left, self._right = left * self._levels, right * self._levels
        self._weight_left = np.float32(1) - self._weight_right

    def _place_rows(self, shape: tuple[int, int]) -> None:
        above, below, weight = self._between(shape[0], 0)
        self._weight_below = weight[:, None]
        self._weight_above = np.float32(1) - self._weight_below
        edges = np.flatnonzero(np.diff(above) | np.diff(below)) + 1
        rows = max(1, PIXELS // shape[1])
        self.bands = [
            (first, min(first + rows, stop), above[start], below[start])
            for start, stop in zip([0, *edges], [*edges, shape[0]], strict=True)
            for first in range(start, stop, rows)
        ]

    def levels(self, image: np.ndarray) -> np.ndarray:
        """The image as levels from 0 (uint16)."""
        if self._exact:
            wide = np.int32 if image.dtype.itemsize <= 2 else np.int64
            value = np.subtract(image, int(self._low), dtype=wide, casting="unsafe")
            return np.clip(value, 0, self._levels - 1, out=value).astype(np.uint16)
        value = image.astype(np.float64)
        value -= self._low
        value *= self._levels - 1
        value /= self._high - self._low
        np.fmin(np.fmax(value, 0, out=value), self._levels - 1, out=value)  # NaN becomes 0
        value += 0.5
        return value.astype(np.uint16)

    def padded(self, levels: np.ndarray) -> np.ndarray:
        """Extended to whole tiles by mirroring at the last pixel."""
        return np.pad(levels, [(0, n) for n in self._pad], mode="reflect") if any(self._pad) else levels

    def table(self, padded: np.ndarray, row: int) -> np.ndarray:
        """The mapping of all tiles of one row of tiles, flat: tile by tile, level by level (float32)."""
        height, width = self._size
        count, bins = self.tiles[1], self._bins
        place = (padded[row * height : (row + 1) * height] >> self._shift).astype(np.intp)
        place += np.repeat(np.arange(count) * bins, width)
        histogram = np.bincount(place.reshape(-1), minlength=count * bins).reshape(count, bins)
        excess = np.maximum(histogram - self._limit, 0).sum(axis=1)
        histogram = np.minimum(histogram, self._limit) + (excess // bins)[:, None]
        for tile, rest in enumerate(excess % bins):  # what is left over goes to evenly spread bins
            if rest:
                histogram[tile, np.arange(rest) * max(bins // rest, 1)] += 1
        cumulative = np.cumsum(histogram, axis=1)
        mapping = self._within_bins(cumulative, histogram) if self._shift else cumulative.astype(np.float32)
        mapping *= np.float32(np.float32(self._top) / np.float32(self._area))
        if self._round:
            np.rint(mapping, out=mapping)
        return np.minimum(mapping, np.float32(self._top), out=mapping).reshape(-1)

    def _within_bins(self, cumulative: np.ndarray, histogram: np.ndarray) -> np.ndarray:
        """The cumulative histogram at each level (tile, level), linear within a bin."""
        count, bins = histogram.shape
        width = 1 << self._shift
        share = np.arange(1, width + 1, dtype=np.float32) / np.float32(width)
        inside = histogram.astype(np.float32)[:, :, None] * share
        inside += (cumulative - histogram).astype(np.float32)[:, :, None]
        last = self._levels - (bins - 1) * width  # levels in the last bin, which may hold fewer
        inside[:, -1, :last] = (cumulative - histogram)[:, -1:] + histogram[:, -1:] * (
            np.arange(1, last + 1) / last
        )
        return np.ascontiguousarray(inside.reshape(count, -1)[:, : self._levels])

    def interpolate(
        self, levels: np.ndarray, tables: list[np.ndarray], piece: int, output: np.ndarray
    ) -> None:
        """Map the rows of one band through the four nearest tiles of each pixel."""
        first, stop, above, below = self.bands[piece]
        place = levels[first:stop].astype(np.intp)
        left, right = place + self._left, place + self._right
        upper = self._across(tables[above], left, right)
        lower = self._across(tables[below], left, right)
        upper *= self._weight_above[first:stop]
        lower *= self._weight_below[first:stop]
        upper += lower
        if self._round:
            np.rint(upper, out=upper)
        output[first:stop] = upper

    def _across(self, table: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        value, other = table.take(left), table.take(right)
        value *= self._weight_left
        other *= self._weight_right
        value += other
        return value
