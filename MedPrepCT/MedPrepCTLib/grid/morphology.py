"""Binary morphology with balls measured in millimetres, on small grids whose spacing may differ per axis.

Every operation is a handful of shifted ORs of whole arrays, which is faster than a general structuring
element and exact for any spacing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.geometry import cropping

CROSS = ndimage.generate_binary_structure(3, 1)
IN_PLANE_CROSS = CROSS & (np.arange(3) == 1)[:, None, None]


def _shift_max(out: np.ndarray, mask: np.ndarray, axis: int, by: int) -> None:
    """out = max(out, mask moved by `by` cells along the axis); nothing comes in from outside."""
    if abs(by) >= mask.shape[axis]:
        return
    source = [slice(None)] * mask.ndim
    target = [slice(None)] * mask.ndim
    source[axis] = slice(max(-by, 0), mask.shape[axis] - max(by, 0))
    target[axis] = slice(max(by, 0), mask.shape[axis] - max(-by, 0))
    np.maximum(out[tuple(target)], mask[tuple(source)], out=out[tuple(target)])


def dilate(mask: np.ndarray, radius_mm: float, spacing_kji: Sequence[float]) -> np.ndarray:
    """Cells within `radius_mm` (centre to centre) of the mask; bool (k, j, i).

    A uint8 image gives the largest value within that distance.
    """
    sk, sj, si = spacing_kji
    reach = (radius_mm + 1e-6) ** 2
    rows: dict[int, list[tuple[int, int]]] = {}
    nk, nj = int(radius_mm / sk + 1e-6), int(radius_mm / sj + 1e-6)
    for dk in range(-nk, nk + 1):
        for dj in range(-nj, nj + 1):
            left = reach - (dk * sk) ** 2 - (dj * sj) ** 2
            if left >= 0:
                rows.setdefault(int(np.sqrt(left) / si), []).append((dk, dj))
    out = mask.copy()
    run = mask.copy()
    planes: dict[int, np.ndarray] = {}
    width = 0
    for wanted in sorted(rows):
        while width < wanted:
            width += 1
            _shift_max(run, mask, 2, width)
            _shift_max(run, mask, 2, -width)
        # Rows of one half width: collected per k shift first, so that each plane moves along k once.
        for dk, dj in rows[wanted]:
            plane = planes.setdefault(dk, np.zeros_like(mask))
            _shift_max(plane, run, 1, dj)
    for dk, plane in planes.items():
        _shift_max(out, plane, 0, dk)
    return out


def erode(mask: np.ndarray, radius_mm: float, spacing_kji: Sequence[float]) -> np.ndarray:
    """Cells farther than `radius_mm` from every cell outside the mask; the image border does not erode.

    A uint8 image gives the smallest value within that distance.
    """
    return np.invert(dilate(np.invert(mask), radius_mm, spacing_kji))


def close(mask: np.ndarray, radius_mm: float, spacing_kji: Sequence[float]) -> np.ndarray:
    """Closing by a ball (bool or uint8); beyond the image border the outermost cells are taken to go on."""
    pad = [(int(np.ceil(radius_mm / step)) + 1,) * 2 for step in spacing_kji]
    padded = np.pad(mask, pad, mode="edge")
    closed = erode(dilate(padded, radius_mm, spacing_kji), radius_mm, spacing_kji)
    return closed[tuple(slice(a, -b) for a, b in pad)]


def bounding_box(mask: np.ndarray, margin: Sequence[int] = (0, 0, 0)) -> tuple[slice, ...] | None:
    """Slices around the True cells, widened by `margin` cells within the array; None when there are none."""
    box = cropping.bounding_box(mask)
    if box is None:
        return None
    return tuple(
        slice(max(first - room, 0), first + size + room)
        for first, size, room in zip(box.start, box.shape, margin, strict=True)
    )


def connected_to(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The face-connected components of the mask that hold a seed."""
    labels, count = ndimage.label(mask, CROSS)
    wanted = np.zeros(count + 1, bool)
    wanted[labels[seeds & mask]] = True
    wanted[0] = False
    return wanted[labels]


def fill_holes(mask: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Fill what the mask encloses, in 3-D or in every plane across one axis.

    A cavity that reaches the image border is no hole.
    """
    structure = CROSS
    if axis is not None:
        structure = CROSS & np.moveaxis((np.arange(3) == 1)[:, None, None], 0, axis)
    outside, count = ndimage.label(~mask, structure)
    border = np.zeros(count + 1, bool)
    for side in range(3):
        if side != axis:
            for end in (0, -1):
                border[np.take(outside, end, axis=side).ravel()] = True
    border[0] = False
    return ~border[outside]
