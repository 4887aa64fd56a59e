"""What the lung-field network sees of a radiograph: one small square, the same in training and at run time.

The image is brought to a square of ``SIZE`` pixels without changing its proportions, in the middle, with
nothing around it. Two channels: grey levels as standard scores, and the same against their neighbourhood,
which keeps the lungs visible under any exposure or processing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage, sparse

SIZE = 256
CHANNELS = 2
# Neighbourhood of the second channel: two boxes of 9 of 64 pixels, about the width of one lung.
_COARSE, _BOX = 64, 9
_LIMIT = 3.0


@dataclass(frozen=True)
class Frame:
    """Where an image lies in the square: ``square = step * (pixel + 0.5) + offset``, per axis.

    Pixel corners lie at whole numbers.

    Parameters
    ----------
    shape : (rows, columns) of the image.
    steps : pixels of the square per image pixel along rows and columns.
    offsets : where the image's corner lies in the square.
    """

    shape: tuple[int, int]
    steps: tuple[float, float]
    offsets: tuple[float, float]


def frame_of(shape: tuple[int, int], spacing: tuple[float, float] = (1.0, 1.0), share: float = 1.0) -> Frame:
    """A centred place for an image of `shape` whose pixels measure `spacing` (row, column).

    Its longer side fills `share` of the square's.
    """
    extent = [count * step for count, step in zip(shape, spacing, strict=True)]
    scale = share * SIZE / max(extent)
    steps = tuple(float(scale * step) for step in spacing)
    return Frame(tuple(shape), steps, tuple(float((SIZE - scale * length) / 2) for length in extent))


def place(array: np.ndarray, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """A (rows, columns) image in the square, smoothed as its reduction asks, and where it covers the square.

    Returns
    -------
    square : (SIZE, SIZE) float32, 0 outside the image. inside : (SIZE, SIZE) bool.
    """
    rows, columns = (_into(*axis) for axis in zip(frame.shape, frame.steps, frame.offsets, strict=True))
    values = np.nan_to_num(np.asarray(array, np.float32), posinf=0.0, neginf=0.0)
    square = columns @ (rows @ values).T
    inside = np.outer(rows.getnnz(axis=1) > 0, columns.getnnz(axis=1) > 0)
    return np.ascontiguousarray(square.T), inside


def restore(maps: np.ndarray, frame: Frame) -> np.ndarray:
    """(n, rows, columns) maps over the square, of any resolution, on the image's own pixels."""
    ratio = maps.shape[-1] / SIZE
    rows, columns = (
        _out_of(count, step * ratio, offset * ratio, maps.shape[-1])
        for count, step, offset in zip(frame.shape, frame.steps, frame.offsets, strict=True)
    )
    return np.stack([(columns @ (rows @ plane.astype(np.float32)).T).T for plane in maps])


def enlarged(maps: np.ndarray, share: float) -> np.ndarray:
    """(n, m, m) maps over a square that holds the image at `share` of its size, as if it filled it."""
    size = maps.shape[-1]
    step, offset = share * SIZE / size, (1 - share) * SIZE / 2
    return restore(maps, Frame((size, size), (step, step), (offset, offset)))


def channels(square: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(2, SIZE, SIZE) float32 input of the network: the same for any brightness and contrast.

    Outside the image it is 0.

    The levels at either end (collimated borders, air beside the patient, letters) do not count for mean and
    standard deviation. An image without contrast gives zeros.
    """
    values = square[inside]
    result = np.zeros((CHANNELS, *square.shape), np.float32)
    # Every third pixel tells the ends well enough.
    low, high = np.percentile(values[::3], (0.5, 99.5)) if values.size else (0.0, 0.0)
    margin = 0.02 * (high - low)
    middle = values[(values > low + margin) & (values < high - margin)]
    spread = float(middle.std(dtype=np.float64)) if middle.size else 0.0
    if not spread > 1e-6 * max(abs(low), abs(high)):
        return result
    weight = inside.astype(np.float32)
    score = (square - np.float32(middle.mean(dtype=np.float64))) / np.float32(spread)
    score = np.clip(score, -_LIMIT, _LIMIT) * weight
    share, mean, variance = _around(np.stack([weight, score, score * score]))
    share = np.maximum(share, 1e-3)
    mean = mean / share
    variance = np.maximum(variance / share - mean * mean, 0.0)
    result[0] = score
    result[1] = np.clip((score - mean) / np.sqrt(variance + 0.01), -_LIMIT, _LIMIT) * weight
    return result


def _around(planes: np.ndarray) -> np.ndarray:
    """Mean over the neighbourhood: a box twice, on a coarse grid, as it is smooth anyway."""
    small = planes.reshape(len(planes), _COARSE, SIZE // _COARSE, _COARSE, SIZE // _COARSE).mean(axis=(2, 4))
    for _again in range(2):
        for axis in (1, 2):
            small = ndimage.uniform_filter1d(small, _BOX, axis, mode="constant")
    return restore(small, Frame((SIZE, SIZE), (1.0, 1.0), (0.0, 0.0)))


@lru_cache(maxsize=8)
def _into(count: int, step: float, offset: float) -> sparse.csr_matrix:
    """(SIZE, count) weights: a triangle as wide as two pixels of the coarser grid; none outside the image."""
    centre = (np.arange(SIZE) + 0.5 - offset) / step
    reach = max(1.0, 1.0 / step)
    covered = (centre > 0) & (centre < count)
    return _triangles(centre, reach, count, covered)


@lru_cache(maxsize=8)
def _out_of(count: int, step: float, offset: float, size: int) -> sparse.csr_matrix:
    """(count, size) weights of linear interpolation in a map of `size` pixels."""
    centre = np.clip((np.arange(count) + 0.5) * step + offset, 0.5, size - 0.5)
    return _triangles(centre, 1.0, size, np.ones(count, bool))


def _triangles(centre: np.ndarray, reach: float, count: int, used: np.ndarray) -> sparse.csr_matrix:
    width = int(np.ceil(2 * reach)) + 1
    first = np.floor(centre - reach - 0.5).astype(np.intp) + 1
    index = first[:, None] + np.arange(width)
    weight = np.maximum(1.0 - np.abs(index + 0.5 - centre[:, None]) / reach, 0.0)
    weight[(index < 0) | (index >= count) | ~used[:, None]] = 0.0
    total = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, total, out=weight, where=total > 0)
    rows, places = np.nonzero(weight)
    return sparse.csr_matrix(
        (weight[rows, places].astype(np.float32), (rows, index[rows, places])), (len(centre), count)
    )
